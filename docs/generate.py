"""Generates the pages of `docs/reference` that follow from the code.

`make docs` runs it; a test compares every page with the generated text.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import cylestio_monitor
from cylestio_monitor import config, testing
from cylestio_monitor.cli import main as command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).resolve().parent / "reference"
SOURCES = Path(cylestio_monitor.__file__).parent
NOTE = "<!-- Written by docs/generate.py: change the code, then run `make docs`. -->\n"

CLI = """
Every command reads the store and the settings that a program in the same folder would use. It prints text for people;
`--json` prints one JSON document or JSON lines for programs, whose shapes a release keeps stable. Text from prompts,
tools and servers is printed with every control, bidi and other invisible character escaped, so that it cannot act on a
terminal.

## Output of `--json`

| command | form | keys of each object |
|---|---|---|
| `cylestio check` | document | `findings`: with `trace_id`, `span_id`, `timestamp`, `agent_id` |
| `cylestio config check` | document | `file`, `problems`: `file`, `line`, `key`, `reason` |
| `cylestio config show` | document | `file`, `settings`: `key`, `value`, `set_in`, `default`, `variable`, `meaning` |
| `cylestio doctor` | document | `sdks`, `checks` |
| `cylestio events`, `cylestio tail` | lines | `id`, `agent_id`, `event_type`, `channel`, `level`, `timestamp`, `data` |
| `cylestio findings` | lines | a row of the table `findings`; a logged alert also has `event_type`, `data` |
| `cylestio traces` | lines | `trace_id`, `name`, agent, session, user, times in ns, totals, `severity_number` |
| `cylestio agents`, `sessions`, `users`, `tools` | lines | `kind`, `name`, times in ns, totals, `severity_number` |
| `cylestio tools list` | lines | `server`, `name`, `state`, `digest`, `approved`, `versions`, times in ns |
| `cylestio tools diff` | document | `from`, `to`: a version; `diff`: lines |
| `cylestio tools check` | document | `tools`, `missing`, `findings` as of `cylestio scan` |
| `cylestio search` | lines | a span without attributes and content |
| `cylestio show` | document | a row of the table `spans`, `findings`, `values` |
| `cylestio alerts list` | lines | `id`, `state`, `condition`, `target`, counts, times in ns, `error`, `facts` |
| `cylestio incident list` | lines | `id`, `title`, `state`, `severity_number`, `owner`, times in ns, `opened_by` |
| `cylestio incident show` | document | `row`, `items`, `notes`, `timeline`, `entry`, `radius`, `spans`, `findings` |
| `cylestio outbox` | document | `signal`, `reason`, `records`, `oldest` |
| `cylestio outbox --refused` | document | `signal`, `reason`, `time`, `name`, `trace_id`, `span_id` |
| `cylestio scan` | document | `file` (of a single one), `files`, `characters`, `findings` |
| `cylestio status` | document | `version`, `mode`, `settings_file`, `problems`, `sdks`, `store` |
| `cylestio trace` | document | `traces`: `trace_id`, `spans`; a span has its `findings`, and stands after its parent |

Times are UTC. Within a major version no key is removed or changes its meaning; keys may be added.
"""
SETTINGS = """
The layers, the later winning: the default, the YAML file, the environment, the arguments of `start_monitoring`. In a
variable, a list is separated by commas; a key without a variable can be set in a file only.

## Which file is read

| file | trust |
|---|---|
| the file that `CYLESTIO_CONFIG` names; it replaces the other two | may set everything |
| `cylestio.yaml` in the user's configuration folder | may set everything |
| `cylestio.yaml` in the working directory | may only tighten |

The working directory may hold a stranger's repository. Its file is used only if file and folder belong to the user and
nobody else may write them, and only for the changes in the column "local file" below:

- *stricter*: a value that protects better than the one in force.
- *adds*: further items of a list.
- *label*: a value where no trusted source sets one; not the agent and the session where a policy is in force.
- *path inside*: a path below the folder of the file, where no trusted source sets one.
- *critical*: overrides that raise a severity to `critical`.
- *no*: nothing.

Everything else in such a file is not applied and reported.

## Wrong values

A value that cannot be used is reported with file, line and key, and never weakens protection. A misspelt `mode`, or
another setting of a fixed set of words, becomes the stricter of the value in force and the word that comes closest; a
silence or an override with a mistake is dropped whole; any other value stays as the layers below set it. A file that is
no valid YAML keeps the parts that can be read. Unknown keys and unknown `CYLESTIO_*` variables are reported with the
name that was probably meant. `cylestio config check` lists all problems.

The keyword lists are also accepted under the names of earlier products:

```yaml
security:
  suspicious_keywords: ["REMOVE", "CLEAR"]
  dangerous_keywords: ["TRANSFER ALL FUNDS"]
```

A settings file has at most 2 MB, 50,000 values, 40 levels and keys of 200 characters. Dates and times of day need no
quotes.

## All settings
"""


LOCAL = {
    "no": "no",
    "greater": "stricter",
    "less": "stricter",
    "add": "adds",
    "label": "label",
    "path": "path inside",
    "paths": "path inside",
    "critical": "critical",
}

API = """
Programs under `opentelemetry-instrument` need none of these names. They are for programs that start monitoring
themselves, log events, name the agent, the session or the user, or scan a text. The import of `cylestio_monitor`
imports none of its modules; each name imports its module on first use. Monitoring never raises into the program, except
`BlockedError` in mode `block`.
"""


TESTING = """
The names of `cylestio_monitor.testing`, for the tests of monitored programs: see
[Test your agent with pytest](../how-to/test-your-agent.md). The fixture `cylestio_recorder` is a `Recorder`.
"""
TESTING_NAMES = (
    "Recorder",
    "Recording",
    "RecordedSpan",
    "RecordedEvent",
    "assert_no_findings",
    "assert_refused",
    "assert_tool_called",
)


def main() -> None:
    """Writes every page."""
    for path, text in pages().items():
        path.write_text(text, "utf-8")


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    schema = json.dumps(config.json_schema(), indent=2) + "\n"
    return {
        REFERENCE / "cli.md": cli(),
        REFERENCE / "settings.md": settings(),
        REFERENCE / "settings.schema.json": schema,
        REFERENCE / "api.md": api(),
        REFERENCE / "rules.md": rules(),
        REFERENCE / "compatibility.md": compatibility(),
    }


RULES = """
Each rule is defined in a YAML file under `src/cylestio_monitor/rules/packs`, with texts that it must find and texts
that it must not find; `cylestio rules show RULE` prints one rule. A match of severity `none` is masked and counted but
is no finding. A rule of status `experimental` applies only with `rules.experimental: true`.
"""


def rules() -> str:
    """The page of the shipped rules, from the rule files."""
    from cylestio_monitor.rules import load_packs, shipped_files  # noqa: PLC0415 -- only this page reads rules

    packs: dict[str, list[str]] = {}
    for rule in load_packs(shipped_files())[0]:
        tags = ", ".join((*rule.owasp, *rule.atlas))
        note = " (experimental)" if rule.status == "experimental" else ""
        packs.setdefault(rule.ruleset, []).append(
            f"| `{rule.id}` | {rule.severity} | {rule.category} | {rule.title}{note} | {tags} |"
        )
    blocks = [f"# Rules\n\n{NOTE}{RULES}"]
    head = "| rule | severity | category | what it finds | tags |\n|---|---|---|---|---|\n"
    blocks += (f"## {name}\n\n{head}" + "\n".join(rows) + "\n" for name, rows in packs.items())
    return "\n".join(blocks)


COMPATIBILITY = """
The tests of each SDK and framework, at the oldest release that is supported and at the newest of the day on which they
ran, each in an environment of its own. `make compat` runs them and writes the results; `cylestio doctor` says so where
an installed version is newer than the last one that was tested. The releases of every other test are those of the lock
files in `requirements/`.
"""


def compatibility() -> str:
    """The page of tested releases, from the results that `make compat` has left in the package."""
    tested = json.loads((SOURCES / "otel" / "tested_versions.json").read_text("utf-8"))
    lines = ["| distribution | supported | release | tested | Python | result |", "|---|---|---|---|---|---|"]
    for name, row in tested.items():
        for age in ("oldest", "newest"):
            run = row[age]
            failed = ", ".join(f"`{test}`" if test.startswith("test_") else test for test in run["failed"])
            result = (
                f"{len(run['failed'])} failed, {run['passed']} passed: {failed}"
                if failed
                else f"{run['passed']} passed"
            )
            version = f"{run['version']}, the {age}"
            lines.append(f"| `{name}` | {row['supported']} | {version} | {run['date']} | {row['python']} | {result} |")
    return "\n".join([f"# Compatibility\n\n{NOTE}{COMPATIBILITY}", *lines, ""])


def cli() -> str:
    """The page of the command `cylestio`, from the commands themselves."""
    blocks = [f"# The command `cylestio`\n\n{NOTE}{CLI}"]
    blocks += (one_command(path, command) for path, command in commands())
    return "\n".join(blocks)


def commands(
    path: tuple[str, ...] = ("cylestio",), command: click.Command = command_line
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, groups before their members."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            if member is not None and not member.hidden:
                yield from commands((*path, name), member)


def one_command(path: tuple[str, ...], command: click.Command) -> str:
    """The section of one command: its usage line, what it does, its options."""
    context = click.Context(command, info_name=" ".join(path))
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    lines = [f"## `{' '.join(path)}`", "", "```text", usage, "```", "", text, ""]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        lines += ["| option | meaning | default |", "|---|---|---|"]
        lines += [option_row(context, option) for option in options]
        lines.append("")
    return "\n".join(lines)


def option_row(context: click.Context, option: click.Option) -> str:
    """One option as a row of a table."""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    kind = "" if option.is_flag else f" {option.make_metavar(context)}"
    default = option.get_default(context)
    shown = "" if option.is_flag or default is None or "UNSET" in repr(default) else f"`{default}`"
    return f"| {names}{kind.replace('|', ' / ')} | {option.help or ''} | {shown} |"


def settings() -> str:
    """The page of all settings, from the table of types in `config`."""
    lines = [
        f"# Settings\n\n{NOTE}{SETTINGS}",
        "| key | variable | default | local file | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{option.key}` | {variable(option)} | `{json.dumps(plain(option.default))}` | {LOCAL[option.local]} "
        f"| {option.doc} |"
        for option in config.options()
    ]
    return "\n".join(lines) + "\n"


def variable(option: config.Option) -> str:
    """The setting's variable, where it has one."""
    return f"`{option.env}`" if option.from_text else ""


def plain(value: Any) -> Any:
    """A default as JSON would hold it."""
    return list(value) if isinstance(value, tuple) else value


def api() -> str:
    """The page of the Python API, from the public names and their docstrings."""
    blocks = [f"# Python API\n\n{NOTE}{API}"]
    blocks += (one_name(name, getattr(cylestio_monitor, name)) for name in cylestio_monitor.__all__)
    blocks.append(f"## Testing\n{TESTING}")
    blocks += (one_name(name, getattr(testing, name)).replace("## ", "### ", 1) for name in TESTING_NAMES)
    return "\n".join(blocks)


def one_name(name: str, value: Any) -> str:
    """The section of one public name: its signature and what its docstring says."""
    if isinstance(value, type):
        head = f"class {name}({', '.join(base.__name__ for base in value.__bases__ if base is not object)})"
    else:
        head = re.sub(r"(: |-> )'([^']*)'", r"\1\2", f"{name}{inspect.signature(value)}")
    text, *sections = re.split(r"\n\n(?=(?:Args|Returns|Raises|Attributes):\n)", inspect.getdoc(value) or "")
    lines = [f"## `{name}`", "", "```python", head.removesuffix("()"), "```", "", text, ""]
    for section in sections:
        title, _, rest = section.partition("\n")
        body = textwrap.dedent(rest)
        items = re.sub(r"^(\w+): ", r"- `\1`: ", body, flags=re.MULTILINE) if title != "Returns:" else body
        lines += [f"**{title.rstrip(':')}**", "", re.sub(r"\n {4}(?=\S)", "\n  ", items), ""]
    return "\n".join([*lines[:6], *(line.replace("``", "`") for line in lines[6:])])


if __name__ == "__main__":
    sys.exit(main())
