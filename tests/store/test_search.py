"""The full-text index of a program that is never idle, and what a search leaves out."""

from __future__ import annotations

from cylestio_monitor import semconv
from cylestio_monitor.store.ingest import write_loop
from cylestio_monitor.store.read import queries, search
from cylestio_monitor.store.sqlite import search_index

CHAT = {semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "m"}


def test_spans_are_indexed_while_others_keep_coming(bench, monkeypatch):
    """A program that is never idle must not leave its spans to the few that a search reads one by one."""
    monkeypatch.setattr(write_loop, "_LULL_S", 3600.0)
    monkeypatch.setattr(write_loop, "_UNINDEXED", 50)
    for number in range(400):
        bench.span(f"zebra {number}", attributes=CHAT)
        if number % 40 == 0:
            bench.flush()
    bench.flush()
    with queries.connect(bench.path) as connection:
        assert search_index.last_indexed(connection) > 0
        assert len(search.search(connection, "zebra", limit=1000)) == 400
        assert search.unsearched(connection) == 0


def test_a_search_says_how_many_spans_it_leaves_out(bench, monkeypatch):
    monkeypatch.setattr(write_loop, "_LULL_S", 3600.0)
    monkeypatch.setattr(search, "_TAIL", 5)
    for number in range(8):
        bench.span(f"zebra {number}", attributes=CHAT)
    bench.flush()
    with queries.connect(bench.path) as connection:
        assert search.unsearched(connection) == 3
        assert len(search.search(connection, "zebra")) == 5
