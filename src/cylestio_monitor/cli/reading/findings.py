"""`cylestio findings`: the findings, equal ones together, and the alerts that the application logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.cli import options, output
from cylestio_monitor.store.read import events as event_reads
from cylestio_monitor.store.read import findings as finding_reads
from cylestio_monitor.store.read.pages import MOST

if TYPE_CHECKING:
    from datetime import datetime

    from cylestio_monitor.cli.group import Context
    from cylestio_monitor.store.read.events import EventRow
    from cylestio_monitor.store.read.findings import FindingRow

_COLUMNS = (
    ("last (UTC)", 0),
    ("severity", 0),
    ("rule", 0),
    ("count#", 0),
    ("first place", 2),
    ("surface", 4),
    ("tool or model", 3),
    ("agent", 5),
    ("session", 6),
    ("action", 3),
    ("trace", 1),
)


@click.command()
@options.filters("severity", "category", "rule", "agent", "session", "user", "tool", "since")
@click.option("--each", is_flag=True, help="List equal findings one by one.")
@options.limited(50)
@options.json_lines
@click.pass_obj
def findings(
    obj: Context,
    *,
    severity: str | None,
    category: str | None,
    rule: str | None,
    agent: str | None,
    session: str | None,
    user: str | None,
    tool: str | None,
    since: datetime | None,
    each: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List findings, the newest first.

    Findings of the same rule with the same match are one row: the number of them, and the first place. Alerts that the
    application logged with `log_event` are listed too. `cylestio show SPAN` shows the words around a finding. With
    --json every finding is a line.

    \b
    Example: cylestio findings --since 24h --severity high --rule 'injection.*'
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    with obj.store() as connection:
        rows = finding_reads.findings(
            connection,
            limit=limit if as_json or each else MOST,
            severity=severity,
            category=category,
            rule=rule,
            agent_id=agent,
            session_id=session,
            user_id=user,
            tool=tool,
            since=since,
        )
        logged: list[EventRow] = []
        if not (severity or category or rule or session or user or tool):
            for alert in ("dangerous", "suspicious"):
                where = event_reads.EventFilter(alert=alert, agent_id=agent, since=since)
                logged += [one for one in event_reads.events(connection, where, limit=MOST) if _is_logged(one)]
    if as_json:
        rows = finding_reads.opened(rows, obj.database)
        lines = [*map(_line, rows), *map(_event_line, logged)]
        lines.sort(key=lambda line: str(line["timestamp"]), reverse=True)
        for line in lines[:limit]:
            output.as_json(line, lines=True)
        return
    groups: dict[object, list[FindingRow]] = {}
    for row in rows:
        groups.setdefault(row.id if each or not row.match_hash else (row.rule_id, row.match_hash), []).append(row)
    body = [(group[0].timestamp, _cells(group)) for group in groups.values()]
    body += [(event.timestamp, _event_cells(event)) for event in logged]
    body.sort(key=lambda pair: pair[0], reverse=True)
    if body:
        output.console().print(output.fitted(_COLUMNS, (cells for _, cells in body[:limit])))
        if rows:
            output.hint(f"next: cylestio trace {rows[0].trace_id[:12]} --content")
    else:
        output.hint("no findings")


def _cells(group: list[FindingRow]) -> tuple[object, ...]:
    last, first = group[0], group[-1]
    return (
        last.timestamp[:16],
        output.level(last.severity),
        last.rule_id,
        len(group),
        f"{first.path} {first.start}-{first.end}",
        f"{first.subtype} {first.target}",
        first.tool or first.model,
        first.agent_id,
        first.session_id,
        last.action,
        last.trace_id[:12],
    )


def _event_cells(event: EventRow) -> tuple[object, ...]:
    level = output.level(str(event.data["alert"]))
    trace = str(event.data.get("trace_id") or "")[:12]
    return event.timestamp[:16], level, event.event_type, 1, "logged", "event", None, event.agent_id, None, None, trace


def _is_logged(event: EventRow) -> bool:
    """Tells if the application logged the event, and no finding is about it.

    Spans have odd ids, open calls negative ones.
    """
    return event.id > 0 and event.id % 2 == 0 and semconv.RULES not in event.data


def _line(row: FindingRow) -> dict[str, object]:
    return msgspec.structs.asdict(row)


def _event_line(event: EventRow) -> dict[str, object]:
    empty: dict[str, object] = dict.fromkeys(finding_reads.FindingRow.__struct_fields__)
    known = {"timestamp": event.timestamp, "alert": event.data["alert"], "agent_id": event.agent_id}
    return {**empty, **known, "event_type": event.event_type, "data": event.data}
