"""The page about the store names every public table and column, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "store.md"
TABLES = ["spans", "findings", "events", "outbox", "audit", "meta"]


def sections():
    return dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))


def test_the_public_names_are_the_sections():
    assert list(sections()) == TABLES


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_on_the_page_are_those_of_the_file(bench, table):
    listed = re.findall(r"^\| `(\w+)` \|", sections()[table], re.MULTILINE)
    assert listed == [row["name"] for row in bench.rows(f"PRAGMA table_info({table})")]


def test_the_data_of_a_span_holds_what_the_page_says(bench):
    bench.span("chat", attributes={"gen_ai.operation.name": "chat"})
    bench.flush()
    (row,) = bench.rows("SELECT group_concat(key, ',') AS keys FROM events, json_each(events.data)")
    text = re.search(r"Of a span: (.*?)\. \|", sections()["events"])[1]
    assert re.findall(r"`(\w+)`", text) == row["keys"].split(",")


def test_every_query_on_the_page_about_queries_runs(bench):
    bench.span("chat", attributes={"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 3})
    bench.flush()
    page = (PAGE.parents[1] / "how-to" / "query-the-store.md").read_text("utf-8")
    queries = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert len(queries) == 2
    for query in queries:
        bench.rows(query)
