"""`cylestio traces`, `sessions`, `users`, `agents` and `tools` with their totals; `search`: spans by their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.errors import counted
from cylestio_monitor.model import SEVERITIES, SEVERITY_NUMBER
from cylestio_monitor.store.read import lists
from cylestio_monitor.store.read.search import search as search_spans
from cylestio_monitor.store.read.search import unsearched
from cylestio_monitor.store.read.values import to_ns
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from rich.text import Text

    from cylestio_monitor.cli.group import Context


@click.command()
@options.filters("agent", "session", "user", "tool", "severity", "since")
@click.option("--failed", is_flag=True, help="Only traces with a failed call.")
@options.limited(50)
@options.json_lines
@click.pass_obj
def traces(
    obj: Context,
    *,
    agent: str | None,
    session: str | None,
    user: str | None,
    tool: str | None,
    severity: str | None,
    since: datetime | None,
    failed: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List traces, the newest first, with their totals and their worst finding.

    \b
    Example: cylestio traces --since 24h --severity high
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    with obj.store() as connection:
        rows = lists.runs(
            connection,
            limit=limit,
            agent_id=agent,
            session_id=session,
            user_id=user,
            tool=tool,
            min_severity=SEVERITY_NUMBER[severity] if severity else None,
            since_ns=to_ns(since) if since else None,
            has_failed=1 if failed else None,
        ).rows
    output.listing(rows, as_json=as_json, empty="no traces", columns=_TRACE_COLUMNS, cells=_trace_cells)


_TRACE_COLUMNS = (
    ("trace", 0),
    ("started (UTC)", 0),
    ("program", 3),
    ("name", 4),
    ("agent", 1),
    ("session", 5),
    ("user", 6),
    ("calls#", 0),
    ("failed#", 2),
    ("tokens#", 2),
    ("cost#", 3),
    ("worst", 0),
)


def _trace_cells(row: lists.RunRow) -> tuple[object, ...]:
    return (
        row.trace_id[:12],
        timestamp(row.start_ns)[:16],
        row.service_name,
        row.name,
        row.agent_id,
        row.session_id,
        row.user_id,
        f"{row.model_calls + row.tool_calls:,}",
        _count(row.failed),
        _count(row.input_tokens + row.output_tokens),
        _cost(row.cost),
        _worst(row.severity_number, row.findings),
    )


_NONE = {
    "agent": "no agents: the setting `agent_id` or `identify(agent_id=...)` names the agent of a call",
    "session": "no sessions: the setting `session_id` or `identify(session_id=...)` names them",
    "user": "no users: `identify(user_id=...)` or the web middleware names the user of a call",
}
"""The hint where calls name no entity of a kind."""


def _entity_command(kind: str, plural: str, description: str) -> click.Command:
    """Builds the command that lists one kind of entity."""

    @click.command(plural, help=description)
    @options.filters("agent", "severity", "since")
    @options.limited(50)
    @options.json_lines
    @click.pass_obj
    def command(
        obj: Context, *, agent: str | None, severity: str | None, since: datetime | None, limit: int, as_json: bool
    ) -> None:
        with obj.store() as connection:
            rows = lists.entities(
                connection,
                kind,
                limit=limit,
                agent_id=agent,
                min_severity=SEVERITY_NUMBER[severity] if severity else None,
                since_ns=to_ns(since) if since else None,
            ).rows
        columns = (
            (kind, 0),
            *((("agent", 2),) if kind != "agent" else ()),
            ("last (UTC)", 0),
            ("first (UTC)", 5),
            ("model calls#", 1),
            ("tool calls#", 1),
            ("failed#", 2),
            ("tokens#", 3),
            ("cost#", 4),
            ("worst", 0),
        )

        def cells(row: lists.EntityRow) -> tuple[object, ...]:
            return (
                row.name,
                *((row.agent_id,) if kind != "agent" else ()),
                timestamp(row.last_ns)[:16],
                timestamp(row.first_ns)[:16],
                _count(row.model_calls),
                _count(row.tool_calls),
                _count(row.failed),
                _count(row.input_tokens + row.output_tokens),
                _cost(row.cost),
                _worst(row.severity_number, row.findings),
            )

        output.listing(rows, as_json=as_json, empty=_NONE.get(kind, f"no {plural}"), columns=columns, cells=cells)

    return command


agents = _entity_command("agent", "agents", "List agents, the last active first.\n\n\b\nExample: cylestio agents")
sessions = _entity_command(
    "session", "sessions", "List sessions, the last active first.\n\n\b\nExample: cylestio sessions --agent support"
)
users = _entity_command("user", "users", "List users, the last active first.\n\n\b\nExample: cylestio users --since 7d")
tools = _entity_command(
    "tool",
    "tools",
    "List tools, the last called first.\n\n\b\nExample: cylestio tools --severity high",
)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="TEXT...")
@options.limited(50)
@options.json_lines
@click.pass_obj
def search(obj: Context, words: tuple[str, ...], *, limit: int, as_json: bool) -> None:
    """Find spans by words in their names and in recorded content.

    All words must occur. A part in double quotes is a phrase, a word that ends in * a prefix. Encrypted content is not
    searched.

    \b
    Example: cylestio search refund 'order*'
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    with obj.store() as connection:
        rows = search_spans(connection, " ".join(words), limit=limit)
        left_out = unsearched(connection)
    columns = (("span", 0), ("time (UTC)", 0), ("name", 0), ("agent", 2), ("session", 3), ("trace", 1), ("alert", 0))

    def cells(row: lists.SpanSummary) -> tuple[object, ...]:
        time = timestamp(row.start_ns)[:19]
        alert = output.level("" if row.alert == "none" else row.alert)
        return row.span_id, time, row.name, row.agent_id, row.session_id, row.trace_id[:12], alert

    output.listing(rows, as_json=as_json, empty="nothing found", columns=columns, cells=cells)
    if left_out:
        output.hint(
            f"{counted(left_out, 'older span')} not indexed yet and not searched: a program indexes them when idle"
        )


def _worst(severity_number: int, findings: int) -> Text:
    name = SEVERITIES[severity_number] if 0 <= severity_number < len(SEVERITIES) else ""
    if not severity_number:
        return output.cell("-")
    return output.level(name).append(f" ({findings})")


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def _cost(dollars: float) -> str:
    return f"${dollars:,.4f}" if dollars else "-"
