"""Spans that another instrumentation makes of a call when that is over: OpenLLMetry's of the OpenAI responses API."""

from pathlib import Path

import pytest

from cylestio_monitor import semconv
from peers import environment, run

PROGRAM = Path(__file__).parents[2] / "peers" / "late_calls.py"
THEIRS = "opentelemetry.instrumentation.openai.v1"
FOUND = {
    "whole": True,
    "one_after_another": True,
    "raw": True,
    "below_a_span_of_the_application": True,
    "streamed": True,
    "streamed_by_the_helper": True,
    "closed": False,
    "dropped": False,
    "failed": False,
    "broken": False,
    "asynchronous": True,
}
"""Calls of which OpenLLMetry makes a span, and whether the whole answer was there to be scanned."""

WITHOUT = ("raw_and_streamed", "cancelled", "past_its_method")
"""Calls of which it makes none."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("peers")]


@pytest.fixture(scope="module", params=["ours-first", "theirs-first"])
def played(request):
    return run(environment("peers"), PROGRAM, *(["theirs-first"] if request.param == "theirs-first" else []))


@pytest.mark.case("Beside other instrumentations: OpenLLMetry, OpenAI responses, however the call ends")
@pytest.mark.parametrize("case", FOUND)
def test_the_span_is_the_other_instrumentations_and_says_what_ours_would_have(played, case):
    (span,) = [span for span in played["cases"][case] if span["scope"] != "app"]
    assert span["scope"] == THEIRS
    found = set(span["attributes"][semconv.RULES])
    assert found == {"keyword.drop", "keyword.rm-rf"} if FOUND[case] else "keyword.drop" in found
    assert span["attributes"][semconv.REQUEST_MODEL] == "gpt-5"
    assert span["attributes"][semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert (span["status"] == "ERROR") == (case in {"failed", "broken"})


@pytest.mark.parametrize("case", WITHOUT)
def test_where_the_other_instrumentation_makes_none_the_span_is_ours(played, case):
    (span,) = played["cases"][case]
    assert span["scope"] == semconv.SCOPE
    assert "keyword.drop" in span["attributes"][semconv.RULES]


def test_what_was_done_within_the_call_belongs_to_the_span_that_is_exported(played):
    exported = {span["id"] for spans in played["cases"].values() for span in spans}
    assert played["within"]
    assert set(played["within"]) <= exported
    application, call = sorted(played["cases"]["below_a_span_of_the_application"], key=lambda span: span["start"])
    assert (call["parent"], call["trace"]) == (application["id"], application["trace"])


def test_the_store_has_one_row_for_each_call_with_each_finding_once(played):
    rules = {row["id"]: row["rules"] for row in played["rows"] if row["type"] == "llm_call"}
    spans = [span for spans in played["cases"].values() for span in spans if span["scope"] != "app"]
    assert set(rules) == {span["id"] for span in spans}
    for span in spans:
        assert sorted(rules[span["id"]]) == sorted(finding[semconv.FINDING_RULE] for finding in span["findings"])
        assert len(set(rules[span["id"]])) == len(rules[span["id"]])
