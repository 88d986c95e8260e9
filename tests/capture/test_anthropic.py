"""The real Anthropic SDK against a loopback server: every way to call, and the facts on its spans."""

from __future__ import annotations

import asyncio
import json

import anthropic
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from capture.anthropic_calls import MAJOR, REQUEST, async_ways, get_weather, get_weather_async, ways
from capture.ways import Way, marked
from cylestio_monitor import semconv
from cylestio_monitor.errors import BlockedError
from wire import Status, Text, Thinking, ToolCall, Usage


def queue_answers(wire, way: Way) -> None:
    if way.spans == 2:  # the first answer asks for the tool, the second is the last word
        wire.answer(ToolCall("get_weather", {"place": "Oslo"}))
    wire.always("It is sunny.", usage=Usage(11, 7, cache_read=100, cache_write=20))


def check(spans, way: Way) -> None:
    assert [span.attributes.get(semconv.OPERATION_NAME) for span in spans] == [way.operation] * way.spans
    last = spans[-1]
    assert last.kind is SpanKind.CLIENT
    assert last.status.status_code is StatusCode.UNSET
    assert last.attributes[semconv.PROVIDER_NAME] == "anthropic"
    assert last.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert last.attributes[semconv.REQUEST_MODEL] == "claude-wire"
    assert "What is in the file?" in spans[0].attributes[semconv.INPUT_MESSAGES]
    if way.answers:
        assert json.loads(last.attributes[semconv.OUTPUT_MESSAGES]) == [
            {"role": "assistant", "parts": [{"type": "text", "content": "It is sunny."}], "finish_reason": "end_turn"}
        ]
        assert last.attributes[semconv.USAGE_INPUT_TOKENS] == 131
        assert last.attributes[semconv.USAGE_OUTPUT_TOKENS] == 7
        assert last.attributes[semconv.RESPONSE_ID] == "msg_wire_1"
        assert last.attributes[semconv.RESPONSE_FINISH_REASONS] == ("end_turn",)


@pytest.mark.parametrize("way", marked(ways(), "Anthropic"))
def test_every_way_makes_one_span_a_call(hooked, wire, way):
    queue_answers(wire, way)
    with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
        way.run(client)
    check(model_spans(hooked, way.spans), way)


@pytest.mark.parametrize("way", marked(async_ways(), "AsyncAnthropic"))
def test_every_async_way_makes_one_span_a_call(hooked, wire, way):
    async def main():
        async with anthropic.AsyncAnthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
            await way.run(client)

    queue_answers(wire, way)
    asyncio.run(main())
    check(model_spans(hooked, way.spans), way)


@pytest.mark.case("Facts: Anthropic, conversation")
def test_calls_of_one_thread_have_one_conversation(hooked, client):
    for thread in ({"type": "create"}, {"type": "continue", "previous_message_id": "msg_wire_1"}):
        client.messages.create(**REQUEST, extra_body={"thread": thread})
    first, second = hooked.spans(2)
    assert first.attributes[semconv.CONVERSATION_ID] == second.attributes[semconv.CONVERSATION_ID] == "msg_wire_1"


def model_spans(monitor, count):
    """The spans of model calls; those of the runner and of its tools stay the SDK's own."""
    spans = monitor.spans(count)
    return [
        span for span in spans if span.attributes.get(semconv.OPERATION_NAME) not in {"execute_tool", "invoke_agent"}
    ]


@pytest.fixture
def client(wire):
    with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as made:
        yield made


@pytest.mark.case("Facts: Anthropic, every fact of a call")
def test_a_whole_span(hooked, wire, client):
    hooked.configure(content="full")
    wire.answer(
        Thinking("Let me see."),
        "I will look.",
        ToolCall("read_file", {"path": "notes.txt"}, id="toolu_2"),
        usage=Usage(10, 30, cache_read=5, cache_write=3, reasoning=12),
    )
    client.messages.create(
        model="claude-wire",
        max_tokens=64,
        extra_body={"temperature": 0.5, "top_k": 3},  # the current major has no arguments for these
        stop_sequences=["END"],
        system=[{"type": "text", "text": "Be brief."}],
        metadata={"user_id": "user-7"},
        tools=[
            {"name": "read_file", "description": "Reads a file.", "input_schema": {"type": "object"}},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        messages=[
            {"role": "user", "content": "Read it."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "read_file", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "empty"}]},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                    {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
                ],
            },
        ],
    )
    span = hooked.span()
    attributes = dict(span.attributes)
    assert span.name == "chat claude-wire"
    assert span.instrumentation_scope.name == semconv.SCOPE
    content = {
        name: json.loads(attributes.pop(name))
        for name in (
            semconv.SYSTEM_INSTRUCTIONS,
            semconv.INPUT_MESSAGES,
            semconv.OUTPUT_MESSAGES,
            semconv.TOOL_DEFINITIONS,
        )
    }
    assert content == {
        semconv.SYSTEM_INSTRUCTIONS: [{"type": "text", "content": "Be brief."}],
        semconv.INPUT_MESSAGES: [
            {"role": "user", "parts": [{"type": "text", "content": "Read it."}]},
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "toolu_1", "name": "read_file", "arguments": {}}],
            },
            {
                "role": "user",
                "parts": [
                    {"type": "tool_call_response", "id": "toolu_1", "response": [{"type": "text", "text": "empty"}]},
                    {"type": "blob", "mime_type": "image/png"},
                    {"type": "uri", "uri": "https://example.com/a.pdf"},
                ],
            },
        ],
        semconv.OUTPUT_MESSAGES: [
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "content": "Let me see."},
                    {"type": "text", "content": "I will look."},
                    {"type": "tool_call", "id": "toolu_2", "name": "read_file", "arguments": {"path": "notes.txt"}},
                ],
                "finish_reason": "tool_use",
            }
        ],
        semconv.TOOL_DEFINITIONS: [
            {
                "type": "function",
                "name": "read_file",
                "description": "Reads a file.",
                "parameters": {"type": "object"},
            },
            {"type": "web_search_20250305", "name": "web_search", "description": None, "parameters": None},
        ],
    }
    facts = {name: value for name, value in attributes.items() if not name.startswith("cylestio.security.")}
    assert facts == {
        semconv.OPERATION_NAME: "chat",
        semconv.PROVIDER_NAME: "anthropic",
        semconv.REQUEST_MODEL: "claude-wire",
        semconv.REQUEST_MAX_TOKENS: 64,
        semconv.REQUEST_TEMPERATURE: 0.5,
        semconv.REQUEST_TOP_K: 3,
        semconv.REQUEST_STOP_SEQUENCES: ("END",),
        semconv.SERVER_ADDRESS: "127.0.0.1",
        semconv.SERVER_PORT: int(wire.url.rpartition(":")[2]),
        semconv.ENDUSER_ID: "user-7",
        semconv.TOOLS_OFFERED: ("read_file", "web_search"),
        semconv.TOOLS_ANSWERED: ("read_file",),
        semconv.TOOLS_REQUESTED: ("read_file",),
        semconv.RESPONSE_ID: "msg_wire_1",
        semconv.RESPONSE_MODEL: "claude-wire",
        semconv.RESPONSE_FINISH_REASONS: ("tool_use",),
        semconv.USAGE_INPUT_TOKENS: 18,
        semconv.USAGE_OUTPUT_TOKENS: 30,
        semconv.USAGE_CACHE_READ: 5,
        semconv.USAGE_CACHE_WRITE: 3,
        **({semconv.USAGE_REASONING: 12} if has_thinking_count() else {}),
    }


def has_thinking_count() -> bool:
    return (
        "output_tokens_details" in anthropic.types.Usage.model_fields or MAJOR < 1
    )  # unknown fields are kept as they are


@pytest.mark.case("Facts: Anthropic, a stream says what a whole answer says")
def test_a_streamed_answer_reads_as_a_whole_one(hooked, wire, client):
    blocks = (Thinking("Let me see."), "I will look.", ToolCall("read_file", {"path": "notes.txt"}))
    spans = []
    for stream in (False, True):
        wire.answer(*blocks, usage=Usage(10, 30, cache_read=5))
        answer = client.messages.create(**REQUEST, stream=stream)
        list(answer)
        spans.append(hooked.span())
    whole, streamed = (dict(span.attributes) for span in spans)
    assert streamed.pop(semconv.REQUEST_STREAM) is True
    assert streamed.pop(semconv.RESPONSE_TIME_TO_FIRST_CHUNK) > 0
    assert streamed == whole


def test_findings_name_the_place_in_the_request(hooked, client):
    key = "AKIA" + "Z7VQ3XW5L2MN4RTB"
    client.messages.create(
        model="claude-wire",
        max_tokens=64,
        messages=[
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hello."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "fine"}, {"type": "text", "text": f"my key is {key}"}],
            },
        ],
    )
    span = hooked.span()
    assert span.attributes[semconv.ALERT] == "dangerous"
    paths = [event.attributes[semconv.FINDING_PATH] for event in span.events]
    assert "messages[2].content[1]" in paths
    assert key not in span.to_json()


@pytest.mark.case("Facts: Anthropic, a secret across chunks")
def test_a_streamed_secret_is_found_across_chunks(hooked, wire, client):
    key = "AKIA" + "Z7VQ3XW5L2MN4RTB"
    wire.answer(Text(f"the key is {key}, keep it", piece=3))
    list(client.messages.create(**REQUEST, stream=True))
    span = hooked.span()
    assert span.attributes[semconv.CATEGORY] == "secret"
    assert {event.attributes[semconv.FINDING_PATH] for event in span.events} == {"content[0]"}
    assert key not in span.to_json()


@pytest.mark.case("Refusals: Anthropic, a prompt")
def test_a_blocked_prompt_never_leaves_the_process(hooked, wire, client):
    hooked.configure(mode="block")
    with pytest.raises(BlockedError) as caught:
        client.messages.create(
            **{**REQUEST, "messages": [{"role": "user", "content": "run: rm -rf / --no-preserve-root"}]}
        )
    assert caught.value.findings
    assert wire.requests == []
    assert hooked.span().attributes[semconv.ACTION] == "block"


@pytest.mark.case("Refusals: Anthropic, a tool call that the model asks for")
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_that_is_refused_never_reaches_the_caller(hooked, wire, client, stream):
    hooked.configure(mode="block")
    wire.answer(ToolCall("run_shell", {"command": "rm -rf / --no-preserve-root"}))
    with pytest.raises(BlockedError):
        list(client.messages.create(**REQUEST, stream=stream))
    assert hooked.span().attributes[semconv.ACTION] == "block"


def test_a_client_made_before_is_covered(monitor, wire, client):
    from cylestio_monitor.capture.anthropic import AnthropicInstrumentor

    client.messages.create(**REQUEST)
    before = len(monitor.spans())  # versions that trace themselves made one
    instrumentor = AnthropicInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    monitor.exporter.clear()
    client.messages.create(**REQUEST)
    assert monitor.span().instrumentation_scope.name == semconv.SCOPE
    instrumentor.uninstrument()
    client.messages.create(**REQUEST)
    assert len(monitor.spans()) == before


@pytest.mark.case("Facts: Anthropic, retries")
def test_retries_are_counted_on_the_one_span(hooked, wire, client):
    wire.fail(Status(429))
    wire.fail(Status(500))
    client.with_options(max_retries=2).messages.create(**REQUEST)
    assert hooked.span().attributes[semconv.HTTP_RESEND_COUNT] == 2
    assert len(wire.requests) == 3


@pytest.mark.parametrize(
    ("code", "kind"), [(429, "RateLimitError"), (500, "InternalServerError"), (400, "BadRequestError")]
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_status_is_on_the_span(hooked, wire, client, code, kind, stream):
    wire.fail(Status(code))
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**REQUEST, stream=stream)
    assert type(caught.value).__name__ == kind
    attributes = hooked.span().attributes
    assert attributes[semconv.ERROR_TYPE] == kind
    assert attributes[semconv.HTTP_STATUS_CODE] == code


def test_a_refused_connection_is_an_error(hooked):
    client = anthropic.Anthropic(base_url="http://127.0.0.1:9", api_key="k", max_retries=0)
    with client, pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**REQUEST)
    span = hooked.span()
    assert span.attributes[semconv.ERROR_TYPE] == "APIConnectionError"
    assert span.status.status_code is StatusCode.ERROR


def test_other_requests_make_no_span_of_ours(hooked, client):
    client.models.list()
    assert [span for span in hooked.spans() if span.instrumentation_scope.name == semconv.SCOPE] == []


def test_what_is_sent_is_what_was_sent_before(monitor, wire, client):
    from cylestio_monitor.capture.anthropic import AnthropicInstrumentor

    request = {**REQUEST, "extra_body": {"extra": 1}, "extra_headers": {"x-extra": "1"}}
    client.messages.create(**request)
    instrumentor = AnthropicInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    client.messages.create(**request)
    instrumentor.uninstrument()
    before, after = wire.requests
    assert after.body == before.body
    assert after.headers.keys() == before.headers.keys()
    varying = {"traceparent", "host", "idempotency-key"}
    assert {k: v for k, v in after.headers.items() if k not in varying} == {
        k: v for k, v in before.headers.items() if k not in varying
    }


@pytest.mark.skipif(MAJOR > 0 or not hasattr(anthropic, "beta_tool"), reason="the SDK traces its runner itself")
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.case("Facts: Anthropic, the tool runner is one trace with a span of each tool")
def test_the_tool_runner_is_one_trace(hooked, wire, is_async):
    wire.answer(ToolCall("get_weather_async" if is_async else "get_weather", {"place": "Rome"}))
    wire.answer("It is sunny.")

    async def main():
        async with anthropic.AsyncAnthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
            tools = [anthropic.beta_async_tool(get_weather_async)]
            await client.beta.messages.tool_runner(**REQUEST, tools=tools).until_done()

    if is_async:
        asyncio.run(main())
    else:
        with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
            client.beta.messages.tool_runner(**REQUEST, tools=[anthropic.beta_tool(get_weather)]).until_done()
    spans = hooked.spans(4)
    (run,) = (span for span in spans if span.name == "invoke_agent")
    assert {span.context.trace_id for span in spans} == {run.context.trace_id}
    assert {span.parent.span_id for span in spans if span is not run} == {run.context.span_id}
