"""The queries of every page: none of them reads a whole table that grows with what is monitored."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest

from cylestio_monitor.store.read import queries
from web.conftest import browsing
from web.recording import trace_ids

GROWING = {
    *("span", "findings", "event", "run", "part", "value_origin", "call_facts", "decision", "audit", "entity"),
    *("outbox", "metric", "alert", "approval", "usage", "finding_group"),
}
FEW = {
    "finding_group": "groups are rules times sources: thousands, however long the program runs",
    "usage": "one row for each hour, agent, model and tool",
    "outbox": "what waits for a collector: its length is what the page shows",
    "approval": "calls that a person decided about",
    "alert": "alerts that were sent",
}
PAGES = (
    *("/", "/findings", "/findings?severity=high", "/findings?agent=a", "/runs", "/runs?agent=a&severity=high"),
    *("/runs?tool=git_log", "/runs?user=u", "/sessions", "/users", "/tools", "/policy", "/policy/whatif", "/approvals"),
    *("/incidents", "/delivery", "/audit", "/settings", "/search?q=deployment", "/t/{trace}", "/t/{trace}/timeline"),
    *("/t/{trace}/span/{span}", "/findings/{group}", "/s/{session}", "/incidents/{incident}"),
)


def whole_tables(connection, statement):
    """The steps of the plan of a statement that read a growing table to its end."""
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    named = re.findall(r"\b(?:FROM|JOIN)\s+(\w+)(?:\s+(?:AS\s+)?(\w+))?", statement, re.IGNORECASE)
    tables = {alias or table: table for table, alias in named} | {table: table for table, _ in named}
    found = []
    for step in steps:
        scanned = re.match(r"SCAN (\w+)(?! VIRTUAL)", step)
        table = tables.get(scanned[1], scanned[1]) if scanned else ""
        is_read_whole = "USING" not in step or not re.search(r"\bLIMIT\b", statement, re.IGNORECASE)
        if table in GROWING - FEW.keys() and is_read_whole:
            found.append(step)
    return found


@pytest.fixture(scope="module")
def filled(demo):
    """The store of the demo with an incident."""
    with browsing(demo) as browser:
        answer = browser.post("/incidents", kind="trace", ref=trace_ids(demo)[0])
    return demo, answer.headers["location"].rpartition("/")[2]


@pytest.mark.parametrize("page", PAGES)
def test_no_page_reads_a_whole_table(filled, monkeypatch, page):
    path, incident = filled
    seen = []
    original = queries.connect

    @contextmanager
    def connect(*args, **more):
        with original(*args, **more) as connection:
            connection.set_trace_callback(seen.append)
            yield connection
            connection.set_trace_callback(None)

    with queries.connect(path) as connection:
        trace_id = trace_ids(path)[0]
        session = connection.execute("SELECT coalesce(max(session_id), 's') FROM run").fetchone()[0]
        span = connection.execute("SELECT max(span_id) FROM span").fetchone()[0]
        group = connection.execute("SELECT max(group_id) FROM finding_group").fetchone()[0]
    address = page.format(trace=trace_id, session=session, span=span, group=group, incident=incident)
    with browsing(path) as browser:
        monkeypatch.setattr(queries, "connect", connect)
        answer = browser.get(address)
        monkeypatch.undo()
    assert answer.status_code in {200, 404}
    statements = {one for one in seen if one.lstrip().upper().startswith(("SELECT", "WITH"))}
    assert statements
    with queries.connect(path) as connection:
        assert {one: steps for one in statements if (steps := whole_tables(connection, one))} == {}
