"""Approvals: the calls that wait for a person, and the decision about one of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from cylestio_monitor.store.control.approvals import StoredApprovals
from cylestio_monitor.store.read import control, lists, pages
from cylestio_monitor.store.read.conversation.parts import leaves_of
from cylestio_monitor.store.read.conversation.places import Places
from cylestio_monitor.store.read.conversation.transcript import transcript
from cylestio_monitor.web import filters, view

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.store.sqlite.records import Approval

_STATES: Final = ("waiting", "allowed", "denied", "expired", "used")
_FIELDS: Final = (("status", _STATES), ("agent", ()), ("session", ()), ("user", ()), ("tool", ()), ("since", ()))
_KINDS: Final = {"waiting": "warn", "allowed": "good", "used": "good", "denied": "bad", "expired": ""}
_NO_TRACE: Final = "0" * 32
_AROUND: Final = 100  # code points before and after a value where it was said first
_MAX_REASON: Final = 500
_VALUES: Final = 100
_RUNS: Final = 10
_DECISIONS: Final = {"allow": True, "deny": False}


def state_of(approval: Approval, now_ns: int) -> str:
    """The state of a request; one that waits beyond its time is expired.

    Args:
        approval: The request.
        now_ns: In ns since the epoch.
    """
    return "expired" if approval.state == "waiting" and approval.expires_ns <= now_ns else approval.state


def approvals(request: Request) -> Response:
    """The requests, the newest first."""
    chosen = filters.read(request, [name for name, _ in _FIELDS])
    status = chosen.get("status")
    if status is not None and status not in _STATES:
        raise view.PageError(f"The filter status is one of {', '.join(_STATES)}.")
    with view.reading(request) as connection:
        page = pages.read_page(
            connection,
            lists.APPROVALS,
            {
                "state": status,
                "agent_id": chosen.get("agent"),
                "session_id": chosen.get("session"),
                "user_id": chosen.get("user"),
                "tool": chosen.get("tool"),
                "since_ns": chosen.since_ns,
            },
            cursor=chosen.cursor,
        )
    now_ns = time.time_ns()
    values = {
        "rows": [(row, state_of(row, now_ns)) for row in page.rows],
        "kinds": _KINDS,
        "paging": filters.paging(page, chosen),
        "filters": chosen,
        "fields": _FIELDS,
    }
    return view.page(request, "approvals.html", values, title="Approvals")


def _approval(request: Request, connection: sqlite3.Connection) -> Approval:
    found = control.approval(connection, request.path_params["id"])
    if found is None:
        raise view.PageError("No such request for approval is stored.", 404)
    return found


def show(request: Request) -> Response:
    """One request: the call, the origin of its values, and the decision."""
    return _page(request)


def _page(request: Request, *, problem: str = "", status: int = 200) -> Response:
    path = view.site(request).path
    with view.reading(request) as connection:
        found = _approval(request, connection)
        arguments, left_out, _ = leaves_of(found.arguments)
        origins = _origins(connection, found, {leaf.path: leaf.text for leaf in arguments}, path)
        runs = lists.runs(connection, session_id=found.session_id, limit=_RUNS).rows if found.session_id else []
    now_ns = time.time_ns()
    values: dict[str, Any] = {
        "found": found,
        "full_tool": f"{found.server}/{found.tool}" if found.server else found.tool,
        "state": state_of(found, now_ns),
        "kinds": _KINDS,
        "arguments": [(leaf, origins.get(leaf.path)) for leaf in arguments],
        "left_out": left_out,
        "trace": "" if found.trace_id == _NO_TRACE else found.trace_id,
        "runs": runs,
        "problem": problem,
        "most_reason": _MAX_REASON,
    }
    return view.page(request, "approval.html", values, title=f"Approval of {found.tool}", status=status)


def _origins(
    connection: sqlite3.Connection, found: Approval, arguments: Mapping[str, str], path: Path
) -> dict[str, dict[str, Any]]:
    """The origin of each argument of the call that only an untrusted source had said, by the path of the argument."""
    if found.trace_id == _NO_TRACE:
        return {}
    rows = pages.read_page(connection, lists.VALUES, {"trace_id": found.trace_id}, limit=_VALUES).rows
    if not rows:
        return {}
    read = transcript(connection, found.trace_id, path)
    places = Places(read)
    origins: dict[str, dict[str, Any]] = {}
    for value in places.values(rows):
        name = value.origin.argument
        is_same = value.use is not None and places.whole(value.use) == arguments.get(name)
        if name not in arguments or not (value.origin.span_id == found.span_id or is_same):
            continue
        before = after = said = ""
        if value.source is not None and value.source.end > value.source.start:
            text = places.whole(value.source)
            said = text[value.source.start : value.source.end]
            before = text[max(0, value.source.start - _AROUND) : value.source.start]
            after = text[value.source.end : value.source.end + _AROUND]
        origins[name] = {
            "said_by": value.origin.origin.removeprefix("tool:"),
            "shape": value.origin.shape,
            "before": before,
            "said": said,
            "after": after,
            "turn": value.source.turn + 1 if value.source is not None else None,
        }
    return origins


def decide(request: Request) -> Response:
    """Allows the call once, or denies it. The form names the call that was shown; any other is refused."""
    fields = view.form(request)
    shared = view.site(request)
    if fields.get("decision") not in _DECISIONS:
        raise view.PageError("The decision is allow or deny.")
    with view.reading(request) as connection:
        found = _approval(request, connection)
    if (fields.get("digest"), fields.get("policy_version")) != (found.digest, found.policy_version):
        return _page(request, problem="The form is about another call. This is the one that waits now.", status=409)
    ledger = StoredApprovals(shared.path, shared.loaded.settings.store)
    done = ledger.decide(
        found.id,
        allow=_DECISIONS[fields["decision"]],
        by=control.user_name(),
        now_ns=time.time_ns(),
        reason=fields.get("reason", "").strip()[:_MAX_REASON],
    )
    if not done:
        return _page(request, problem="The call does not wait any more. Nothing was changed.", status=409)
    return view.see_other(f"/approvals/{found.id}")


ROUTES: Final = [
    Route("/approvals", approvals),
    Route("/approvals/{id}", show),
    Route("/approvals/{id}", decide, methods=["POST"]),
]
