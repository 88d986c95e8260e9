"""The application behind `cylestio ui`: every route, the login, and the pages for what went wrong."""

from __future__ import annotations

import logging
import secrets
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from cylestio_monitor.errors import CylestioError, StoreError
from cylestio_monitor.web import problems, render, view, wording
from cylestio_monitor.web.access import security
from cylestio_monitor.web.pages import (
    approvals,
    audit,
    delivery,
    findings,
    incidents,
    live,
    overview,
    policy,
    runs,
    search,
    sessions,
    settings,
)
from cylestio_monitor.web.pages.run import conversation, span, text, timeline
from cylestio_monitor.web.pages.tool import graph, tools

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from starlette.requests import Request

    from cylestio_monitor.config import Loaded
    from cylestio_monitor.web.access.sessions import Sessions

PAGES: Final[tuple[ModuleType, ...]] = (
    overview,
    findings,
    runs,
    conversation,
    timeline,
    span,
    text,
    sessions,
    approvals,
    tools,
    graph,
    policy,
    search,
    incidents,
    delivery,
    audit,
    settings,
    live,
)
"""The modules of `web.pages`; each has its routes in ``ROUTES``."""

_logger = logging.getLogger(__name__)

_HEADINGS: Final = {404: "Not found", 405: "Not possible", 409: "Changed meanwhile", 500: "The page failed"}
_MEDIA_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def create_app(
    path: Path,
    loaded: Loaded,
    *,
    sessions: Sessions,
    hosts: frozenset[str],
    cookie: str = "cylestio",
    scheme: str = "http",
) -> security.RequestGuard:
    """The ASGI application.

    Args:
        path: The database; it may be missing.
        loaded: The settings.
        sessions: The login links and open sessions.
        hosts: Allowed values of the header ``Host``, such as ``127.0.0.1:8765``.
        cookie: Name of the session cookie; two servers on one host need different ones.
        scheme: ``http`` or ``https``.
    """
    routes = [
        Route("/login", _login),
        Route("/login/{token}", _login),
        Route("/logout", _logout, methods=["POST"]),
        Route("/theme", _theme, methods=["POST"]),
        Route("/static/{name}", _static),
        *(route for page in PAGES for route in page.ROUTES),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _http_error,
            CylestioError: _known_error,
            sqlite3.Error: _known_error,
            OSError: _known_error,
            Exception: _unknown_error,
        },
    )
    app.router.redirect_slashes = False
    # The rules are read here: the time of a page's queries is limited.
    app.state.site = view.WebSite(path, loaded, sessions, wording.RuleTitles(loaded))
    app.state.streams = {}
    app.state.cookie = cookie, scheme == "https"
    return security.RequestGuard(app, sessions=sessions, hosts=hosts, cookie=cookie, scheme=scheme)


def _login(request: Request) -> Response:
    """Logs in by the link, once; without a valid link, the page that takes one."""
    token = request.path_params.get("token") or request.query_params.get("token", "")
    token = token.strip().rpartition("/")[2]  # the whole link may have been pasted
    # Whatever only looks at an address must not use the link up.
    session = view.site(request).sessions.login(token) if token and request.method == "GET" else None
    if session is None:
        values = {"is_refused": bool(token)}
        return Response(render.page("login.html", values), 401 if token else 200, media_type="text/html")
    answer = RedirectResponse("/", 303)
    name, is_secure = request.app.state.cookie
    answer.headers.append("set-cookie", security.session_cookie(name, session, secure=is_secure))
    return answer


def _logout(request: Request) -> Response:
    """Ends the session."""
    view.site(request).sessions.close(request.scope["cylestio.session"])
    return RedirectResponse("/login", 303)


def _theme(request: Request) -> Response:
    """Keeps the theme that was chosen."""
    fields = view.form(request)
    theme = fields.get("theme", "")
    answer = view.see_other(fields.get("here", "/"))
    if theme in view.THEMES:
        answer.headers.append("set-cookie", f"{view.THEME_COOKIE}={theme}; Path=/; SameSite=Strict; Max-Age=31536000")
    return answer


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    content = render.static_files().get(name)
    if content is None:
        return PlainTextResponse("There is no such file.", 404)
    headers = {"cache-control": "private, max-age=31536000, immutable"}
    return Response(content, media_type=_MEDIA_TYPES[name.rpartition(".")[2]], headers=headers)


def _http_error(request: Request, error: Any) -> Response:
    texts = {404: "There is no such page.", 405: "This address takes no such request."}
    return _problem(request, texts.get(error.status_code, str(error.detail)), error.status_code)


def _known_error(request: Request, error: Exception) -> Response:
    if isinstance(error, view.PageError):
        return _problem(request, str(error), error.status, error.heading)
    if isinstance(error, StoreError | sqlite3.Error | OSError):
        return _page(request, problems.explained(error, view.site(request).path), 503)
    return _problem(request, f"{error}.", 400)


def _unknown_error(request: Request, error: Exception) -> Response:
    reference = secrets.token_hex(4)
    _logger.error("cylestio ui: error %s at %s", reference, request.url.path, exc_info=error)
    return _problem(request, f"The page failed. The log of this server has the error under {reference}.", 500)


def _problem(request: Request, text: str, status: int, heading: str = "") -> Response:
    return _page(request, problems.PageProblem(heading or _HEADINGS.get(status, "Not available"), text), status)


def _page(request: Request, problem: problems.PageProblem, status: int) -> Response:
    if request.scope["cylestio.session"] is None:
        return PlainTextResponse(problem.text, status)
    return view.page(request, "problem.html", {"problem": problem}, title=problem.heading, status=status)
