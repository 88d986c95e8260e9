"""Sessions and users: who used the agents, and what else they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.read import lists, pages
from cylestio_monitor.web import filters, view

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_FIELDS: Final = (("since", ()), ("until", ()), ("agent", ()), ("severity", SEVERITIES[1:]))
_VALUES: Final = 100


def sessions(request: Request) -> Response:
    """The sessions, the last active first."""
    return _entities(request, "session")


def users(request: Request) -> Response:
    """The users, the last active first."""
    return _entities(request, "user")


def _entities(request: Request, kind: str) -> Response:
    fields = (*_FIELDS, ("user", ())) if kind == "session" else _FIELDS
    chosen = filters.read(request, [name for name, _ in fields])
    with view.reading(request) as connection:
        page = lists.entities(
            connection,
            kind,
            cursor=chosen.cursor,
            since_ns=chosen.since_ns,
            until_ns=chosen.until_ns,
            agent_id=chosen.get("agent"),
            user_id=chosen.get("user"),
            min_severity=chosen.min_severity,
        )
    values = {
        "kind": kind,
        "rows": page.rows,
        "paging": filters.paging(page, chosen),
        "filters": chosen,
        "fields": fields,
        "path": request.url.path,
    }
    return view.page(request, "entities.html", values, title=f"{kind.capitalize()}s")


def session(request: Request) -> Response:
    """One session: its totals, its runs in their order, and the values of untrusted sources that its calls used."""
    name = request.path_params["session"]
    chosen = filters.read(request, ())
    with view.reading(request) as connection:
        found = lists.entities(connection, "session", name=name, limit=1).rows
        if not found:
            raise view.PageError("No such session is stored. It may have been removed by retention.", 404)
        page = lists.runs(connection, session_id=name, cursor=chosen.cursor)
        values = pages.read_page(connection, lists.VALUES, {"session_id": name}, limit=_VALUES).rows
    page_values = {
        "session": found[0],
        "rows": page.rows,
        "paging": filters.paging(page, chosen),
        "values": list(reversed(values)),
        "most": _VALUES,
    }
    return view.page(request, "session.html", page_values, title=f"Session {name}")


ROUTES: Final = [Route("/sessions", sessions), Route("/users", users), Route("/s/{session:path}", session)]
