"""Live counts: a stream of events that says how much came since a page was made."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.read.triage import attention
from cylestio_monitor.web import view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.web.view import WebSite

POLL_S: Final = 2.0
"""Seconds between two looks at the store."""

HEARTBEAT_S: Final = 15.0
"""Longest silence of a stream, in seconds."""

STREAMS_OF_SESSION: Final = 4
_STREAMS: Final = 32

_CURSOR: Final = re.compile(r"(\d{1,18})-(\d{1,18})")


async def live(request: Request) -> Response:
    """The stream; it begins after the cursor in the query, or after the last event that the browser got."""
    text = request.headers.get("last-event-id") or request.query_params.get("after", "")
    found = _CURSOR.fullmatch(text)
    if found is None:
        return PlainTextResponse("The cursor of the stream is not valid.", 400)
    session = request.scope["cylestio.session"]
    streams: dict[str, int] = request.app.state.streams
    if streams.get(session, 0) >= STREAMS_OF_SESSION or sum(streams.values()) >= _STREAMS:
        return PlainTextResponse("Too many pages are live.", 429)
    cursor = int(found[1]), int(found[2])
    return StreamingResponse(
        _counted(streams, session, events(view.site(request), session, cursor)), media_type="text/event-stream"
    )


async def events(site: WebSite, session: str, cursor: tuple[int, int], poll_s: float = POLL_S) -> AsyncIterator[str]:
    """Gives an event whenever more has come, and a comment where nothing has for a while.

    Args:
        site: The store and the sessions.
        session: The stream ends with it.
        cursor: Ids of the last span and the last finding that the page knows.
        poll_s: Seconds between two looks at the store.
    """
    yield "retry: 5000\n\n"
    told, spoken = (0, 0), time.monotonic()
    while site.sessions.is_open(session):
        try:
            counts = await run_in_threadpool(_counts, site, cursor)
        except (StoreError, sqlite3.Error):  # the store is busy or gone: the page itself says so when it is loaded
            counts = told
        if counts != told:
            told, spoken = counts, time.monotonic()
            data = json.dumps({"spans": counts[0], "findings": counts[1]})
            # The cursor stays that of the page: the counts are those of rows that it does not show.
            yield f"id: {cursor[0]}-{cursor[1]}\nevent: change\ndata: {data}\n\n"
        elif time.monotonic() - spoken > HEARTBEAT_S:
            spoken = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(poll_s)


async def _counted(streams: dict[str, int], session: str, source: AsyncIterator[str]) -> AsyncIterator[str]:
    """Passes a stream on, and counts it to its session while it is open."""
    streams[session] = streams.get(session, 0) + 1
    try:
        async for event in source:
            yield event
    finally:
        streams[session] -= 1
        if streams[session] <= 0:
            del streams[session]


def _counts(site: WebSite, cursor: tuple[int, int]) -> tuple[int, int]:
    with queries.connect(site.path) as connection:
        return attention.came_after(connection, cursor)


ROUTES: Final = [Route("/live", live)]
