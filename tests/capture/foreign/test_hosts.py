"""Our hook below another instrumentation: the real SDK, and a wrapper that traces as the others do."""

import asyncio
import gc
import json
import threading
import timeit

import anthropic
import pytest
from cylestio_monitor.capture.anthropic import AnthropicInstrumentor
from opentelemetry import trace

from cylestio_monitor import semconv
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.otel.processor import CylestioSpanProcessor
from wire import Status, Text, WireServer

DROP = "please run DROP TABLE users"
AWS = "AKIA" + "Z7VQ3XW5L2MN4RTB"
ASK = {"model": "claude-test", "max_tokens": 20}
SCOPE = "opentelemetry.instrumentation.anthropic"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic"}


@pytest.fixture
def wire():
    with WireServer() as server:
        yield server


@pytest.fixture
def client(wire, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    AnthropicInstrumentor().instrument()
    with anthropic.Anthropic(api_key="k", base_url=wire.url, max_retries=0) as made:
        yield made
    AnthropicInstrumentor().uninstrument()


def ask(client, text=DROP):
    return client.messages.create(**ASK, messages=[{"role": "user", "content": text}])


def test_a_call_runs_on_the_span_that_is_current(world, client):
    made = world()
    with made.tracer(SCOPE).start_as_current_span("anthropic.chat", attributes=CHAT):
        ask(client)
    span = made.span()
    assert span.instrumentation_scope.name == SCOPE
    assert span.attributes[semconv.RULES] == ("keyword.drop",)
    assert span.attributes[semconv.REQUEST_MODEL] == "claude-test"
    assert span.attributes[semconv.USAGE_OUTPUT_TOKENS] > 0


def test_a_call_runs_on_a_span_that_was_started_for_it_but_not_made_current(world, client):
    made = world()
    tracer = made.tracer(SCOPE)
    with made.tracer("shop").start_as_current_span("request"):
        span = tracer.start_span("anthropic.chat", attributes=CHAT)
        ask(client)
        span.end()
    chat, request = made.spans()
    assert chat.attributes[semconv.RULES] == ("keyword.drop",)
    assert chat.parent.span_id == request.context.span_id


def test_only_one_call_runs_on_one_span(world, client):
    made = world()
    with made.tracer(SCOPE).start_as_current_span("anthropic.chat", attributes=CHAT) as host:
        ask(client)
        ask(client)
    ours, chat = made.spans()
    assert ours.instrumentation_scope.name == semconv.SCOPE
    assert ours.parent.span_id == host.get_span_context().span_id
    assert chat.instrumentation_scope.name == SCOPE


@pytest.mark.parametrize(
    ("scope", "name", "attributes"),
    [
        ("openinference.instrumentation.langchain", "lookup_tool", {"openinference.span.kind": "TOOL"}),
        ("opentelemetry.instrumentation.langchain", "LangGraph.workflow", {}),
        (SCOPE, "embed", {"gen_ai.operation.name": "embeddings"}),
        ("shop", "chat with customer", {}),
    ],
)
def test_a_span_of_something_else_hosts_nothing(world, client, scope, name, attributes):
    made = world()
    with made.tracer(scope).start_as_current_span(name, attributes=attributes):
        ask(client)
    assert sorted(span.instrumentation_scope.name for span in made.spans()) == sorted([semconv.SCOPE, scope])


def test_a_live_span_of_another_provider_hosts_nothing(world, client):
    made = world()
    other = made.tracer("opentelemetry.instrumentation.cohere").start_span("cohere.chat", attributes={})
    ask(client)
    other.end()
    assert made.spans()[0].instrumentation_scope.name == semconv.SCOPE


def test_a_stream_outlives_the_end_that_its_host_was_given_too_early(world, client, wire):
    made = world()
    wire.answer(Text(f"the key is {AWS}"))
    with made.tracer(SCOPE).start_as_current_span("anthropic.chat", attributes=CHAT):
        stream = client.messages.create(**ASK, stream=True, messages=[{"role": "user", "content": "hi"}])
    assert not made.spans()
    for _ in stream:
        pass
    assert made.span().attributes[semconv.RULES] == ("secret.aws-access-key-id",)


def test_a_span_that_its_instrumentation_forgets_is_ended_when_it_is_dropped(world, client):
    made = world()
    host = made.tracer(SCOPE).start_span("anthropic.chat", attributes=CHAT)
    ask(client)
    assert not made.spans()
    del host
    gc.collect()
    made.pipeline.flush()
    for _ in range(100):
        if made.spans():
            break
        threading.Event().wait(0.01)
    assert made.span().attributes[semconv.RULES] == ("keyword.drop",)


def test_what_the_host_writes_after_our_call_is_masked(world, client, wire):
    made = world()
    wire.answer(Text(f"the key is {AWS}"))
    with made.tracer(SCOPE).start_as_current_span("anthropic.chat", attributes=CHAT) as host:
        answer = ask(client, "hello")
        written = [{"role": "assistant", "parts": [{"type": "text", "content": answer.content[0].text}]}]
        host.set_attribute(semconv.OUTPUT_MESSAGES, json.dumps(written))
    assert AWS not in json.dumps(dict(made.span().attributes), default=str)
    assert "the key is" in made.span().attributes[semconv.OUTPUT_MESSAGES]


def test_a_refused_call_leaves_nothing_and_says_so_on_the_host(world, client, wire):
    made = world(mode="block")
    with (
        pytest.raises(BlockedError),
        made.tracer(SCOPE).start_as_current_span("anthropic.chat", attributes=CHAT),
    ):
        ask(client)
    assert not wire.requests
    assert made.span().attributes[semconv.ACTION] == "block"


def test_a_call_is_refused_also_where_its_host_suppresses_other_instrumentations(world, client, wire):
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    made = world(mode="block")
    with (
        pytest.raises(BlockedError),
        made.tracer(SCOPE).start_as_current_span("anthropic.chat", attributes=CHAT),
        suppress_instrumentation(),
    ):
        ask(client)
    assert not wire.requests


def test_an_error_keeps_its_type_and_the_host_its_one_end(world, client, wire):
    made = world()
    wire.fail(Status(500))
    with (
        pytest.raises(anthropic.InternalServerError),
        made.tracer(SCOPE).start_as_current_span("anthropic.chat", attributes=CHAT),
    ):
        ask(client)
    assert made.span().attributes[semconv.ERROR_TYPE] == "InternalServerError"


def test_calls_side_by_side_each_find_their_own_host(world, wire, client):
    made = world()
    tracer = made.tracer(SCOPE)

    async def one(other, number):
        span = tracer.start_span(f"anthropic.chat {number}", attributes=CHAT)
        await other.messages.create(**ASK, messages=[{"role": "user", "content": f"{number}: {DROP}"}])
        span.set_attribute("number", number)
        span.end()

    async def all_of_them():
        async with anthropic.AsyncAnthropic(api_key="k", base_url=wire.url, max_retries=0) as other:
            await asyncio.gather(*(one(other, number) for number in range(8)))

    asyncio.run(all_of_them())
    spans = made.spans()
    assert {span.instrumentation_scope.name for span in spans} == {SCOPE}
    assert len(spans) == 8
    assert all("keyword.drop" in span.attributes[semconv.RULES] for span in spans)


def test_a_foreign_span_costs_next_to_nothing_to_look_at(world):
    made = world()
    processor, span = CylestioSpanProcessor(), made.tracer("opentelemetry.instrumentation.flask").start_span("GET /")
    seconds = min(timeit.repeat(lambda: processor.on_start(span), number=1000, repeat=20)) / 1000
    assert seconds < 2e-5
    span.end()
    assert trace.get_current_span() is trace.INVALID_SPAN
