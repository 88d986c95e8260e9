"""A store whose every text was written by an attacker: each page shows it as text, bounded, and executes nothing."""

from __future__ import annotations

import json
import re
import sqlite3
from html.parser import HTMLParser

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.store import Event
from cylestio_monitor.store.sqlite.records import (
    Approval,
    CallFactsRow,
    Decision,
    RecordedPart,
    ToolVersion,
    ValueOrigin,
)
from cylestio_monitor.web import app
from web.conftest import browsing

MARKUP = '</script><script>alert(1)</script><img src=x onerror=alert(2)><style>*{}</style>"\' style="x" onclick="x"'
HIDDEN = "\u202eesrever\u2066\u200b\ufeff\x00\x1b]0;title\x07\x85\u2028"
LINK = "javascript:alert(3)"
TEMPLATE = "{{7*7777}}{% raw %}"
HOSTILE = MARKUP + HIDDEN + LINK + TEMPLATE
LONG = HOSTILE + "x" * 200_000
TRACE = "ab" * 16
SPAN = "cd" * 8


class Elements(HTMLParser):
    """The elements of a page: names, attributes, and the text outside them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def text_columns(connection, table):
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return [(row[1], bool(row[5])) for row in columns if row[2] == "TEXT"]


KEPT = {
    ("run", "trace_id"),
    ("span", "trace_id"),
    ("span", "span_id"),
    ("span", "parent_span_id"),
    ("findings", "group_id"),
    ("findings", "trace_id"),
    ("findings", "span_id"),
    ("incident_item", "kind"),
    ("incident_item", "ref"),
    ("incident_item", "incident"),
    ("note", "subject"),
    ("note", "ref"),
    ("event", "event_type"),
    ("silence", "group_id"),
    ("entity", "kind"),
    ("outbox", "signal"),
    ("meta", "key"),
    ("approval", "state"),
    ("tool_definition", "state"),
}
"""Columns that lead to a row; without them no page would show it."""


OBJECTS = {("span", "attributes"), ("span", "extra"), ("event", "data"), ("call_facts", "facts")}
ARRAYS = {("span", "events"), ("findings", "owasp"), ("findings", "atlas"), ("part", "masks")}
"""Columns that the store itself encodes as JSON, whatever was seen."""


def written(table, column, text):
    if (table, column) in OBJECTS:
        return json.dumps({text[:300]: text, "by": text, "reason": text, "name": text})
    return json.dumps([text, text]) if (table, column) in ARRAYS else text


@pytest.fixture(params=[HOSTILE, LONG], ids=["markup", "long"])
def hostile(request, bench):
    """A store in which every other text of every table is the attacker's, written past all checks."""
    place = {"trace_id": TRACE, "span_id": SPAN}
    labels = {semconv.CYLESTIO_AGENT_ID: "a", semconv.CYLESTIO_SESSION_ID: "s", semconv.ENDUSER_ID: "u"}
    with bench.tracer.start_as_current_span("root", attributes=labels) as root:
        place = {
            "trace_id": f"{root.get_span_context().trace_id:032x}",
            "span_id": f"{root.get_span_context().span_id:016x}",
        }
        message = [{"role": "user", "parts": [{"type": "text", "content": request.param[:20_000]}]}]
        attributes = {
            semconv.OPERATION_NAME: "chat",
            semconv.REQUEST_MODEL: "m",
            semconv.INPUT_MESSAGES: json.dumps(message),
            **labels,
        }
        bench.span("chat", attributes=attributes)
        bench.span(
            "execute_tool", attributes={semconv.OPERATION_NAME: "execute_tool", semconv.TOOL_NAME: "t", **labels}
        )
    from web.test_findings import finding

    number = int(place["trace_id"], 16), int(place["span_id"], 16)
    bench.store.add_findings(*number, [finding()], tool="t", agent_id="a", session_id="s", user_id="u")
    far = 1 << 61
    for record in (
        RecordedPart(**place, attribute="x", pointer="/0", part_id="p", source="user", length=3),
        ValueOrigin(**place, argument="x", kind="k", shape="prose", origin="tool:t", value_hash="v"),
        CallFactsRow(**place, time_ns=1, tool="t", facts="{}"),
        ToolVersion(**place, server="s", name="n", digest="d1", definition="{}", first_ns=1, last_ns=1),
        ToolVersion(**place, server="s", name="n", digest="d2", definition="{}", first_ns=2, last_ns=2),
        Decision(**place, time_ns=1, action="deny", enforced=True, rule="r", policy_version="v", reason="r"),
        Approval(
            **place, id="e" * 32, tool="t", arguments="{}", digest="d", rule="r", policy_version="v", reason="r",
            created_ns=1, expires_ns=far,
        ),
    ):  # fmt: skip
        bench.store.add_record(record)
    bench.store.add_event(Event("a", "note_added", "STORE", "INFO", 1, {"by": request.param, "reason": request.param}))
    bench.flush()
    with browsing(bench.path) as browser:
        (group,) = [row["group_id"] for row in bench.rows("SELECT group_id FROM finding_group")]
        browser.post(f"/findings/{group}/note", text="n")
        browser.post(f"/findings/{group}/silence", reason="r")
        incident = browser.post("/incidents", kind="group", ref=group).headers["location"]
        browser.post(f"{incident}/note", text="n")
        browser.post(f"{incident}/change", owner="o")
        connection = sqlite3.connect(bench.path)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table.startswith(("sqlite_", "search")) or table in {"shared", "checkpoint"}:
                continue
            for column, is_key in text_columns(connection, table):
                if (table, column) in KEPT or (is_key and table == "finding_group"):
                    continue
                if column == "id" or (table, column) == ("findings", "timestamp"):
                    continue
                value = written(table, column, request.param)
                connection.execute(f'UPDATE OR IGNORE {table} SET "{column}" = ?', (value,))
        connection.commit()
        connection.close()
        paths = {
            "group": group,
            "incident": incident.rpartition("/")[2],
            "trace": place["trace_id"],
            "span": place["span_id"],
            "approval": "e" * 32,
        }
        yield browser, paths


ROUTES = sorted({route.path for page in app.PAGES for route in page.ROUTES if "GET" in route.methods} - {"/live"})


def test_every_page_shows_hostile_text_as_text(hostile):
    browser, ids = hostile
    shown = 0
    for route in ROUTES:
        names = re.findall(r"{(\w+)[:}]", route)
        path = re.sub(r"{(\w+)(?::\w+)?}", lambda match: ids.get(match[1], "a"), route)
        if route == "/search":
            path += "?q=alert"
        answer = browser.get(path)
        if set(names) <= set(ids) and not route.endswith("/text"):  # which text, its query says
            assert answer.status_code == 200, (path, re.findall(r"<p>([^<]{1,300})", answer.text)[:4])
        assert answer.status_code < 500, (path, re.findall(r"<p>([^<]{1,300})", answer.text)[:4])
        text = answer.text
        assert not {*HIDDEN} & {*text} - {*"esr v0;title]"}, path
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
