"""Search: ids, names and recorded text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from starlette.routing import Route

from cylestio_monitor.store.read import control, lists
from cylestio_monitor.store.read.search import excerpts, search, unsearched
from cylestio_monitor.web import render, view

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request
    from starlette.responses import Response

_ROWS: Final = 50
_MAX_TEXT: Final = 300
_ID: Final = re.compile(r"[0-9a-f]{8,32}")
_NUMBER: Final = re.compile(r"\d{1,18}")
_ENTITIES: Final = {"agent": "/runs?agent=", "session": "/s/", "user": "/runs?user=", "tool": "/tools/"}


def show(request: Request) -> Response:
    """The things whose id or name a text is, and the spans whose names or recorded content hold its words."""
    query = request.query_params
    text = query.get("q", "").strip()[:_MAX_TEXT]
    before = query.get("before", "")
    exact: list[tuple[str, str, str]] = []
    rows: list[lists.SpanSummary] = []
    shown: dict[int, str] = {}
    left_out = 0
    with view.reading(request) as connection:
        if text:
            exact = _exact(connection, text)
            rows = search(connection, text, before=int(before) if _NUMBER.fullmatch(before) else None, limit=_ROWS + 1)
            left_out = unsearched(connection)
            shown = excerpts(connection, [row.id for row in rows[:_ROWS]], text)
    older = f"/search?{urlencode({'q': text, 'before': rows[_ROWS - 1].id})}" if len(rows) > _ROWS else None
    values: dict[str, Any] = {
        "text": text,
        "exact": exact if not before else [],
        "rows": rows[:_ROWS],
        "excerpts": shown,
        "left_out": left_out,
        "older": older,
    }
    return view.page(request, "search.html", values, title=f"Search for {render.short(text, 40)}" if text else "Search")


def _exact(connection: sqlite3.Connection, text: str) -> list[tuple[str, str, str]]:
    """Kind, name and address of each thing that has the text as its id, or an id that begins with it."""
    found: list[tuple[str, str, str]] = []
    if _ID.fullmatch(text.lower()):
        prefix = text.lower()
        found += [("run", trace, f"/t/{trace}") for trace in lists.traces_beginning(connection, prefix)]
        found += [
            ("span", span, f"/t/{trace}/span/{span}") for trace, span in lists.spans_beginning(connection, prefix)
        ]
    for kind, begin in _ENTITIES.items():
        if lists.entities(connection, kind, name=text, limit=1).rows:
            found.append((kind, text, f"{begin}{quote(text, safe='')}"))
    if (approval := control.approval(connection, text)) is not None:
        found.append(("approval", approval.id, f"/approvals/{approval.id}"))
    return found


ROUTES: Final = [Route("/search", show)]
