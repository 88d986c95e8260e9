"""The timeline of a run: where the time went, as rows that fold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from cylestio_monitor.store.read import lists
from cylestio_monitor.store.read.findings import finding_counts
from cylestio_monitor.web import render, timeline, view
from cylestio_monitor.web.pages.run.conversation import first_of, run_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_SPANS: Final = 20_000
_OPENED: Final = 20  # spans that one address may unfold
_OPEN: Final = re.compile(rf"[0-9a-f]{{16}}|{timeline.ROOT}")
_MAX_TEXT: Final = 200
_LABELS: Final = {
    "": "All spans",
    "findings": "With findings",
    "model": "Model calls",
    "tool": "Tool calls",
    "failed": "Failed",
    "refused": "Refused",
}


def show(request: Request) -> Response:
    """The timeline of one run."""
    query = request.query_params
    opened = frozenset(one for one in query.get("open", "").split(",")[:_OPENED] if _OPEN.fullmatch(one))
    shown = query.get("show", "") if query.get("show", "") in _LABELS else ""
    text = query.get("name", "").strip()[:_MAX_TEXT]
    is_zoomed = query.get("zoom") == "findings"
    with view.reading(request) as connection:
        run = run_of(request, connection)
        spans = lists.outline(connection, run.trace_id, _SPANS)
        counts = finding_counts(connection, run.trace_id)
    made = timeline.Timeline(spans, counts, zoom=is_zoomed)
    rows = made.rows(opened=opened, show=shown, text=text)
    first = min(first_of(request, timeline.ROWS), max(0, len(rows) - 1) // timeline.ROWS * timeline.ROWS)
    kept = {"open": ",".join(sorted(opened)), "show": shown, "name": text, "zoom": "findings" if is_zoomed else ""}
    values: dict[str, Any] = {
        "run": run,
        "tab": "timeline",
        "made": made,
        "rows": rows[first : first + timeline.ROWS],
        "total": len(rows),
        "spans": len(spans),
        "left_out": run.spans - len(spans) if len(spans) >= _SPANS else 0,
        "first": first,
        "step": timeline.ROWS,
        "address": render.addresses(request.url.path, kept),
        "with_open": lambda span_id: ",".join(sorted({*opened, span_id})),
        "labels": _LABELS,
        "show": shown,
        "name": text,
        "is_zoomed": is_zoomed,
        "ticks": timeline.ticks(made.length_ns),
        "offset_ns": made.begin_ns - run.start_ns,
    }
    return view.page(request, "timeline.html", values, title=f"Timeline of {run.name or 'a run'}")


ROUTES: Final = [Route("/t/{trace}/timeline", show)]
