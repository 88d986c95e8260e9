"""The conversation of a run: every message once, findings marked in the text, and the way of each untrusted value."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from cylestio_monitor.store.read import lists, pages
from cylestio_monitor.store.read.conversation.places import Places
from cylestio_monitor.store.read.conversation.transcript import transcript
from cylestio_monitor.store.read.findings import findings_of, opened, other_runs
from cylestio_monitor.web import conversation, excerpts, view
from cylestio_monitor.web.happened import happened

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.store.read.lists import RunRow
    from cylestio_monitor.store.sqlite.records import Decision

_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_MOST: Final = 500  # findings and values of one run
_SAME: Final = 5  # texts that are looked for in other runs


def run_of(request: Request, connection: sqlite3.Connection) -> RunRow:
    """The run that the address names.

    Raises:
        PageError: There is no such run.
    """
    trace_id = request.path_params["trace"]
    rows = lists.runs(connection, trace_id=trace_id, limit=1).rows if _TRACE.fullmatch(trace_id) else []
    if not rows:
        raise view.PageError("No such run is stored. It may have been removed by retention.", 404)
    return rows[0]


def first_of(request: Request, step: int) -> int:
    """The index of the first row of this page: ``from`` in the query, rounded down to whole pages.

    Args:
        request: The request.
        step: Rows of one page.
    """
    text = request.query_params.get("from", "0")
    return int(text) // step * step if text.isascii() and text.isdigit() and len(text) < _DIGITS else 0


_DIGITS: Final = 8


def show(request: Request) -> Response:
    """The conversation of one run."""
    first = first_of(request, conversation.TURNS)
    path = view.site(request).path
    with view.reading(request) as connection:
        run = run_of(request, connection)
        read = transcript(connection, run.trace_id, path)
        places = Places(read)
        found = places.findings(opened(findings_of(connection, run.trace_id, _MOST), path))
        filters = {"trace_id": run.trace_id}
        values = pages.read_page(connection, lists.VALUES, filters, limit=_MOST).rows
        decisions: dict[str, list[Decision]] = defaultdict(list)
        for decision in pages.read_page(connection, lists.DECISIONS, filters, limit=_MOST).rows:
            if decision.action != "allow":
                decisions[decision.span_id].append(decision)
        hashes = list(dict.fromkeys(one.finding.match_hash for one in found if one.finding.match_hash))[:_SAME]
        values_used = list(dict.fromkeys(one.value_hash for one in values))[:_SAME]
        elsewhere = other_runs(connection, hashes, run.trace_id, value_hashes=values_used)
    shown = conversation.ConversationView(
        read,
        places,
        found,
        places.values(reversed(values)),
        decisions,
        view.site(request).titles,
        excerpts.key_of(path),
    )
    total = len(read.turns)
    first = min(first, max(0, total - 1) // conversation.TURNS * conversation.TURNS)
    values_of_page: dict[str, Any] = {
        "run": run,
        "tab": "conversation",
        "read": read,
        "shown": shown,
        "turns": shown.page(first),
        "first": first,
        "total": total,
        "step": conversation.TURNS,
        "happened": happened(read, shown, found),
        "elsewhere": elsewhere,
    }
    return view.page(request, "conversation.html", values_of_page, title=run.name or "Run")


ROUTES: Final = [Route("/t/{trace}", show)]
