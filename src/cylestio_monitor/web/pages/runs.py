"""The list of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.read import lists
from cylestio_monitor.web import filters, view

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_FIELDS: Final = (
    ("since", ()),
    ("until", ()),
    ("agent", ()),
    ("session", ()),
    ("user", ()),
    ("tool", ()),
    ("severity", SEVERITIES[1:]),
    ("status", ("failed", "good")),
)


def runs(request: Request) -> Response:
    """The runs, the newest first."""
    chosen = filters.read(request, [name for name, _ in _FIELDS])
    status = chosen.get("status")
    if status not in {None, "failed", "good"}:
        raise view.PageError("The filter status is failed or good.")
    with view.reading(request) as connection:
        page = lists.runs(
            connection,
            cursor=chosen.cursor,
            since_ns=chosen.since_ns,
            until_ns=chosen.until_ns,
            agent_id=chosen.get("agent"),
            session_id=chosen.get("session"),
            user_id=chosen.get("user"),
            tool=chosen.get("tool"),
            min_severity=chosen.min_severity,
            has_failed=None if status is None else status == "failed",
        )
    values = {"rows": page.rows, "paging": filters.paging(page, chosen), "filters": chosen, "fields": _FIELDS}
    return view.page(request, "runs.html", values, title="Runs")


ROUTES: Final = [Route("/runs", runs)]
