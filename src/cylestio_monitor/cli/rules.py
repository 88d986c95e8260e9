"""`cylestio rules`: which rules apply, whether they hold, and how a new one begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE, UNUSABLE, Context
from cylestio_monitor.errors import CylestioError, counted

if TYPE_CHECKING:
    from cylestio_monitor.errors import ConfigError
    from cylestio_monitor.rules import Rule


@click.group()
def rules() -> None:
    """The rules of the scanner: list, show, test, lint, begin a new one.

    \b
    Example: cylestio rules list
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped


def _load(obj: Context) -> tuple[list[Rule], list[ConfigError]]:
    from cylestio_monitor.scan.check import chosen  # noqa: PLC0415 -- imported on use

    source = obj.loaded.source
    return chosen(obj.loaded.settings, source.parent if source else None)


@rules.command("list")
@click.option("--category", help="Only rules of this category.")
@options.json_document
@click.pass_obj
def list_rules(obj: Context, category: str | None, *, as_json: bool) -> int:
    """List the rules in force.

    \b
    Example: cylestio rules list --category secret
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    found, problems = _load(obj)
    for problem in problems:
        output.hint(f"warning: {problem}")
    kept = [rule for rule in found if category in {None, rule.category}]
    if as_json:
        output.as_json([_row(rule) for rule in kept])
    else:
        body = ((rule.id, output.level(rule.severity), rule.category, rule.title) for rule in kept)
        output.console().print(output.fitted((("rule", 0), ("severity", 0), ("category", 1), ("title~", 0)), body))
        output.say(counted(len(kept), "rule"))
    return 0 if kept else NEGATIVE


@rules.command()
@click.argument("rule_id")
@options.json_document
@click.pass_obj
def show(obj: Context, rule_id: str, *, as_json: bool) -> int:
    """Show one rule: what it looks for, its tags, its examples.

    \b
    Example: cylestio rules show sql.stacked
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    import msgspec  # noqa: PLC0415 -- imported on use

    rule = next((rule for rule in _load(obj)[0] if rule.id == rule_id), None)
    if rule is None:
        raise CylestioError(f"no rule is called {rule_id}; `cylestio rules list` names them")
    fields: dict[str, Any] = msgspec.to_builtins(rule)
    if as_json:
        output.as_json(fields)
        return 0
    body = (
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in fields.items()
    )
    output.console().print(output.table(("key", "value"), body))
    return 0


@rules.command()
@click.argument("rule_id", required=False)
@options.json_document
@click.pass_obj
def test(obj: Context, rule_id: str | None, *, as_json: bool) -> int:
    """Put every rule, or RULE_ID, to its own examples. Exit code 1 if one fails.

    \b
    Example: cylestio rules test
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from cylestio_monitor.scan.check import check  # noqa: PLC0415 -- imported on use

    found, problems = _load(obj)
    kept = [rule for rule in found if rule_id in {None, rule.id}]
    if not kept:
        raise CylestioError(f"no rule is called {rule_id}; `cylestio rules list` names them")
    failures = [failure for rule in kept for failure in check(rule)]
    if as_json:
        rows = [failure._asdict() for failure in failures]
        output.as_json({"rules": len(kept), "failures": rows, "problems": list(map(str, problems))})
    else:
        for problem in problems:
            output.hint(f"warning: {problem}")
        for failure in failures:
            verb = "does not find its hit" if failure.kind == "hit" else "finds its miss"
            output.say(f"{failure.rule_id} {verb}: {failure.example}")
        output.say(f"{counted(len(kept), 'rule')} tested, {counted(len(failures), 'example')} wrong")
    return NEGATIVE if failures or problems else 0


@rules.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.json_document
def lint(file: Path, *, as_json: bool) -> int:
    """Check a rule file: that each rule can be used and holds by its examples. Exit code 1 if not.

    \b
    Example: cylestio rules lint acme.yaml
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from cylestio_monitor.rules import load_pack  # noqa: PLC0415 -- imported on use
    from cylestio_monitor.scan.check import check  # noqa: PLC0415 -- imported on use
    from cylestio_monitor.scan.validators.checks import VALIDATORS  # noqa: PLC0415 -- imported on use

    if not file.is_file():
        output.hint(f"{file}: no such file")
        return UNUSABLE
    found, problems = load_pack(file, known=tuple(VALIDATORS))
    said = [str(problem) for problem in problems]
    for rule, line in found:
        for failure in check(rule):
            verb = "does not find" if failure.kind == "hit" else "finds what it should pass:"
            said.append(f"{file}:{line}: {rule.id}: {verb} {failure.example}")
    if as_json:
        output.as_json({"rules": len(found), "problems": said})
    else:
        for line_ in said:
            output.say(line_)
        output.say(f"{counted(len(found), 'rule')}, {counted(len(said), 'problem')}")
    return NEGATIVE if said else 0


@rules.command()
@click.argument("rule_id")
def new(rule_id: str) -> None:
    """Print a rule file with one rule to start from; RULE_ID is dotted, such as acme.ticket-number.

    \b
    Example: cylestio rules new acme.ticket-number > acme.yaml
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from cylestio_monitor.scan.check import beginning  # noqa: PLC0415 -- imported on use

    for line in beginning(rule_id).splitlines():
        output.say(line)


@rules.command()
def schema() -> None:
    """Print the JSON Schema of a rule file, for editors.

    \b
    Example: cylestio rules schema > rules.schema.json
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from cylestio_monitor.rules import json_schema  # noqa: PLC0415 -- imported on use

    output.as_json(json_schema())


def _row(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "title": rule.title,
        "category": rule.category,
        "severity": rule.severity,
        "ruleset": rule.ruleset,
        "owasp": rule.owasp,
        "atlas": rule.atlas,
    }
