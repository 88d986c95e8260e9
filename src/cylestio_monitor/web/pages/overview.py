"""The overview: what needs a person now, the trend, the state of the system, and the agents."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from cylestio_monitor.errors import counted
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.read import control, lists, queries, totals
from cylestio_monitor.store.read.triage import attention, groups
from cylestio_monitor.store.read.values import capped_sum
from cylestio_monitor.store.sqlite import files
from cylestio_monitor.store.sqlite.usage import DAY_NS, HOUR_NS
from cylestio_monitor.web import charts, filters, view, wording

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

MOST_NEEDS: Final = 8
_COLUMNS: Final = 28
_AGENTS: Final = 20
_SPARK_DAYS: Final = 14


def overview(request: Request) -> Response:
    """Shows what needs a person now, the trend, the state of the system, and the agents."""
    chosen = filters.read(request, ["since", "agent"], {"since": "7d"})
    period = filters.period_of(chosen)
    period_ns = filters.PERIODS_NS[period]
    now_ns = time.time_ns()
    with view.reading(request) as connection:
        delivery = _delivered(queries.delivery(connection))
        needs = _needs(request, connection, delivery["refused"], now_ns)
        trend = _trend(connection, now_ns, period_ns, chosen.get("agent"))
        used = _used(connection, now_ns - period_ns)
        sealed = connection.execute("SELECT max(seq) FROM checkpoint").fetchone()[0]
        entries = connection.execute("SELECT max(seq) FROM audit").fetchone()[0]
        agents = lists.entities(connection, "agent", limit=_AGENTS).rows
        sparks = _sparks(connection, [agent.name for agent in agents], now_ns)
        waiting = attention.waiting(connection)
    site = view.site(request)
    values: dict[str, Any] = {
        "needs": needs,
        "summary": _summary(waiting, delivery["dropped"]),
        "trend": trend,
        "period": period,
        "periods": filters.PERIODS,
        "agent": chosen.get("agent"),
        "filters": chosen,
        "agents": agents,
        "sparks": sparks,
        "delivery": delivery,
        "used": used,
        "disk_mb": files.size_on_disk(site.path) / 2**20,
        "max_mb": site.loaded.settings.store.max_mb,
        "sealed": sealed,
        "unsealed": (entries or 0) - (sealed or 0),
    }
    return view.page(request, "overview.html", values, title="Overview")


def _needs(request: Request, connection: sqlite3.Connection, refused: int, now_ns: int) -> list[dict[str, Any]]:
    """Rows of what waits: approvals, then groups, changed tools and delivery."""
    site = view.site(request)
    found = [
        {
            "icon": "clock",
            "title": f"{one.tool} waits for a decision",
            "text": one.reason,
            "who": one.agent,
            "time_ns": one.expires_ns,
            "link": f"/approvals/{one.id}",
            "action": "Review call",
        }
        for one in control.approvals(connection, waiting=True, limit=MOST_NEEDS)
        if one.expires_ns > now_ns
    ]
    tools = [
        {
            "icon": "swap",
            "title": f"{one.name} changed its definition",
            "text": f"{counted(one.versions, 'version')} seen; nobody has decided about the newest one.",
            "who": one.server or None,
            "time_ns": one.first_ns,
            "link": "/tools",
            "action": "See change",
        }
        for one in attention.changed_tools(connection, 3)
    ]
    problems = _delivery_needs(refused, now_ns)
    room = MOST_NEEDS - len(found) - len(tools) - len(problems)
    for group in attention.urgent_groups(connection, max(room, 0)):
        runs, acted = groups.runs_of(connection, group.group_id), groups.acted_in(connection, group)
        found.append(
            {
                "severity": SEVERITIES[group.severity_number],
                "title": wording.title(group, site.titles),
                "text": wording.followed(group, runs, acted),
                "who": group.agent_id,
                "time_ns": group.last_ns,
                "link": f"/findings/{group.group_id}",
                "action": "Open",
            }
        )
    return (found + tools + problems)[:MOST_NEEDS]


def _delivery_needs(refused: int, now_ns: int) -> list[dict[str, Any]]:
    if not refused:
        return []
    return [
        {
            "icon": "send",
            "title": f"{counted(refused, 'record')} refused by the collector",
            "text": "They stay in the store until they are sent once more or given up.",
            "who": None,
            "time_ns": now_ns,
            "link": "/delivery",
            "action": "See why",
        }
    ]


def _summary(waiting: attention.Waiting, dropped: int) -> str:
    lost = f"{counted(dropped, 'record')} dropped so far." if dropped else "Nothing was lost in delivery."
    calls = f" and {counted(waiting.approvals, 'call')} waiting" if waiting.approvals else ""
    return f"{counted(waiting.groups, 'open group')} of findings{calls}. {lost}"


def _delivered(delivery: queries.Row) -> dict[str, int]:
    counters: dict[str, Any] = delivery["counters"]
    signals = delivery["delivery"].values()
    return {
        "sent": sum(count for name, count in counters.items() if name.startswith("sent.")),
        "dropped": sum(count for name, count in counters.items() if name.startswith("dropped")),
        "queued": sum(numbers["queued"] for numbers in signals),
        "refused": sum(numbers["quarantined"] for numbers in signals),
    }


def _used(connection: sqlite3.Connection, since_ns: int) -> tuple[int, int, float, int]:
    """Input tokens, output tokens, cost and calls since a time."""
    query = (
        f"SELECT {capped_sum('input_tokens')}, {capped_sum('output_tokens')}, total(cost), "  # noqa: S608 -- constants
        f"{capped_sum('events')} FROM usage WHERE hour >= ?"
    )
    tokens_in, tokens_out, cost, calls = connection.execute(query, (since_ns // HOUR_NS,)).fetchone()
    return tokens_in, tokens_out, cost, calls


def _trend(connection: sqlite3.Connection, now_ns: int, period_ns: int, agent: str | None) -> dict[str, Any]:
    """Calls with a finding, in columns over the period."""
    hours = max(1, period_ns // HOUR_NS // _COLUMNS)
    end = now_ns // HOUR_NS // hours + 1
    first = end - -(-period_ns // HOUR_NS // hours)
    columns = {number: [0, 0] for number in range(first, end)}
    for hour, suspicious, dangerous in totals.flagged_hours(connection, first * hours * HOUR_NS, agent):
        number = hour // hours
        if number in columns:
            columns[number][0] += suspicious
            columns[number][1] += dangerous
    rows = [(number * hours * HOUR_NS, *numbers) for number, numbers in columns.items()]
    chart = charts.stacked(
        [
            (_day_label(begin, hours), [("medium", suspicious), ("high", dangerous)])
            for begin, suspicious, dangerous in rows
        ]
    )
    return {
        "chart": chart,
        "rows": [row for row in rows if row[1] or row[2]],
        "suspicious": sum(row[1] for row in rows),
        "dangerous": sum(row[2] for row in rows),
    }


def _day_label(begin_ns: int, hours: int) -> str:
    """The label of the first column of a day; of few hours a column, that of every sixth hour."""
    hour = begin_ns // HOUR_NS
    if hours == 1:
        return f"{hour % 24:02d}:00" if hour % 6 == 0 else ""
    day = datetime.fromtimestamp(begin_ns / 1e9, timezone.utc)
    is_first = hour % 24 < hours
    return f"{day:%d}" if is_first and (hours < 24 or day.day % 3 == 1) else ""


def _sparks(
    connection: sqlite3.Connection, agents: Sequence[str], now_ns: int
) -> dict[str, list[tuple[float, float, str]]]:
    """Calls of each agent on each of the last days: x, height and kind of a bar."""
    first = now_ns // DAY_NS - _SPARK_DAYS + 1
    days = totals.agent_days(connection, agents, first * DAY_NS)
    highest: dict[str, int] = {}
    for (agent, _), (events, _, _) in days.items():
        highest[agent] = max(events, highest.get(agent, 1))
    bars: dict[str, list[tuple[float, float, str]]] = {agent: [] for agent in agents}
    for (agent, day), (events, suspicious, dangerous) in sorted(days.items()):
        kind = "high" if dangerous else "medium" if suspicious else "none"
        height = round(max(1.0, 20.0 * events / highest[agent]), 1)
        bars[agent].append(((day - first) * 6.0, height, kind))
    return bars


ROUTES: Final = [Route("/", overview)]
