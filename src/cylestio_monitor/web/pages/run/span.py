"""One span: every stored fact about it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.routing import Route

from cylestio_monitor.store.read import control, traces
from cylestio_monitor.store.read.conversation.parts import leaves_of_json
from cylestio_monitor.store.sqlite import content
from cylestio_monitor.web import view
from cylestio_monitor.web.pages.run.conversation import run_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_SPAN: Final = re.compile(r"[0-9a-f]{16}")
_ROWS: Final = 500  # attributes, events and links that are listed
_VALUE: Final = 4000  # code points of one value in the tables
_RAW: Final = 60_000  # code points of the JSON


def show(request: Request) -> Response:
    """One span of a run."""
    span_id = request.path_params["span"]
    path = view.site(request).path
    with view.reading(request) as connection:
        run = run_of(request, connection)
        node = traces.one_span(connection, run.trace_id, span_id, path) if _SPAN.fullmatch(span_id) else None
        if node is None:
            raise view.PageError("No such span is stored in this run.", 404)
        decisions = control.decisions_of(connection, span_id, run.trace_id)
    span = node.span
    attributes = span["attributes"]
    raw = json.dumps(
        {**span, "findings": [msgspec.structs.asdict(one) for one in node.findings]}, indent=1, default=str
    )
    recorded = [(name, *leaves_of_json(attributes[name])[:2]) for name in sorted(content.KEYS & attributes.keys())]
    plain = [(name, _text(value)) for name, value in sorted(attributes.items()) if name not in content.KEYS]
    page_values: dict[str, Any] = {
        "run": run,
        "tab": "span",
        "span": span,
        "findings": node.findings[:_ROWS],
        "values": node.values[-_ROWS:],
        "decisions": decisions,
        "recorded": recorded,
        "attributes": plain[:_ROWS],
        "resource": [(name, _text(value)) for name, value in sorted(span["resource"].items())][:_ROWS],
        "events": [_event(one) for one in span["events"][:_ROWS]],
        "links": [one for one in span["links"][:_ROWS] if isinstance(one, dict)],
        "left_out": max(0, len(plain) - _ROWS) + max(0, len(span["events"]) - _ROWS),
        "raw": raw[:_RAW],
        "raw_left_out": max(0, len(raw) - _RAW),
        "limit": _VALUE,
        "titles": view.site(request).titles,
    }
    return view.page(request, "span.html", page_values, title=span["name"] or "Span")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _event(event: Any) -> tuple[str, int, list[tuple[str, str]]]:
    """Name, time in ns since the epoch and attributes of a span event of any shape."""
    fields = event if isinstance(event, dict) else {"name": event}
    attributes = fields.get("attributes")
    time_ns = fields.get("time_ns", fields.get("timestamp"))
    pairs = [(name, _text(value)) for name, value in sorted(attributes.items())] if isinstance(attributes, dict) else []
    return str(fields.get("name", "")), time_ns if isinstance(time_ns, int) else 0, pairs[:_ROWS]


ROUTES: Final = [Route("/t/{trace}/span/{span}", show)]
