"""The action `redact` in streamed answers: the SDKs of Anthropic and OpenAI over a loopback server."""

from __future__ import annotations

import asyncio
import base64
import json

import anthropic
import httpx2
import openai
import pytest

from cylestio_monitor import BlockedError, tool
from cylestio_monitor.identity import identify
from govern.recorded import rows
from wire import Broken, ErrorEvent, Text, Thinking, ToolCall

MAIL, OTHER = "ann.lee@corp-example.net", "bob.ray@corp-example.net"
KEY = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
TRANSPORT = (httpx2.HTTPError,)
ALL = "mode: block\npolicy: {version: '3', rules: [{id: mask, action: redact, surfaces: [answers]}]}"
TEXT = f"Dear reader, write to {MAIL} or to {OTHER}, and again to {MAIL}. Thank you, and see {MAIL}"
PASSED = "Dear reader, write to [EMAIL_1] or to [EMAIL_2], and again to [EMAIL_1]. Thank you, and see [EMAIL_1]"
MESSAGE = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
CHAT = {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}


def drained(make, ask, is_async, got=None, count=None):
    """Returns the events of a stream, all or the first ones, read by a synchronous or an asynchronous client."""
    got = [] if got is None else got

    async def run():
        async with make[1]() as client, await ask(client) as stream:
            async for event in stream:
                got.append(event)
                if len(got) == count:
                    break

    if is_async:
        asyncio.run(run())
        return got
    with make[0]() as client, ask(client) as stream:
        for event in stream:
            got.append(event)
            if len(got) == count:
                break
    return got


def clients(wire):
    return {
        "anthropic": (
            lambda: anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0),
            lambda: anthropic.AsyncAnthropic(base_url=wire.url, api_key="k", max_retries=0),
        ),
        "openai": (
            lambda: openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0),
            lambda: openai.AsyncOpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0),
        ),
    }


def messages(wire, is_async=False, got=None, count=None, **more):
    make = clients(wire)["anthropic"]
    return drained(make, lambda one: one.messages.create(**MESSAGE, stream=True, **more), is_async, got, count)


def chat(wire, is_async=False, got=None, count=None, **more):
    make = clients(wire)["openai"]
    return drained(make, lambda one: one.chat.completions.create(**CHAT, stream=True, **more), is_async, got, count)


def responses(wire, is_async=False, got=None, count=None, **more):
    make = clients(wire)["openai"]
    ask = {"model": "gpt", "input": "x", "stream": True, **more}
    return drained(make, lambda one: one.responses.create(**ask), is_async, got, count)


def deltas(events, kind, field):
    return [
        getattr(event.delta, field) for event in events if getattr(getattr(event, "delta", None), "type", "") == kind
    ]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("piece", [1, 3, 7, 400])
def test_the_texts_of_a_streamed_message_pass_with_tokens_and_its_events_in_order(
    governed, hooked, wire, piece, is_async
):
    store = governed(ALL)
    wire.answer(Thinking(f"They are {MAIL}"), Text(TEXT, piece=piece))
    events = messages(wire, is_async)
    assert "".join(deltas(events, "text_delta", "text")) == PASSED
    assert "".join(deltas(events, "thinking_delta", "thinking")) == "They are [EMAIL_1]"
    assert {type(event).__module__.partition(".")[0] for event in events} == {"anthropic"}
    kinds = [event.type for event in events if event.type != "content_block_delta"]
    assert [kinds[0], kinds[-2], kinds[-1]] == ["message_start", "message_delta", "message_stop"]
    open_block = None
    for event in events:
        if event.type == "content_block_start":
            open_block = event.index
        elif event.type in {"content_block_delta", "content_block_stop"}:
            assert event.index == open_block
    assert events[-2].usage.output_tokens
    attributes = hooked.spans()[-1].attributes
    assert attributes["cylestio.policy.action"] == "redact"
    assert attributes["cylestio.policy.redacted"] == 5
    assert attributes["cylestio.policy.redacted.surfaces"] == ("answers",)
    assert attributes["cylestio.security.action"] == "modify"
    assert attributes["gen_ai.usage.output_tokens"]
    assert MAIL not in str(dict(attributes))
    assert rows(store, "SELECT action, enforced, rule FROM decision") == [("redact", 1, "mask")]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_helpers_of_the_anthropic_sdk_collect_what_passed(governed, wire, is_async):
    governed(ALL)
    wire.answer(Text(TEXT, piece=3), ToolCall("send_email", {"to": [MAIL], "n": 4111111111111111}))
    tools = [{"name": "send_email", "input_schema": {"type": "object"}}]

    async def run():
        async with clients(wire)["anthropic"][1]() as client, client.messages.stream(**MESSAGE, tools=tools) as stream:
            texts = [text async for text in stream.text_stream]
            return texts, await stream.get_final_message(), await stream.get_final_text()

    if is_async:
        texts, message, text = asyncio.run(run())
    else:
        with clients(wire)["anthropic"][0]() as client, client.messages.stream(**MESSAGE, tools=tools) as stream:
            texts = list(stream.text_stream)
            message, text = stream.get_final_message(), stream.get_final_text()
    assert "".join(texts) == text == message.content[0].text == PASSED
    assert message.content[1].input == {"to": ["[EMAIL_1]"], "n": "[CARD_1]"}
    assert message.stop_reason == "tool_use"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("piece", [1, 3, 400])
def test_the_chunks_of_a_chat_completion_pass_with_tokens(governed, hooked, wire, piece, is_async):
    governed(ALL)
    wire.answer(Text(TEXT, piece=piece))
    chunks = chat(wire, is_async, stream_options={"include_usage": True})
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == PASSED
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert [reason for reason in finishes if reason] == ["stop"]
    at = finishes.index("stop")
    assert not any(texts[at + 1 :])
    assert {type(chunk).__name__ for chunk in chunks} == {"ChatCompletionChunk"}
    assert sum(chunk.usage is not None for chunk in chunks) == 1
    attributes = hooked.spans()[-1].attributes
    assert attributes["cylestio.policy.redacted"] == 4
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)


def test_the_helper_for_chat_completions_collects_what_passed(governed, wire):
    governed(ALL)
    wire.answer(Text(TEXT, piece=3), ToolCall("send_email", {"to": MAIL}))
    with clients(wire)["openai"][0]() as client, client.chat.completions.stream(**CHAT) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_completion().choices[0]
    assert "content.delta" in events
    assert final.message.content == PASSED
    assert json.loads(final.message.tool_calls[0].function.arguments) == {"to": "[EMAIL_1]"}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("piece", [1, 3, 400])
def test_the_events_of_a_response_pass_with_tokens(governed, hooked, wire, piece, is_async):
    governed(ALL)
    wire.answer(Text(TEXT, piece=piece), ToolCall("send_email", {"to": MAIL}))
    events = responses(wire, is_async)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == PASSED
    arguments = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    assert json.loads(arguments) == {"to": "[EMAIL_1]"}
    assert MAIL not in "".join(event.model_dump_json() for event in events)
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(numbers)
    assert events[-1].response.output_text == PASSED
    assert hooked.spans()[-1].attributes["cylestio.policy.redacted"] == 5


def test_the_helper_for_responses_collects_what_passed(governed, wire):
    governed(ALL)
    wire.answer(Text(TEXT, piece=3))
    with clients(wire)["openai"][0]() as client, client.responses.stream(model="gpt", input="x") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text == PASSED


@pytest.mark.parametrize("ask", [messages, chat, responses])
def test_a_streamed_answer_without_private_data_passes_unchanged(governed, hooked, wire, ask):
    governed(ALL)
    wire.answer(Text("Hello to you, dear reader.", piece=4))
    events = ask(wire)
    assert "Hello" in str(events)
    assert "cylestio.policy.action" not in hooked.spans()[-1].attributes


@pytest.mark.parametrize("ask", [messages, chat, responses])
@pytest.mark.parametrize("fault", [Broken, ErrorEvent])
def test_a_stream_that_fails_hands_over_nothing_of_what_was_held_back(governed, hooked, wire, ask, fault):
    governed(ALL)
    wire.always(Text(f"mail {MAIL} now", piece=6))
    for after in range(2, 8):
        wire.fail(fault(after))
        got = []
        with pytest.raises((anthropic.AnthropicError, openai.OpenAIError, *TRANSPORT)):
            ask(wire, got=got)
        assert len(got) >= after - 1 or ask is chat
        assert "ann.lee" not in str(got)
        assert hooked.spans()[-1].attributes["error.type"]


@pytest.mark.parametrize("ask", [messages, chat, responses])
def test_a_stream_that_is_closed_early_hands_over_nothing_of_what_was_held_back(governed, hooked, wire, ask):
    governed(ALL)
    wire.always(Text(f"mail {MAIL} now and {OTHER}", piece=6))
    for count in range(1, 12):
        got = []
        ask(wire, got=got, count=count)
        assert len(got) == count
        assert "ann.lee" not in str(got)
        assert "error.type" not in hooked.spans()[-1].attributes


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("ask", [messages, chat, responses])
def test_a_stream_that_would_be_held_back_too_far_ends_with_a_refusal(governed, hooked, wire, ask, is_async):
    store = governed(ALL)
    readable = base64.b64encode(b"some readable text, again and again. " * 400).decode()
    wire.answer(Text(f"Here: {readable} and {MAIL}", piece=100))
    got = []
    with pytest.raises(BlockedError, match="rule mask"):
        ask(wire, is_async, got=got)
    assert readable[:40] not in str(got)
    attributes = hooked.spans()[-1].attributes
    assert attributes["cylestio.policy.action"] == "deny"
    assert "answers, which cannot be changed" in attributes["cylestio.policy.reason"]
    assert rows(store, "SELECT action, enforced FROM decision") == [("deny", 1)]


@pytest.mark.parametrize("way", ["messages", "chat", "responses"])
def test_a_tool_gets_back_what_a_streamed_call_names_by_token(governed, hooked, wire, way):
    store = governed("mode: block\npolicy: {restore: send_email, rules: [{id: mask, action: redact}]}")
    sent, logged = [], []

    @tool
    def send_email(to):
        sent.append(to)
        return "sent"

    @tool
    def write_log(line):
        logged.append(line)

    tools = [{"name": "send_email", "input_schema": {"type": "object"}}]
    if way == "chat":
        tools = [{"type": "function", "function": {"name": "send_email", "parameters": {}}}]
    elif way == "responses":
        tools = [{"type": "function", "name": "send_email", "parameters": {}}]
    with identify(session_id="s"):
        wire.answer(Text("I do.", piece=2), ToolCall("send_email", {"to": MAIL}))
        events = {"messages": messages, "chat": chat, "responses": responses}[way](wire, tools=tools)
        assert MAIL not in "".join(event.model_dump_json() for event in events)
        assert "[EMAIL_1]" in str(events) or way == "chat"
        assert send_email("[EMAIL_1]") == "sent"
        write_log("to [EMAIL_1]")
    assert (sent, logged) == ([MAIL], ["to [EMAIL_1]"])
    assert rows(store, "SELECT tool, count(*) FROM call_facts GROUP BY tool") == [("send_email", 1), ("write_log", 1)]


def test_a_rule_that_waits_for_a_finding_redacts_a_streamed_answer_from_its_start(governed, wire):
    governed(
        "mode: block\npolicy: {rules: [{id: mask, action: redact, surfaces: [answers], findings: {category: secret}}]}"
    )
    wire.answer(Text(f"mail {MAIL}", piece=4))
    assert "".join(deltas(messages(wire), "text_delta", "text")) == "mail [EMAIL_1]"


def test_in_mode_monitor_a_stream_passes_unchanged_and_the_rule_is_recorded(governed, hooked, wire):
    governed(ALL.replace("block", "monitor"))
    wire.answer(Text(TEXT, piece=4))
    assert "".join(deltas(messages(wire), "text_delta", "text")) == TEXT
    attributes = hooked.spans()[-1].attributes
    assert attributes["cylestio.policy.action"] == "redact"
    assert attributes["cylestio.policy.enforced"] is False


def test_a_secret_in_a_streamed_answer_is_redacted_in_place_of_a_refusal_and_still_reported(governed, hooked, wire):
    governed(ALL)
    wire.answer(Text(f"the key is {KEY} there", piece=5))
    assert "".join(deltas(messages(wire), "text_delta", "text")) == "the key is [GITHUB_PAT_1] there"
    attributes = hooked.spans()[-1].attributes
    assert attributes["cylestio.security.category"] == "secret"
    assert attributes["cylestio.security.action"] == "modify"


class Helper(openai.Stream):
    """A stream that collects the answer inside, as helpers of old versions do."""


def test_a_stream_of_an_unknown_class_is_not_asked_for(governed, wire):
    governed(ALL)
    with clients(wire)["openai"][0]() as client, pytest.raises(BlockedError, match="rule mask"):
        client.post("/chat/completions", body={**CHAT, "stream": True}, cast_to=dict, stream=True, stream_cls=Helper)
    assert wire.requests == []


def test_a_stream_that_cannot_be_taken_over_does_not_pass(governed, wire, monkeypatch):
    governed(ALL)
    wire.answer(Text(f"mail {MAIL}"))
    monkeypatch.setattr("cylestio_monitor.capture.http_client.sdk_client.response_body.observe_close", None)
    with pytest.raises(BlockedError, match="blocked this answer"):
        chat(wire)
