"""Live counts: a page says that more has come, moves nothing by itself, and does not use up the connections."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from browser.conftest import opened
from cylestio_monitor import semconv
from store.filling import Bench

pytestmark = pytest.mark.e2e
CHAT = {semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "m"}


@pytest.fixture
def growing(browser, tmp_path):
    """A store with one call, the writer that adds to it, and the pages over it."""
    bench = Bench(tmp_path / "data" / "store.db")
    bench.span("chat one", attributes=CHAT)
    bench.flush()
    try:
        with opened(browser, bench.path) as site:
            yield bench, site
    finally:
        bench.close()


def test_a_page_says_what_is_new_and_moves_no_row(growing):
    bench, site = growing
    with site.window() as watched:
        page = watched.open("/runs")
        page.wait_for_selector(".live:text('Live')")
        before = page.inner_text("main")
        bench.span("chat two", attributes=CHAT)
        bench.flush()
        page.wait_for_selector(".live a:text('1 new call')")
        assert page.inner_text("main") == before
        page.locator(".live a").click()
        page.wait_for_selector("main :text('chat two')")
        assert watched.problems() == []


def test_twenty_windows_are_served(growing):
    _, site = growing
    with site.window() as watched:
        watched.open("/")
        context = watched.page.context
        pages = [context.new_page() for _ in range(20)]
        for number, page in enumerate(pages):
            assert page.goto(f"{watched.origin}/runs?agent={number}", wait_until="load").status == 200
        assert watched.page.goto(f"{watched.origin}/findings", wait_until="load").status == 200


def test_without_a_server_the_page_says_so(browser, tmp_path):
    bench = Bench(tmp_path / "data" / "store.db")
    bench.span("chat", attributes=CHAT)
    bench.flush()
    bench.close()
    with ExitStack() as windows:
        with opened(browser, bench.path) as site:
            page = windows.enter_context(site.window()).open("/")
            page.wait_for_selector(".live:text('Live')")
        page.wait_for_selector(".live:text('Not live')")
