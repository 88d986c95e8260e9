"""`cylestio events` and `cylestio tail`: what happened, as the public table `events` holds it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from cylestio_monitor.cli import options, output
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.read import events as event_reads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rich.text import Text

    from cylestio_monitor.cli.group import Context

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_COLUMNS = (("time (UTC)", 0), ("level", 2), ("channel", 3), ("type", 1), ("what~", 0), ("alert", 0))
_SECONDS, _MILLISECONDS = 19, 23  # characters of a time up to these
ALERTS = ("none", "suspicious", "dangerous")


@click.command()
@click.option("--type", "event_type", metavar="TYPE", help="Of this type only, such as llm_call or tool_call.")
@click.option("--channel", metavar="NAME", help="Of this channel only, such as LLM, TOOL or MCP.")
@click.option("--level", type=click.Choice(_LEVELS, case_sensitive=False), help="Of this level only.")
@click.option("--alert", type=click.Choice(ALERTS), help="With this alert only.")
@options.filters("agent", "session", "tool", "since")
@click.option("--search", metavar="TEXT", help="Only those whose type or data hold this text, in any case.")
@click.option("--until", type=options.Moment(), help="Before this time.")
@options.limited(50)
@options.json_lines
@click.pass_obj
def events(
    obj: Context,
    *,
    event_type: str | None,
    channel: str | None,
    level: str | None,
    alert: str | None,
    agent: str | None,
    session: str | None,
    tool: str | None,
    search: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List events, the newest first.

    An event is a call of a model or a tool, or what the application logged.

    \b
    Example: cylestio events --since 24h --level WARNING
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    where = event_reads.EventFilter(
        agent_id=agent,
        session_id=session,
        tool=tool,
        event_type=event_type,
        channel=channel,
        level=level,
        alert=alert,
        since=since,
        until=until,
        text=search,
    )
    with obj.store() as connection:
        rows = event_reads.events(connection, where, limit=limit)
    if as_json:
        for row in rows:
            output.as_json(msgspec.structs.asdict(row), lines=True)
    elif rows:
        output.console().print(output.fitted(_COLUMNS, (_cells(row, _SECONDS) for row in rows)))
    else:
        output.hint("no events")


@click.command()
@click.option(
    "--interval", type=click.FloatRange(0.05, 60), default=0.5, show_default=True, help="Seconds between two looks."
)
@options.json_lines
@click.pass_obj
def tail(obj: Context, *, interval: float, as_json: bool) -> None:
    """Print events as they come, until interrupted. Waits for a store that does not exist yet.

    \b
    Example: cylestio tail --interval 0.5
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    console = output.console()
    cursor: tuple[int, int] | None = None if obj.database.exists() else (0, 0)
    said = ""
    while True:
        rows: list[event_reads.EventRow] = []
        try:
            # A connection a look: a store that is replaced meanwhile is followed to its successor.
            with obj.store() as connection:
                rows, cursor = event_reads.follow(connection, cursor)
        except StoreError as error:
            if str(error) != said:
                said = str(error)
                output.hint(f"waiting: {said}")
        for row in rows:
            if as_json:
                output.as_json(msgspec.structs.asdict(row), lines=True)
            else:
                console.print(_line(row), soft_wrap=True)
        time.sleep(interval)


def _cells(row: event_reads.EventRow, time_digits: int) -> tuple[Text, ...]:
    data = row.data
    return (
        output.cell(row.timestamp[:time_digits]),
        output.cell(row.level, LEVELS.get(row.level, "")),
        output.cell(row.channel),
        output.cell(row.event_type),
        output.cell(_what(data)),
        output.level(_alert(data)),
    )


def _line(row: event_reads.EventRow) -> Text:
    return output.cell("  ").join(cell for cell in _cells(row, _MILLISECONDS) if cell)


def _alert(data: Mapping[str, Any]) -> str:
    alert = str(data.get("alert") or "")
    return "" if alert == "none" else alert


def _what(data: Mapping[str, Any]) -> str:
    """One line: of a call its name, rules and duration; of a logged event its data."""
    if "duration_ms" in data and "name" in data:
        parts = [str(data["name"]), f"{data['duration_ms'] or 0:,.0f} ms"]
        parts += [str(rule) for rule in data.get("rules") or ()]
        return "  ".join(parts)
    return "  ".join(f"{key}={value}" for key, value in data.items() if key != "alert")
