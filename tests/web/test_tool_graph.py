"""The graph of agents and tools: tools by their effect, worst findings, the same as a table, and bounds."""

from __future__ import annotations

import re

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.model import Usage
from web import recording as calls
from web.conftest import browsing
from web.recording import HOSTILE, read_page


def tool_calls(bench, agents, tools):
    for agent in range(agents):
        for name in range(tools):
            bench.span(
                "execute_tool",
                attributes={
                    semconv.OPERATION_NAME: "execute_tool",
                    semconv.TOOL_NAME: f"run_{name}" if name % 2 else f"read_{name}",
                    semconv.CYLESTIO_AGENT_ID: f"agent {agent}",
                },
            )
    bench.flush()


def columns(text):
    """The names in each column of the picture, from the left."""
    found = {}
    for classes, body in re.findall(r'<a href="[^"]*" class="node ([^"]*)">(.*?)</a>', text, re.DOTALL):
        found.setdefault(classes.split()[0], []).append(re.search(r'class="name"[^>]*>([^<]*)', body)[1])
    return found


def test_tools_stand_on_the_side_of_their_effect(demo):
    with browsing(demo) as browser:
        text = browser.text("/tool-graph")
        page = read_page(browser, "/tool-graph")
    assert columns(text)["agent"] == ["release-notes"]
    assert "git_show" in columns(text)["source"]
    assert "run_sql" in columns(text)["action"]
    assert {"/tools/git_log", "/tools/git_show", "/tools/run_sql", "/runs?agent=release-notes"} <= set(page.links)
    assert text.count('class="edge carried" d="M') == 2, "the key and the words of git_log"
    assert text.count('class="edge dangerous"') == 3


def test_the_policy_says_what_a_tool_does(demo, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("effects: {git_log: reads, run_sql: reads}\n")
    with browsing(demo, policy=str(policy)) as browser:
        found = columns(browser.text("/tool-graph"))
        assert sorted(found["source"]) == ["git_log", "git_show", "run_sql"]
        assert "action" not in found
        assert '<td data-label="effect">reads</td>' in browser.text("/tools")


def test_more_than_the_picture_holds_is_counted_and_listed(bench, browser):
    tool_calls(bench, 3, 50)
    text = browser.text("/tool-graph")
    found = columns(text)
    assert {name: len(nodes) for name, nodes in found.items()} == {"source": 16, "agent": 3, "action": 16}
    assert "18 more agents and tools have no room" in text
    assert text.count("<tr data-row>") == 150


@pytest.mark.parametrize("query", ["?agent=agent+1", "?since=24h", "?since=30d&agent=agent+2"])
def test_filters_hold_for_the_picture_and_the_table(bench, browser, query):
    tool_calls(bench, 3, 2)
    agents = columns(browser.text(f"/tool-graph{query}"))["agent"]
    assert agents == ([f"agent {query[-1]}"] if "agent" in query else ["agent 0", "agent 1", "agent 2"])


def test_without_calls_the_page_says_so(browser):
    assert "No tool was called in this period." in read_page(browser, "/tool-graph").text
    assert browser.get("/tool-graph?since=3y").status_code == 400


def test_names_of_others_are_text(bench, browser):
    attributes = {
        semconv.OPERATION_NAME: "execute_tool",
        semconv.TOOL_NAME: HOSTILE,
        semconv.CYLESTIO_AGENT_ID: HOSTILE,
    }
    bench.span("execute_tool", attributes=attributes)
    bench.flush()
    page = read_page(browser, "/tool-graph")
    assert "<script>alert(1)</script>" in page.text


def test_token_counts_beyond_all_numbers_end_no_page(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(calls, "Usage", lambda *_: Usage(2**63 - 1, 2**63 - 1))
    path = tmp_path / "store.db"
    with calls.recording(path, cache, agent_id="a"):
        for model in ("m-1", "m-2", "m-3"):
            calls.say([calls.user("hi")], "ok", model=model)
    with browsing(path) as browser:
        for address in ("/", "/runs", "/delivery", "/sessions"):
            assert "integer overflow" not in browser.text(address)
