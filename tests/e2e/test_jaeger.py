"""The queries that users type into Jaeger, each with the traces it shall find."""

from __future__ import annotations

import re

import pytest

from e2e.backends import Jaeger
from e2e.programs import ROOT, until
from e2e.spans import Sender, finding

pytestmark = [pytest.mark.e2e, pytest.mark.programs("collector", "jaeger")]

PAGE = ROOT / "docs" / "how-to" / "jaeger-queries.md"
DOCUMENTED = (
    dict(re.findall(r"^\| `([^`]+)` \| .* \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)) if PAGE.exists() else {}
)


def _tags(query: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in query.split(" "))


@pytest.mark.parametrize("query", DOCUMENTED)
def test_documented_query_finds_the_traces_it_says(stack, query):
    traces = stack.jaeger.find("coding-agent", _tags(query))
    assert len(traces) == int(DOCUMENTED[query])
    key, value = next(iter(_tags(query).items()))
    for trace in traces:
        tags = [
            tag for span in trace["spans"] for tag in span["tags"] + [f for log in span["logs"] for f in log["fields"]]
        ]
        assert any(tag["key"] == key and str(tag["value"]).lower() == value.lower() for tag in tags)


def test_the_page_has_a_query_of_every_kind():
    asked = {key for query in DOCUMENTED for key in _tags(query)}
    assert asked >= {
        "cylestio.security.alert",
        "cylestio.security.category",
        "cylestio.security.finding.rule",
        "cylestio.agent.id",
        "cylestio.session.id",
        "gen_ai.tool.name",
    }


def test_a_session_of_another_name_has_no_traces(stack):
    assert stack.jaeger.find("coding-agent", {"cylestio.session.id": "monday"}) == []
    assert stack.jaeger.find("support-agent", {"cylestio.security.action": "block"}) == []


def test_every_trace_with_a_finding_came_whole_over_both_roads(stack):
    for service in ("support-agent", "coding-agent"):
        (trace,) = stack.jaeger.find(service, {"gen_ai.tool.name": "delete_file"})
        assert sorted(span["operationName"].split()[0] for span in trace["spans"]) == [
            "answer",
            "chat",
            *["execute_tool"] * 2,
        ]
        parents = {reference["spanID"] for span in trace["spans"] for reference in span["references"]}
        assert parents <= {span["spanID"] for span in trace["spans"]}


def test_a_span_that_is_delivered_again_is_there_once(jaeger, tmp_path, started):
    backend = started(Jaeger(jaeger, tmp_path))
    kept: list[bytes] = []
    with Sender("again", backend.otlp) as sender:
        send = sender.exporter.export
        sender.exporter.export = lambda spans: (kept.append(b""), send(spans), send(spans))[-1]
        sender.call(finding())
    assert kept
    (trace,) = until(lambda: backend.find("again"), 20, "the trace")
    assert len(trace["spans"]) == 1
