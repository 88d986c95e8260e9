"""Delivery and cost: what waits, what was refused or dropped and why, and what calls used."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from cylestio_monitor.store import admin
from cylestio_monitor.store.delivery.batch import IN_DOUBT
from cylestio_monitor.store.read import queries, totals
from cylestio_monitor.store.sqlite import files, schema
from cylestio_monitor.store.sqlite.usage import DAY_NS
from cylestio_monitor.web import charts, filters, view

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_REFUSED: Final = 50
_GROUPS: Final = 50
_DAYS: Final = 400
_PERIOD_NS: Final = 7 * DAY_NS


def delivery(request: Request) -> Response:
    """Shows what waits, was refused or dropped, and tokens and cost by agent, model, tool and day."""
    chosen = filters.read(request, ["since", "agent"], {"since": "7d"})
    since_ns = chosen.since_ns
    agent = chosen.get("agent")
    site = view.site(request)
    with view.reading(request) as connection:
        outbox = queries.outbox(connection)
        refused = queries.refused(connection, _REFUSED)
        counters = queries.delivery(connection)["counters"]
        keys: list[totals.By] = [*(by for _, by in _TABLES), "day"]
        found = totals.usage_by_each(connection, keys, since_ns=since_ns, agent_id=agent, limit=_DAYS)
        used = {name: [one for one in found[by] if one.key != "" or by == "agent_id"][:_GROUPS] for name, by in _TABLES}
        days = found["day"]
    values: dict[str, Any] = {
        "outbox": [{**row, "is_in_doubt": str(row["reason"]).endswith(IN_DOUBT)} for row in outbox],
        "refused": refused,
        "refused_total": sum(row["records"] for row in outbox if row["reason"]),
        "counters": sorted((name, count) for name, count in counters.items()),
        "signals": schema.SIGNALS,
        "used": used,
        "days": [(_day(int(day.key)), day) for day in reversed(days[-31:])],
        "chart": _chart(days, since_ns),
        "filters": chosen,
        "periods": filters.PERIODS,
        "period": chosen.get("since"),
        "disk_mb": files.size_on_disk(site.path) / 2**20,
        "store": site.loaded.settings.store,
    }
    return view.page(request, "delivery.html", values, title="Delivery and cost")


_TABLES: Final[tuple[tuple[str, totals.By], ...]] = (("Agent", "agent_id"), ("Model", "model"), ("Tool", "tool"))


def retry(request: Request) -> Response:
    """Has what was set aside sent once more."""
    fields = view.form(request)
    signal = fields.get("signal") or None
    if signal is not None and signal not in schema.SIGNALS:
        raise view.PageError(f"The signal is one of {', '.join(schema.SIGNALS)}.")
    site = view.site(request)
    with view.reading(request):
        pass  # says so where there is no store, instead of making one
    admin.requeue(site.path, site.loaded.settings.store, signal, in_doubt=fields.get("in_doubt") == "yes")
    return view.see_other("/delivery")


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, timezone.utc).strftime("%d %b %Y")


def _chart(days: list[totals.UsageTotal], since_ns: int | None) -> charts.BarChart:
    """Tokens of each day, in thousands where there are many; at most the last 31 days."""
    today = time.time_ns() // DAY_NS
    first = max(today - 30, (since_ns or time.time_ns() - _PERIOD_NS) // DAY_NS)
    tokens = {int(day.key): day.input_tokens + day.output_tokens for day in days}
    columns = [(_day(number)[:2], [("accent", tokens.get(number, 0))]) for number in range(first, today + 1)]
    return charts.stacked(columns)


ROUTES: Final = [
    Route("/delivery", delivery),
    Route("/delivery/retry", retry, methods=["POST"]),
]
