"""A call on a span of ours that waits for another instrumentation's, and what may come between."""

import sys
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from cylestio_monitor import background, semconv
from cylestio_monitor.capture.external_spans import deferred
from cylestio_monitor.capture.external_spans.resolver import enable_external_spans
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Message, Part, Result
from cylestio_monitor.otel.processor import CylestioSpanProcessor

SCOPE = "late_llm"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": '[{"role": "user", "content": "DROP TABLE users"}]'}


def begin(made):
    """Our side of a call, under an instrumentation that starts its span when this is over."""
    enable_external_spans()
    token = deferred.announced.set(deferred.DeferredSpanSource(SCOPE, lambda: True))
    try:
        said = [Message("user", [Part("text", "DROP TABLE users", path="messages[0]")])]
        call = made.pipeline.begin(Call("chat", "chat m", model="m", messages=said))
    finally:
        deferred.announced.reset(token)
    deferred.expected.set(deferred.Expected(call.sink, sys.maxsize))
    return call


def theirs(made, provider=None, **given):
    """Their span of it."""
    tracer = provider.get_tracer(SCOPE) if provider is not None else made.tracer(SCOPE)
    tracer.start_span("late.chat", attributes=CHAT, start_time=time.time_ns() - 1000, **given).end()


def found(span):
    return [event.attributes[semconv.FINDING_RULE] for event in span.events if event.name == semconv.EVENT_FINDING]


def test_their_span_takes_the_place_of_ours(world):
    made = world()
    call = begin(made)
    place = call.span.get_span_context()
    call.end(Result(response_id="r1"))
    assert not made.spans()
    theirs(made)
    span = made.span()
    assert (span.name, span.instrumentation_scope.name) == ("late.chat", SCOPE)
    assert (span.context.trace_id, span.context.span_id) == (place.trace_id, place.span_id)
    assert span.attributes[semconv.RESPONSE_ID] == "r1"
    assert found(span) == ["keyword.drop"]


def test_their_span_may_come_before_the_call_is_over(world):
    made = world()
    call = begin(made)
    theirs(made)
    assert not made.spans()
    call.end(Result(response_id="r1"))
    assert made.span().attributes[semconv.RESPONSE_ID] == "r1"
    assert found(made.span()) == ["keyword.drop"]


def test_ours_is_exported_with_its_own_time_where_theirs_does_not_come(world, monkeypatch):
    monkeypatch.setattr(background, "LATER_S", 0.05)
    made = world()
    begin(made).end()
    over_at = time.time_ns()
    until = time.monotonic() + 5
    while not made.spans() and time.monotonic() < until:
        time.sleep(0.01)
    assert made.span().instrumentation_scope.name == semconv.SCOPE
    assert made.span().end_time <= over_at


def test_what_was_found_is_not_found_again_where_theirs_comes_too_late(world):
    made = world()
    begin(made).end()
    made.pipeline.flush()
    theirs(made)
    ours, late = made.spans()
    assert (ours.instrumentation_scope.name, late.instrumentation_scope.name) == (semconv.SCOPE, SCOPE)
    assert found(ours) == ["keyword.drop"]
    assert found(late) == []


def test_a_span_of_theirs_that_is_not_sampled_leaves_ours(world):
    made = world()
    silent = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    silent.add_span_processor(CylestioSpanProcessor())
    silent.add_span_processor(SimpleSpanProcessor(made.exporter))
    begin(made).end()
    theirs(made, silent)
    made.pipeline.flush()
    assert made.span().instrumentation_scope.name == semconv.SCOPE
    silent.shutdown()


def test_a_refused_call_is_told_of_once(world):
    made = world(mode="block")
    enable_external_spans()
    token = deferred.announced.set(deferred.DeferredSpanSource(SCOPE, lambda: True))
    call = Call("chat", "chat m", messages=[Message("user", [Part("text", "rm -rf /", path="messages[0]")])])
    with pytest.raises(BlockedError):
        made.pipeline.begin(call)
    deferred.announced.reset(token)
    made.pipeline.flush()
    assert made.span().attributes[semconv.ACTION] == "block"


def test_another_span_of_the_same_scope_within_the_call_is_none_of_it(world):
    made = world()
    call = begin(made)
    with call.attached():
        made.tracer(SCOPE).start_span("late.guardrail", attributes={"gen_ai.operation.name": "execute_tool"}).end()
    call.end()
    theirs(made)
    inner, outer = made.spans()
    assert (inner.name, outer.name) == ("late.guardrail", "late.chat")
    assert inner.parent.span_id == outer.context.span_id
    assert trace.get_current_span() is trace.INVALID_SPAN
