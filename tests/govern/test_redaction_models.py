"""The action `redact` in model calls: the SDKs of Anthropic and OpenAI over a loopback server."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pytest

from cylestio_monitor import BlockedError, tool
from cylestio_monitor.identity import identify
from govern.recorded import rows
from wire import Text, ToolCall

MAIL, OTHER = "ann.lee@corp-example.net", "bob.ray@corp-example.net"
ALL = "mode: block\npolicy: {version: '3', rules: [{id: mask, action: redact}]}"
TOOLS = [{"name": "send_email", "input_schema": {"type": "object"}}]


class Asked:
    """One call of a model: its prompt on the wire, its answer in the application."""

    def __init__(self, url):
        self.url = url

    def anthropic(self, prompt, **more):
        with anthropic.Anthropic(base_url=self.url, api_key="k", max_retries=0) as client:
            answer = client.messages.create(**self.message(prompt), **more)
            return list(answer) if "stream" in more else answer

    def anthropic_async(self, prompt):
        async def ask():
            async with anthropic.AsyncAnthropic(base_url=self.url, api_key="k", max_retries=0) as client:
                return await client.messages.create(**self.message(prompt))

        return asyncio.run(ask())

    def chat(self, prompt, **more):
        with openai.OpenAI(base_url=f"{self.url}/v1", api_key="k", max_retries=0) as client:
            messages = [{"role": "user", "content": prompt}]
            answer = client.chat.completions.create(model="gpt", messages=messages, **more)
            return list(answer) if "stream" in more else answer

    def responses(self, prompt, **more):
        with openai.OpenAI(base_url=f"{self.url}/v1", api_key="k", max_retries=0) as client:
            answer = client.responses.create(model="gpt", input=prompt, instructions=f"Write to {OTHER}.", **more)
            return list(answer) if "stream" in more else answer

    @staticmethod
    def message(prompt):
        return {
            "model": "claude",
            "max_tokens": 9,
            "system": [{"type": "text", "text": "You are a clerk."}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": prompt}]}],
        }


def text_of(answer):
    if hasattr(answer, "output_text"):
        return answer.output_text
    return answer.choices[0].message.content if hasattr(answer, "choices") else answer.content[0].text


WAYS = ["anthropic", "anthropic_async", "chat", "responses"]


@pytest.mark.parametrize("way", WAYS)
def test_prompts_and_answers_are_redacted_and_keep_their_types(governed, hooked, wire, way):
    store = governed(ALL)
    wire.answer(Text(f"I write to {MAIL} and zoe@corp-example.net."))
    answer = getattr(Asked(wire.url), way)(f"Write to {MAIL}, please.")
    sent = json.dumps(wire.requests[-1].body)
    assert MAIL not in sent
    assert OTHER not in sent
    assert "Write to [EMAIL_" in sent
    assert "@" not in text_of(answer)
    assert "I write to [EMAIL_" in text_of(answer)
    assert type(answer).__module__.startswith(("anthropic.types", "openai.types"))
    assert answer.id
    assert getattr(answer, "_request_id", None) is None or isinstance(answer._request_id, str)
    attributes = hooked.spans()[-1].attributes
    assert attributes["cylestio.policy.action"] == "redact"
    assert attributes["cylestio.policy.redacted.surfaces"] == ("prompts", "answers")
    assert attributes["cylestio.security.action"] == "modify"
    assert rows(store, "SELECT action, enforced, rule FROM decision") == [("redact", 1, "mask")]
    assert rows(store, "SELECT count(*) FROM call_facts") == [(0,)]


@pytest.mark.parametrize("way", WAYS)
def test_a_model_call_without_private_data_is_untouched(governed, hooked, wire, way):
    governed(ALL)
    wire.answer(Text("Hello."))
    answer = getattr(Asked(wire.url), way)("Say hello.") if way != "responses" else Asked(wire.url).chat("Say hello.")
    assert text_of(answer) == "Hello."
    assert "cylestio.policy.action" not in hooked.spans()[-1].attributes


@pytest.mark.parametrize("way", ["anthropic", "chat", "responses"])
def test_a_prompt_is_not_changed_in_the_hands_of_the_application(governed, wire, way):
    governed(ALL)
    messages = [{"role": "user", "content": f"I am {MAIL}"}]
    before = json.dumps(messages)
    if way == "anthropic":
        with anthropic.Anthropic(base_url=wire.url, api_key="k") as client:
            client.messages.create(model="c", max_tokens=9, messages=messages)
    else:
        with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k") as client:
            if way == "chat":
                client.chat.completions.create(model="g", messages=messages)
            else:
                client.responses.create(model="g", input=messages)
    assert json.dumps(messages) == before
    assert MAIL not in json.dumps(wire.requests[-1].body)


STREAMS = {
    "logprobs": lambda one, ask: one.chat.completions.create(**ask, stream=True, logprobs=True),
    "raw": lambda one, ask: one.chat.completions.with_raw_response.create(**ask, stream=True),
    "streaming": lambda one, ask: one.chat.completions.with_streaming_response.create(**ask).__enter__(),
    "include": lambda one, _: one.responses.create(
        model="g", input="x", stream=True, include=["message.output_text.logprobs"]
    ),
}


@pytest.mark.parametrize("way", STREAMS)
def test_a_streamed_answer_that_could_not_be_redacted_is_not_asked_for(governed, hooked, wire, way):
    governed(ALL)
    with (
        openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client,
        pytest.raises(BlockedError, match="rule mask"),
    ):
        STREAMS[way](client, {"model": "g", "messages": [{"role": "user", "content": "x"}]})
    assert wire.requests == []
    assert "answers, which cannot be changed" in hooked.spans()[-1].attributes["cylestio.policy.reason"]


@pytest.mark.parametrize("way", ["anthropic", "chat", "responses"])
def test_the_prompt_of_a_streamed_answer_is_redacted(governed, wire, way):
    governed("mode: block\npolicy: {rules: [{id: mask, action: redact, surfaces: [prompts]}]}")
    wire.answer(Text(f"Hello {MAIL}"))
    events = getattr(Asked(wire.url), way)(f"I am {MAIL}", stream=True)
    assert len(events) > 2
    assert MAIL not in json.dumps(wire.requests[-1].body)


@pytest.mark.parametrize(
    "arguments",
    [
        f'{{"a": "{MAIL}", "a": "x"}}',
        f'{{"{MAIL}": 1, "{MAIL}": 2}}',
        '{"a": 4111111111111111.0}',
        '{"a": 4.111111111111111e15}',
        '{"a": "\\u0061nn.lee@corp-example.net"}',
        f'{{"a": "{MAIL}"',
    ],
)
def test_the_arguments_in_a_conversation_are_redacted_however_they_are_spelled(governed, wire, arguments):
    governed(ALL)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
    ]
    with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k") as client:
        client.chat.completions.create(model="g", messages=messages)
    sent = json.dumps(wire.requests[-1].body)
    assert MAIL not in sent
    assert "corp-example" not in sent
    assert "1111111" not in sent


@pytest.mark.parametrize("url", [f"data:text/plain,{MAIL}", f"data:,{MAIL}", f"data:text/html;charset=utf-8,{MAIL}"])
def test_text_in_a_data_url_is_redacted(governed, wire, url):
    governed(ALL)
    part = {"type": "image_url", "image_url": {"url": url}}
    with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k") as client:
        client.chat.completions.create(model="g", messages=[{"role": "user", "content": [part]}])
    assert MAIL not in json.dumps(wire.requests[-1].body)


def test_an_answer_that_cannot_be_changed_is_withheld(governed, wire):
    governed(ALL)
    wire.answer(Text(f"Hello {MAIL}"))
    with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k") as client:
        ask = client.chat.completions.with_raw_response.create
        with pytest.raises(BlockedError, match="rule mask"):
            ask(model="g", messages=[{"role": "user", "content": "x"}])
        wire.answer(Text("Hello."))
        assert "Hello." in ask(model="g", messages=[{"role": "user", "content": "x"}]).text


@pytest.mark.parametrize("way", ["anthropic", "chat", "responses"])
def test_one_call_from_prompt_to_tool_is_decided_once_and_restored(governed, hooked, wire, way):
    store = governed("mode: block\npolicy: {restore: send_email, rules: [{id: mask, action: redact}]}")
    got = []

    @tool
    def send_email(to):
        got.append(to)
        return "sent"

    with identify(session_id="s"):
        wire.answer(Text("I do."), ToolCall("send_email", {"to": "[EMAIL_1]"}))
        given = {
            "anthropic": TOOLS,
            "chat": [{"type": "function", "function": {"name": "send_email", "parameters": {}}}],
            "responses": [{"type": "function", "name": "send_email", "parameters": {}}],
        }
        if way == "responses":
            with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k") as client:
                client.responses.create(model="g", input=f"Write to {MAIL}", tools=given[way])
        else:
            getattr(Asked(wire.url), way)(f"Write to {MAIL}", tools=given[way])
        assert "[EMAIL_1]" in json.dumps(wire.requests[-1].body)
        assert send_email("[EMAIL_1]") == "sent"
    assert got == [MAIL]
    assert len(rows(store, "SELECT tool FROM call_facts")) == 1


@pytest.mark.parametrize("way", ["anthropic", "chat"])
def test_arguments_that_a_model_makes_up_are_redacted_with_the_answer(governed, wire, way):
    store = governed(ALL)

    @tool
    def send_email(to):
        return "sent"

    with identify(session_id="s"):
        wire.answer(ToolCall("send_email", {"to": MAIL, "id": OTHER}))
        if way == "anthropic":
            answer = Asked(wire.url).anthropic("x", tools=TOOLS)
            arguments = answer.content[0].input
        else:
            tools = [{"type": "function", "function": {"name": "send_email", "parameters": {}}}]
            arguments = json.loads(
                Asked(wire.url).chat("x", tools=tools).choices[0].message.tool_calls[0].function.arguments
            )
        assert "@" not in json.dumps(arguments)
    assert len(rows(store, "SELECT tool FROM call_facts")) == 1
