"""`cylestio config`: the settings in force, where each was set, and what is wrong with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE, Context
from cylestio_monitor.errors import counted

if TYPE_CHECKING:
    from cylestio_monitor.errors import ConfigError


@click.group()
def config() -> None:
    """Show or check the settings.

    \b
    Example: cylestio config check
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped


@config.command()
@options.json_document
@click.pass_obj
def show(obj: Context, *, as_json: bool) -> None:
    """Show every setting: its value, and where it was set.

    \b
    Example: cylestio config show --json
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from cylestio_monitor import config as table  # noqa: PLC0415 -- read when used

    loaded = obj.loaded
    rows: list[dict[str, Any]] = [
        {
            "key": option.key,
            "value": _plain(_value(loaded.settings, option.key)),
            "set_in": loaded.origin.get(option.key, "default"),
            "default": _plain(option.default),
            "variable": option.env,
            "meaning": option.doc,
        }
        for option in table.options()
    ]
    if as_json:
        output.as_json({"file": str(loaded.source) if loaded.source else None, "settings": rows})
        return
    body = ((row["key"], _text(row["value"]), row["set_in"]) for row in rows)
    output.console().print(output.table(("key", "value", "set in"), body))
    output.say(f"settings file: {loaded.source or 'none'}")
    if loaded.problems:
        output.hint(f"{counted(len(loaded.problems), 'problem')}: see `cylestio config check`")


@config.command()
@options.json_document
@click.pass_obj
def check(obj: Context, *, as_json: bool) -> int:
    """Name every setting, rule file and policy that cannot be used, by file, line and key.

    Exit code 1 if there is one.

    \b
    Example: cylestio --config cylestio.yaml config check
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from cylestio_monitor.govern.policy import loader  # noqa: PLC0415 -- imported on use

    loaded = obj.loaded
    policy = loader.configured(loaded, bytes(32))
    problems = [*loaded.problems, *obj.scanner().problems, *(policy.problems if policy is not None else ())]
    if as_json:
        output.as_json(
            {"file": str(loaded.source) if loaded.source else None, "problems": [_problem(p) for p in problems]}
        )
    else:
        for problem in problems:
            output.say(str(problem))
        output.say(
            f"{loaded.source or 'no settings file'}: {counted(len(problems), 'problem') if problems else 'no problems'}"
        )
    return NEGATIVE if problems else 0


def _value(settings: Any, key: str) -> Any:
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def _plain(value: Any) -> Any:
    import msgspec  # noqa: PLC0415 -- read when used

    return msgspec.to_builtins(value)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _problem(problem: ConfigError) -> dict[str, Any]:
    return {"file": problem.source, "line": problem.line, "key": problem.key, "reason": problem.reason}
