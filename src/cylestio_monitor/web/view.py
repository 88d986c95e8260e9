"""Access of the pages to the store, their answers, and the fields of their forms."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.responses import HTMLResponse, RedirectResponse

from cylestio_monitor.errors import CylestioError, StoreError
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.read.triage import attention
from cylestio_monitor.store.sqlite import schema
from cylestio_monitor.web import navigation, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.config import Loaded
    from cylestio_monitor.web.access.sessions import Sessions
    from cylestio_monitor.web.wording import RuleTitles

QUERY_S: Final = 2.0
"""Longest time that the queries of one page may take, in seconds."""

THEME_COOKIE: Final = "cylestio_theme"
THEMES: Final = ("light", "dark")

_STEPS: Final = 20_000  # instructions of SQLite's virtual machine between two looks at the clock: about a millisecond


class PageError(CylestioError):
    """A request that cannot be answered; the page shows the message.

    Attributes:
        status: The HTTP status.
        heading: The heading of the page; empty for that of the status.
    """

    def __init__(self, message: str, status: int = 400, heading: str = "") -> None:
        """Keeps the status and the heading beside the message.

        Args:
            message: One sentence.
            status: The HTTP status.
            heading: The heading of the page; empty for that of the status.
        """
        super().__init__(message)
        self.status = status
        self.heading = heading


class WebSite(NamedTuple):
    """The values that all pages share.

    Attributes:
        path: The database.
        loaded: The settings.
        sessions: The open sessions.
        titles: The titles of the rules.
    """

    path: Path
    loaded: Loaded
    sessions: Sessions
    titles: RuleTitles


def site(request: Request) -> WebSite:
    """The values that all pages share."""
    shared: WebSite = request.app.state.site
    return shared


@contextmanager
def reading(request: Request) -> Iterator[sqlite3.Connection]:
    """A connection to the store that only reads; its queries are interrupted after `QUERY_S` seconds.

    Raises:
        PageError: A query took too long, or the store is of another version or busy.
        StoreError: There is no store, or it cannot be read.
    """
    path = site(request).path
    with queries.connect(path) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > schema.VERSION:
            text = f"A newer version of cylestio-monitor wrote {path}. Update this one."
            raise PageError(text, 503, "The store is of a newer version")
        if version < schema.VERSION:
            text = f"An older version of cylestio-monitor wrote {path}. Monitor a program to update it."
            raise PageError(text, 503, "The store is of an older version")
        until = time.monotonic() + QUERY_S
        connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            yield connection
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                text = f"A query took longer than {QUERY_S:.0f} seconds. Narrow it with an agent or a later begin."
                raise PageError(text, 503, "The query took too long") from error
            raise StoreError(f"{path}: {error}") from error


def page(request: Request, template: str, values: dict[str, Any], *, title: str, status: int = 200) -> Response:
    """A page in the frame that all pages share.

    Args:
        request: The request.
        template: Name of the template, which extends ``base.html``.
        values: Names that the template uses beside those of the frame.
        title: The title of the window; the template writes its own heading.
        status: The HTTP status.
    """
    shared = site(request)
    session = request.scope["cylestio.session"]
    theme = request.cookies.get(THEME_COOKIE, "")
    frame = {
        "title": title,
        "items": navigation.ITEMS,
        "current": navigation.current(request.url.path),
        **_counts(shared.path),
        "store_name": shared.path.name,
        "mode": shared.loaded.settings.mode,
        "theme": theme if theme in THEMES else "",
        "form_token": shared.sessions.form_token(session) if session else "",
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "now_ns": time.time_ns(),
        "search_text": request.query_params.get("q", "") if request.url.path == "/search" else "",
    }
    return HTMLResponse(render.page(template, {**frame, **values}), status)


def form(request: Request) -> dict[str, str]:
    """The fields of the form that was sent; of a field that came several times, the last one."""
    fields: dict[str, list[str]] = request.scope.get("cylestio.form", {})
    return {name: values[-1] for name, values in fields.items()}


def form_values(request: Request, name: str) -> list[str]:
    """All values of one field of the form that was sent."""
    values: list[str] = request.scope.get("cylestio.form", {}).get(name, [])
    return values


def see_other(path: str) -> Response:
    """The answer to a form: the browser loads another page of this server."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return RedirectResponse(path if is_own else "/", 303)


def _counts(path: Path) -> dict[str, Any]:
    """The counts of the navigation and the cursor of live counts; none where the store cannot be read.

    The page itself then says that it cannot.
    """
    try:
        with queries.connect(path) as connection:
            spans, findings = attention.last_ids(connection)
            return {"waiting": attention.waiting(connection), "live_cursor": f"{spans}-{findings}"}
    except (StoreError, sqlite3.Error, OSError):
        return {"waiting": None, "live_cursor": ""}
