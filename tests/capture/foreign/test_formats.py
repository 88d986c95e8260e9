"""Each format in which some instrumentation writes messages, on a real span of the SDK."""

import json

import pytest
from opentelemetry.sdk._logs import LoggerProvider

from cylestio_monitor import semconv
from cylestio_monitor.otel.processor import ExternalLogProcessor

DROP = "please run DROP TABLE users"
AWS = "AKIA" + "Z7VQ3XW5L2MN4RTB"
KEY = f"the key is {AWS}"
ANSWERED = {"keyword.drop", "secret.aws-access-key-id"}


def dumped(kind, content):
    return {"lc": 1, "type": "constructor", "id": ["langchain", kind], "kwargs": {"content": content, "type": kind}}


FORMATS = {
    "GenAI JSON": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "be brief"}]),
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": DROP}]}]),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": KEY}]}]),
    },
    "indexed prompts": {
        "llm.request.type": "chat",
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "be brief",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": DROP,
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": KEY,
        "gen_ai.completion.0.finish_reason": "stop",
    },
    "indexed prompts with blocks": {
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": json.dumps([{"type": "text", "text": DROP}, {"type": "image_url", "image_url": {}}]),
        "gen_ai.completion.0.content": KEY,
    },
    "OpenInference messages": {
        "openinference.span.kind": "LLM",
        "input.value": json.dumps({"messages": [{"role": "user", "content": DROP}]}),
        "output.value": json.dumps({"choices": [{"message": {"role": "assistant", "content": KEY}}]}),
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.contents.0.message_content.type": "text",
        "llm.input_messages.1.message.contents.0.message_content.text": DROP,
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": KEY,
    },
    "OpenInference values": {
        "openinference.span.kind": "LLM",
        "input.value": json.dumps({"messages": [{"role": "user", "content": DROP}], "model": "m"}),
        "output.value": json.dumps({"id": "1", "choices": [{"message": {"role": "assistant", "content": KEY}}]}),
    },
    "plain values": {"openinference.span.kind": "LLM", "input.value": DROP, "output.value": KEY},
    "LangChain dumps": {
        "openinference.span.kind": "LLM",
        "input.value": json.dumps({"messages": [[dumped("system", "be brief"), dumped("human", DROP)]]}),
        "output.value": json.dumps({"generations": [[{"text": KEY, "message": dumped("ai", KEY)}]]}),
    },
    "Traceloop entities": {
        "traceloop.span.kind": "workflow",
        "traceloop.entity.input": json.dumps({"inputs": {"messages": [dumped("human", DROP)]}, "tags": []}),
        "traceloop.entity.output": json.dumps({"outputs": {"messages": [dumped("ai", KEY)]}}),
    },
    "one attribute each side": {"gen_ai.system": "openai", "gen_ai.prompt": DROP, "gen_ai.completion": KEY},
    "list of events": {
        "gen_ai.operation.name": "chat",
        "events": json.dumps(
            [
                {"event.name": "gen_ai.user.message", "role": "user", "content": DROP},
                {"event.name": "gen_ai.choice", "index": 0, "message": {"role": "assistant", "content": KEY}},
            ]
        ),
    },
    "Gemini contents": {
        "gcp.vertex.agent.llm_request": json.dumps({"contents": [{"role": "user", "parts": [{"text": DROP}]}]}),
        "gcp.vertex.agent.llm_response": json.dumps({"content": {"role": "model", "parts": [{"text": KEY}]}}),
    },
    "Bedrock messages": {
        "gen_ai.system": "aws.bedrock",
        "input.value": json.dumps({"messages": [{"role": "user", "content": [{"text": DROP}]}]}),
        "output.value": json.dumps({"output": {"message": {"role": "assistant", "content": [{"text": KEY}]}}}),
    },
    "OpenAI responses": {
        "gen_ai.operation.name": "chat",
        "input.value": json.dumps({"input": [{"role": "user", "content": [{"type": "input_text", "text": DROP}]}]}),
        "output.value": json.dumps(
            {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": KEY}]}]}
        ),
    },
}

EVENTS = {
    "message events": [
        ("gen_ai.user.message", {"content": DROP}),
        ("gen_ai.choice", {"message": json.dumps({"role": "assistant", "content": KEY})}),
    ],
    "content events": [
        ("gen_ai.content.prompt", {"gen_ai.prompt": DROP}),
        ("gen_ai.content.completion", {"gen_ai.completion": KEY}),
    ],
    "details event": [
        (
            "gen_ai.client.inference.operation.details",
            {
                "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": DROP}]}]),
                "gen_ai.output.messages": json.dumps(
                    [{"role": "assistant", "parts": [{"type": "text", "content": KEY}]}]
                ),
            },
        )
    ],
}


def sides(span):
    return {
        event.attributes[semconv.FINDING_RULE]: event.attributes[semconv.FINDING_TARGET]
        for event in span.events
        if event.name == semconv.EVENT_FINDING
    }


def assert_tagged(span):
    assert span.attributes[semconv.SCANNED] is True
    assert span.attributes[semconv.ALERT] == "dangerous"
    assert span.attributes[semconv.FINDING_COUNT] == 2
    assert set(span.attributes[semconv.RULES]) == ANSWERED
    assert sides(span) == {"keyword.drop": "input", "secret.aws-access-key-id": "output"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_once_and_both_sides_are_told_apart(world, name):
    made = world()
    with made.tracer("some.library").start_as_current_span("call") as span:
        span.set_attributes(FORMATS[name])
    assert_tagged(made.span())


@pytest.mark.parametrize("name", FORMATS)
def test_secrets_are_masked_in_every_format(world, name):
    made = world()
    with made.tracer("some.library").start_as_current_span("call", attributes=FORMATS[name]):
        pass
    attributes = made.span().attributes
    assert AWS not in json.dumps(dict(attributes), default=str)
    assert any(DROP in str(value) for value in attributes.values())
    for key, value in FORMATS[name].items():
        if value[:1] in "[{":
            assert json.loads(attributes[key]), "still JSON"


def test_content_that_the_user_asked_for_stays_as_it_is(world):
    made = world(content="full")
    with made.tracer("some.library").start_as_current_span("call", attributes=FORMATS["GenAI JSON"]):
        pass
    assert AWS in made.span().attributes[semconv.OUTPUT_MESSAGES]


@pytest.mark.parametrize("name", EVENTS)
def test_span_events_are_read_and_masked(world, name):
    made = world()
    with made.tracer("some.library").start_as_current_span("call", attributes={"gen_ai.system": "openai"}) as span:
        for event, attributes in EVENTS[name]:
            span.add_event(event, attributes)
    assert_tagged(made.span())
    assert AWS not in json.dumps([dict(event.attributes) for event in made.span().events])


def test_log_records_are_read_with_the_span_they_belong_to(world):
    made = world()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(ExternalLogProcessor())
    logger = logs.get_logger("some.library")
    with made.tracer("some.library").start_as_current_span("chat m", attributes={"gen_ai.operation.name": "chat"}):
        logger.emit(event_name="gen_ai.user.message", body={"content": DROP})
        logger.emit(event_name="gen_ai.choice", body={"index": 0, "message": {"role": "assistant", "content": KEY}})
        logger.emit(event_name="app.event", body=KEY)
    logger.emit(event_name="gen_ai.user.message", body={"content": "rm -rf /"})
    assert_tagged(made.span())


def test_a_tool_span_is_scanned_as_the_call_and_the_result_of_its_tool(world):
    made = world()
    attributes = {
        "openinference.span.kind": "TOOL",
        "tool.name": "run_sql",
        "input.value": json.dumps({"query": "DROP TABLE users"}),
        "output.value": KEY,
    }
    with made.tracer("some.library").start_as_current_span("run_sql", attributes=attributes):
        pass
    span = made.span()
    subtypes = {event.attributes[semconv.FINDING_SUBTYPE] for event in span.events}
    assert subtypes == {"tool_call", "tool_result"}
    assert span.attributes[semconv.OPERATION_NAME] == "execute_tool"
    assert span.attributes[semconv.TOOL_NAME] == "run_sql"


def test_tools_that_the_model_asks_for_and_documents_that_were_found_are_scanned(world):
    made = world()
    tracer = made.tracer("some.library")
    asked = {
        "openinference.span.kind": "LLM",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "delete_file",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": json.dumps({"path": "/etc"}),
    }
    found = {"openinference.span.kind": "RETRIEVER", "retrieval.documents.0.document.content": KEY}
    for attributes in (asked, found):
        with tracer.start_as_current_span("x", attributes=attributes):
            pass
    tool, documents = made.spans()
    assert {event.attributes[semconv.FINDING_SUBTYPE] for event in tool.events} == {"tool_call"}
    assert {event.attributes[semconv.FINDING_SUBTYPE] for event in documents.events} == {"tool_result"}


def test_a_span_around_other_calls_does_not_repeat_their_findings(world):
    made = world()
    tracer = made.tracer("some.library")
    outer = {"openinference.span.kind": "CHAIN", "input.value": DROP, "output.value": "and rm -rf / too"}
    with (
        tracer.start_as_current_span("chain", attributes=outer),
        tracer.start_as_current_span("llm", attributes=FORMATS["OpenInference messages"]),
    ):
        pass
    inner, chain = made.spans()
    assert set(inner.attributes[semconv.RULES]) == ANSWERED
    assert chain.attributes[semconv.RULES] == ("keyword.rm-rf",)


def test_a_span_without_content_does_not_claim_to_be_scanned(world):
    made = world()
    with made.tracer("some.library").start_as_current_span("chat m", attributes={"gen_ai.operation.name": "chat"}):
        pass
    assert made.span().attributes[semconv.SCANNED] is False
    assert semconv.ALERT not in made.span().attributes


@pytest.mark.parametrize("scope", ["opentelemetry.instrumentation.flask", "shop", ""])
def test_spans_that_are_none_of_our_business_stay_as_they_are(world, scope):
    made = world()
    with made.tracer(scope).start_as_current_span("GET /", attributes={"http.route": "/"}) as span:
        span.set_attribute("user.input", DROP)
    assert dict(made.span().attributes) == {"http.route": "/", "user.input": DROP}
    assert not made.span().events


def test_a_mode_that_blocks_does_not_claim_to_have_blocked_what_is_over(world):
    made = world(mode="block")
    with made.tracer("some.library").start_as_current_span("call", attributes=FORMATS["GenAI JSON"]):
        pass
    assert made.span().attributes[semconv.VERDICT] == "deny"
    assert made.span().attributes[semconv.ACTION] == "audit"
