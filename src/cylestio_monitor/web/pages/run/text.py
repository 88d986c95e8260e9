"""One recorded text, as far as it is stored, in pages: what the conversation and the span show only the begin of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from cylestio_monitor.store.read import traces
from cylestio_monitor.store.read.conversation.parts import MAX_LEAVES, PartPlace, leaves_of_json, part_of
from cylestio_monitor.store.read.values import decoded
from cylestio_monitor.store.sqlite import content
from cylestio_monitor.web import render, view
from cylestio_monitor.web.pages.run.conversation import first_of, run_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.store.read.conversation.parts import TextLeaf

_SPAN: Final = re.compile(r"[0-9a-f]{16}")
_POINTER: Final = re.compile(r"/(\d{1,6})(?:/parts/(\d{1,6}))?")
_NUMBER: Final = re.compile(r"\d{1,3}")
STEP: Final = 65_536
"""Code points of one page."""


def show(request: Request) -> Response:
    """One text of a span: ``attribute``, ``part`` (a JSON pointer) and ``leaf`` (its number) in the query name it."""
    query = request.query_params
    attribute, pointer = query.get("attribute", ""), query.get("part", "")
    leaf_number = query.get("leaf", "0")
    first = first_of(request, STEP)
    span_id = request.path_params["span"]
    path = view.site(request).path
    with view.reading(request) as connection:
        run = run_of(request, connection)
        node = traces.one_span(connection, run.trace_id, span_id, path) if _SPAN.fullmatch(span_id) else None
    value = node.span["attributes"].get(attribute) if node is not None and attribute in content.KEYS else None
    leaves = _leaves(value, pointer, PartPlace(span_id, attribute, pointer))
    number = int(leaf_number) if _NUMBER.fullmatch(leaf_number) else MAX_LEAVES
    if number >= len(leaves):
        raise view.PageError("No such text is recorded.", 404)
    leaf = leaves[number]
    first = min(first, max(0, len(leaf.text) - 1) // STEP * STEP)
    values: dict[str, Any] = {
        "run": run,
        "span_id": span_id,
        "attribute": attribute,
        "pointer": pointer,
        "path": leaf.path,
        "text": leaf.text[first : first + STEP],
        "first": first,
        "step": STEP,
        "size": len(leaf.text),
        "address": render.addresses(
            request.url.path, {"attribute": attribute, "part": pointer, "leaf": leaf_number, "from": str(first)}
        ),
    }
    return view.page(request, "text.html", values, title="Recorded text")


def _leaves(value: Any, pointer: str, place: PartPlace) -> list[TextLeaf]:
    """The texts of a part of an attribute; none where the pointer names no part."""
    if value is None or not pointer:
        return leaves_of_json(value).found
    found = _POINTER.fullmatch(pointer)
    item = _item(decoded(value, value), found[1]) if found else None
    if found and found[2] is not None:
        item = _item(item.get("parts") if isinstance(item, dict) else None, found[2])
    return part_of(item, place).leaves if item is not None else []


def _item(items: Any, number: str) -> Any:
    return items[int(number)] if isinstance(items, list) and int(number) < len(items) else None


ROUTES: Final = [Route("/t/{trace}/span/{span}/text", show)]
