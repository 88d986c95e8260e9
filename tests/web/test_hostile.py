"""A store whose every text was written by an attacker: each page shows it as text, bounded, and executes nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from web import hostile_store
from web.conftest import browsing
from web.routes import ROUTES, path_of


class Elements(HTMLParser):
    """The elements of a page: names, attributes, and the text outside them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(params=hostile_store.VARIANTS)
def hostile(request, bench):
    """A browser on such a store, and the ids in it."""
    ids = hostile_store.fill(bench, request.param)
    with browsing(bench.path) as browser:
        yield browser, ids


def test_every_page_shows_hostile_text_as_text(hostile):
    browser, ids = hostile
    shown = 0
    for route in ROUTES:
        names = re.findall(r"{(\w+)[:}]", route)
        path = path_of(route, ids)
        if route == "/search":
            path += "?q=alert"
        answer = browser.get(path)
        if set(names) <= set(ids) and not route.endswith("/text"):  # which text, its query says
            assert answer.status_code == 200, (path, re.findall(r"<p>([^<]{1,300})", answer.text)[:4])
        assert answer.status_code < 500, (path, re.findall(r"<p>([^<]{1,300})", answer.text)[:4])
        text = answer.text
        assert not {*hostile_store.HIDDEN} & {*text} - {*"esr v0;title]"}, path
        assert "54439" not in text, path
        assert len(text.encode()) < 900_000, path
        for tag, attributes in Elements(text).found:
            assert tag not in {"style", "iframe", "object", "embed", "base", "img", "link_", "frame"}, (path, tag)
            assert tag != "script" or attributes.get("src", "").startswith("/static/"), path
            for name, value in attributes.items():
                assert name != "style", (path, tag)
                assert not name.startswith("on"), (path, tag, name)
                if name in {"href", "src", "action"}:
                    assert (value or "").startswith(("/", "#", "?")), (path, tag, value)
                    assert not (value or "").startswith("//"), (path, tag, value)
        shown += "&lt;script&gt;" in text
    assert shown >= 8


def test_findings_and_traces_without_number_are_bounded(bench):
    from web.test_findings import finding

    for run in range(1, 120):
        found = [finding(match=f"{run:04x}", start=place) for place in range(30)]
        bench.store.add_findings(run, 1, found, tool="t", agent_id=f"agent {run}")
    bench.flush()
    with browsing(bench.path) as browser:
        (group,) = [row["group_id"] for row in bench.rows("SELECT group_id FROM finding_group")]
        text = browser.text(f"/findings/{group}")
        assert text.count("<tr") < 250
        assert "50 shown" in text
        for path in ("/", "/findings", "/runs"):
            page = browser.text(path)
            assert page.count("<tr") <= 250
            assert len(page) < 300_000
        first = browser.text("/runs")
        older = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
        second = browser.text(older)
        traces = re.compile(r'href="/t/([0-9a-f]{32})"')
        assert len(traces.findall(first)) == 50
        assert not set(traces.findall(first)) & set(traces.findall(second))
        newer = re.search(r'rel="prev" href="([^"]+)"', second)[1].replace("&amp;", "&")
        assert traces.findall(browser.text(newer)) == traces.findall(first)
