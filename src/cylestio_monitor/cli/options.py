"""Options that several commands share."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.store.read.values import parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A point in time: ``90s``, ``15m``, ``24h``, ``7d``, ``2w`` ago, or ISO 8601, UTC where it names no zone."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment as an aware time."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_moment(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def limited(default: int) -> Callable[[Any], Any]:
    """`--limit`, with the command's own default."""
    return click.option(
        "-n", "--limit", type=click.IntRange(1, 10_000), default=default, show_default=True, help="Most rows shown."
    )


_FILTERS: dict[str, dict[str, Any]] = {
    "agent": {"metavar": "ID", "help": "Of this agent only."},
    "session": {"metavar": "ID", "help": "Of this session only."},
    "user": {"metavar": "ID", "help": "Of this user only."},
    "tool": {"metavar": "NAME", "help": "With a call of this tool only."},
    "severity": {"type": click.Choice(["low", "medium", "high", "critical"]), "help": "Of this severity or higher."},
    "category": {"metavar": "NAME", "help": "Of this category only, such as secret."},
    "rule": {"metavar": "ID", "help": "Of this rule only, or of all below a prefix such as secret.*"},
    "since": {"type": Moment(), "help": "Not before this time: an age such as 24h, or a date."},
}


def filters(*names: str) -> Callable[[Any], Any]:
    """The filters with these names, in this order."""

    def decorate(command: Any) -> Any:
        for name in reversed(names):
            command = click.option(f"--{name}", **_FILTERS[name])(command)
        return command

    return decorate


def json_lines(command: Any) -> Any:
    """`--json` of a command that answers with many things."""
    return click.option("--json", "as_json", is_flag=True, help="JSON lines: one object a line.")(command)


def json_document(command: Any) -> Any:
    """`--json` of a command that answers with one thing."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document.")(command)


FORMATS = ("text", "json", "sarif", "junit", "github")


def fail_on(default: str) -> Callable[[Any], Any]:
    """`--fail-on`, with the default of the command."""
    return click.option(
        "--fail-on",
        type=click.Choice(["low", "medium", "high", "critical"]),
        default=default,
        show_default=True,
        help="Lowest severity that makes the exit code 1.",
    )


def report(command: Any) -> Any:
    """The options of a command that reports findings to a build system."""
    for option in (
        click.option(
            "--update-baseline", is_flag=True, help="Write the present findings to the --baseline file, as accepted."
        ),
        click.option(
            "--baseline",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="File of accepted findings; only others are reported.",
        ),
        click.option(
            "--output",
            "output_file",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="File to write the report to, instead of standard output.",
        ),
        click.option("--json", "report_format", flag_value="json", help="The same as --format json."),
        click.option(
            "--format",
            "report_format",
            type=click.Choice(FORMATS),
            default="text",
            show_default=True,
            help="Form of the report: for people, programs, code hosts, test reports or GitHub Actions.",
        ),
    ):
        command = option(command)
    return command
