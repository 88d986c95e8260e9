"""Live counts: an event where more has come, no more streams than a session may have, and an end with the session."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.web import view
from cylestio_monitor.web.pages import live

CHAT = {semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "m"}


def site_of(browser, path):
    return view.WebSite(path, None, browser.sessions, None)


def test_a_page_carries_the_cursor_of_its_moment(browser, bench):
    bench.span("chat", attributes=CHAT)
    bench.flush()
    assert re.search(r'data-live="1-0"', browser.text("/"))


@pytest.mark.asyncio
async def test_what_comes_after_the_cursor_is_counted(browser, bench):
    bench.span("chat", attributes=CHAT)
    bench.span("not monitored")
    bench.flush()
    session = browser.client.cookies["cylestio"]
    stream = live.events(site_of(browser, bench.path), session, (0, 0), 0.01)
    assert (await anext(stream)).startswith("retry:")
    event = await asyncio.wait_for(anext(stream), 10)
    assert event.startswith("id: 0-0\nevent: change\n")
    assert json.loads(event.partition("data: ")[2]) == {"spans": 1, "findings": 0}
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    bench.span("chat", attributes=CHAT)
    event = await asyncio.wait_for(waiting, 10)
    assert json.loads(event.partition("data: ")[2])["spans"] == 2
    await stream.aclose()


@pytest.mark.asyncio
async def test_a_stream_ends_with_its_session(browser, bench):
    session = browser.client.cookies["cylestio"]
    stream = live.events(site_of(browser, bench.path), session, (0, 0), 0.01)
    await anext(stream)
    browser.sessions.close(session)
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(stream), 10)


@pytest.mark.asyncio
async def test_a_store_that_goes_away_does_not_end_the_stream(browser, tmp_path):
    session = browser.client.cookies["cylestio"]
    stream = live.events(site_of(browser, tmp_path / "gone.db"), session, (0, 0), 0.01)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    waiting.cancel()


@pytest.mark.parametrize("after", ["", "1", "a-b", "-1-0", "1-0x", "9" * 30 + "-0"])
def test_a_cursor_that_is_none_is_refused(browser, after):
    assert browser.client.get("/live", params={"after": after}).status_code == 400


def test_a_session_has_four_streams_at_most(browser):
    streams = browser.client.app._app.state.streams
    streams[browser.client.cookies["cylestio"]] = live.STREAMS_OF_SESSION
    assert browser.get("/live?after=0-0").status_code == 429


@pytest.mark.asyncio
async def test_a_closed_stream_is_not_counted():
    streams = {}

    async def source():
        yield "one"
        yield "two"

    stream = live._counted(streams, "s", source())
    await anext(stream)
    assert streams == {"s": 1}
    await stream.aclose()
    assert streams == {}
