"""Calls whose span or whose scan is somebody else's: suppressed, judged ahead, not scanned, found late."""

import json

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation

from cylestio_monitor import pipeline, runtime, semconv
from cylestio_monitor.config import KeywordSettings, ScanSettings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Message, Part, Result
from road import AWS, answer, chat

KEYWORDS = KeywordSettings(dangerous=("zebra",), suspicious=("lion",), defaults=False)


@pytest.mark.parametrize(
    ("settings", "text", "refused"),
    [
        ({"mode": "block"}, "a zebra", True),
        ({"mode": "block"}, "a lion", False),
        ({"mode": "block"}, "a horse", False),
        ({"mode": "block", "block": ("suspicious",)}, "a lion", True),
        ({"mode": "block", "scan": ScanSettings(enabled=False)}, "a zebra", False),
        ({"mode": "monitor"}, "a zebra", False),
    ],
)
def test_a_call_that_another_instrumentation_traces_is_refused_and_leaves_a_span_only_then(
    road, settings, text, refused
):
    here = road(keywords=KEYWORDS, **settings)
    if refused:
        with pytest.raises(BlockedError):
            here.pipeline.check(chat(text))
        assert here.span().attributes[semconv.ACTION] == "block"
    else:
        here.pipeline.check(chat(text))
    assert here.exporter.get_finished_spans() == ()


@pytest.mark.parametrize(("content", "whole"), [("masked", False), ("full", True)])
def test_a_turn_that_is_not_scanned_records_its_content_masked(road, content, whole):
    """Of an agent: what it is asked and answers is scanned in the calls inside it."""
    here = road(keywords=KEYWORDS, content=content, mode="block")
    text = f"a zebra has the key {AWS} here"
    begun = here.pipeline.begin(chat(text), is_scanned=False)
    streamed = begun.streamed("content[0]")
    for piece in (text[:10], text[10:]):
        streamed.add(piece)
    assert "".join(streamed.pieces) == text
    part = Part("tool_call", {"key": [text]}, name="look", id="1", path="content[1]")
    assert begun.check([part]) is False
    begun.end(Result(messages=[Message("assistant", [Part("text", text, path="content[0]"), part])]), enforce=True)
    span = here.span()
    assert semconv.ALERT not in span.attributes
    assert span.events == ()
    for name in (semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES):
        recorded = json.dumps(json.loads(span.attributes[name]))
        assert (AWS in recorded) is whole
        assert "a zebra has the key" in recorded
        assert recorded.count(" here") == (1 if name == semconv.INPUT_MESSAGES else 2)


class Enclosing:
    """What a resolver knows of the spans around a call: of another instrumentation, or of a framework."""

    def __init__(self, *, is_active, has_span, is_inside):
        self.is_active = is_active
        self.has_span = lambda: has_span
        self.is_inside = lambda: is_inside
        self.find = lambda *_: None


@pytest.mark.parametrize("mode", ["monitor", "block"])
@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("has_span", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_a_suppressed_call_is_left_only_to_a_span_around_it_and_never_where_it_may_be_refused(
    road, mode, active, has_span, inside
):
    here = road(mode=mode)
    here.pipeline.resolvers = (
        Enclosing(is_active=active, has_span=has_span, is_inside=False),
        Enclosing(is_active=active, has_span=False, is_inside=inside),
    )
    runtime.install(here.pipeline)
    try:
        assert pipeline.current() is here.pipeline
        with suppress_instrumentation():
            is_left = mode == "monitor" and active and inside and not has_span
            assert pipeline.current() is (None if is_left else here.pipeline)
    finally:
        runtime.turn_off()


def test_the_installed_pipeline_is_created_on_demand(road):
    made = road().pipeline
    runtime.turn_on(lambda: made)
    try:
        assert pipeline.installed() is made
    finally:
        runtime.turn_off()


@pytest.mark.parametrize(
    ("mode", "subtype", "early"),
    [("monitor", "llm", 1), ("monitor", "tool_call", 1), ("block", "llm", 1), ("block", "tool_call", 0)],
)
def test_a_streamed_text_is_judged_early_but_for_a_call_of_a_tool_that_may_be_refused(road, mode, subtype, early):
    here = road(keywords=KEYWORDS, mode=mode)
    text = "a zebra. ".ljust(5000, ".")
    begun = here.pipeline.begin(chat("hi"))
    begun.streamed("a", subtype).add(text)
    assert sum(point.value for point in here.points(semconv.METRIC_FINDINGS)) == early
    part = Part("text", text, path="a") if subtype == "llm" else Part("tool_call", text, name="t", id="1", path="a")
    result = Result(messages=[Message("assistant", [part])])
    if mode == "block" and subtype == "tool_call":
        with pytest.raises(BlockedError):
            begun.end(result, enforce=True)
    else:
        begun.end(result, enforce=True)
    span = here.span()
    assert span.attributes[semconv.ACTION] == ("audit" if early else "block")
    assert sum(point.value for point in here.points(semconv.METRIC_FINDINGS)) == 1


def test_a_dropped_answer_is_judged_like_one_that_the_caller_has(road):
    here = road(keywords=KEYWORDS, mode="block")
    begun = here.pipeline.begin(chat("hi"))
    begun.abandon(answer("a zebra"))
    here.pipeline.flush()
    span = here.span()
    assert (span.attributes[semconv.VERDICT], span.attributes[semconv.ACTION]) == ("deny", "audit")
