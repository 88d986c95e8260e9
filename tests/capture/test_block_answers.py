"""Block mode: an answer with a refused tool call is refused in every form, before the program has the whole call."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pytest

from capture.anthropic_calls import REQUEST
from capture.openai_calls import CHAT, RESPONSE
from cylestio_monitor import semconv
from cylestio_monitor.errors import BlockedError
from peers import cloud_servers
from wire import ToolCall

ARGUMENTS = {"command": "rm -rf / --no-preserve-root"}
TOOL = [{"name": "bash", "input_schema": {"type": "object"}}]


def until(stream, ends):
    """Reads as a program does that acts on a tool call as soon as it is complete."""
    for event in stream:
        if ends(event):
            pytest.fail(f"the program has the tool call: {event}")


async def auntil(stream, ends):
    async for event in stream:
        if ends(event):
            pytest.fail(f"the program has the tool call: {event}")


def opened(manager, use):
    with manager as it:
        return use(it)


async def aopened(manager, use):
    async with manager as it:
        return await use(it)


def block_stop(event):
    return event.type == "content_block_stop"


def finish(chunk):
    return any(choice.finish_reason for choice in chunk.choices)


def arguments_done(event):
    return event.type in {"response.function_call_arguments.done", "response.output_item.done", "response.completed"}


def tool_event(event):
    return event.type in {"tool_calls.function.arguments.done", "content.done"}


def holds_all(text):
    return "preserve-root" in str(text)


ANTHROPIC = {
    "create": lambda c: c.messages.create(**REQUEST),
    "create(stream=True)": lambda c: until(c.messages.create(**REQUEST, stream=True), block_stop),
    "stream": lambda c: opened(c.messages.stream(**REQUEST), lambda s: until(s, block_stop)),
    "stream, get_final_message()": lambda c: opened(c.messages.stream(**REQUEST), lambda s: s.get_final_message()),
    "stream, text_stream": lambda c: opened(c.messages.stream(**REQUEST), lambda s: list(s.text_stream)),
    "beta stream": lambda c: opened(c.beta.messages.stream(**REQUEST), lambda s: until(s, block_stop)),
    "with_raw_response": lambda c: c.messages.with_raw_response.create(**REQUEST).parse(),
    "with_raw_response(stream=True)": lambda c: until(
        c.messages.with_raw_response.create(**REQUEST, stream=True).parse(), block_stop
    ),
    "with_streaming_response, read()": lambda c: opened(
        c.messages.with_streaming_response.create(**REQUEST), lambda r: r.read()
    ),
    "with_streaming_response, iter_bytes()": lambda c: opened(
        c.messages.with_streaming_response.create(**REQUEST), lambda r: until(r.iter_bytes(), bool)
    ),
    "with_streaming_response(stream=True), parsed": lambda c: opened(
        c.messages.with_streaming_response.create(**REQUEST, stream=True), lambda r: until(r.parse(), block_stop)
    ),
    "with_streaming_response(stream=True), lines": lambda c: opened(
        c.messages.with_streaming_response.create(**REQUEST, stream=True),
        lambda r: until(r.iter_lines(), lambda line: "content_block_stop" in line),
    ),
    "post": lambda c: c.post("/v1/messages", cast_to=object, body=REQUEST),
}
OPENAI = {
    "chat.create": lambda c: c.chat.completions.create(**CHAT),
    "chat.create(stream=True)": lambda c: until(c.chat.completions.create(**CHAT, stream=True), finish),
    "chat.create(stream=True), arguments": lambda c: whole_arguments(c.chat.completions.create(**CHAT, stream=True)),
    "chat.stream": lambda c: opened(c.chat.completions.stream(**CHAT), lambda s: until(s, tool_event)),
    "chat.stream, get_final_completion()": lambda c: opened(
        c.chat.completions.stream(**CHAT), lambda s: s.get_final_completion()
    ),
    "chat.with_raw_response": lambda c: c.chat.completions.with_raw_response.create(**CHAT).parse(),
    "chat.with_streaming_response, json()": lambda c: opened(
        c.chat.completions.with_streaming_response.create(**CHAT), lambda r: r.json()
    ),
    "chat.with_streaming_response(stream=True), lines": lambda c: opened(
        c.chat.completions.with_streaming_response.create(**CHAT, stream=True),
        lambda r: until(r.iter_lines(), lambda line: '"tool_calls"' in line and 'finish_reason": "t' in line),
    ),
    "responses.create": lambda c: c.responses.create(**RESPONSE),
    "responses.create(stream=True)": lambda c: until(c.responses.create(**RESPONSE, stream=True), arguments_done),
    "responses.stream": lambda c: opened(c.responses.stream(**RESPONSE), lambda s: until(s, arguments_done)),
    "responses.with_raw_response": lambda c: c.responses.with_raw_response.create(**RESPONSE).parse(),
    "responses.with_streaming_response": lambda c: opened(
        c.responses.with_streaming_response.create(**RESPONSE), lambda r: r.parse()
    ),
    "responses.with_streaming_response(stream=True), bytes": lambda c: opened(
        c.responses.with_streaming_response.create(**RESPONSE, stream=True),
        lambda r: until(r.iter_bytes(), lambda chunk: b"arguments.done" in chunk),
    ),
}
ASYNC_ANTHROPIC = {
    "create(stream=True)": lambda c: astream(c.messages.create(**REQUEST, stream=True), block_stop),
    "stream": lambda c: aopened(c.messages.stream(**REQUEST), lambda s: auntil(s, block_stop)),
    "with_streaming_response, read()": lambda c: aopened(
        c.messages.with_streaming_response.create(**REQUEST), lambda r: r.read()
    ),
}
ASYNC_OPENAI = {
    "chat.create(stream=True)": lambda c: astream(c.chat.completions.create(**CHAT, stream=True), finish),
    "responses.create(stream=True)": lambda c: astream(c.responses.create(**RESPONSE, stream=True), arguments_done),
}


async def astream(opening, ends):
    await auntil(await opening, ends)


def whole_arguments(stream):
    """Collects the arguments and acts once they are whole, without waiting for a reason to finish."""
    text = ""
    for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            text += call.function.arguments or ""
        if holds_all(text) and text.endswith("}"):
            pytest.fail("the program has the tool call")


def blocked(monitor):
    span = monitor.span()
    assert span.attributes[semconv.ACTION] == "block"
    assert span.attributes[semconv.VERDICT] == "deny"
    return span


@pytest.mark.parametrize("way", [pytest.param(run, id=name) for name, run in ANTHROPIC.items()])
def test_anthropic(hooked, wire, way):
    hooked.configure(mode="block")
    wire.always(ToolCall("bash", ARGUMENTS))
    with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client, pytest.raises(BlockedError):
        way(client)
    blocked(hooked)


@pytest.mark.parametrize("way", [pytest.param(run, id=name) for name, run in OPENAI.items()])
def test_openai(hooked, wire, way):
    hooked.configure(mode="block")
    wire.always(ToolCall("bash", ARGUMENTS))
    with openai.OpenAI(base_url=wire.openai_url, api_key="k", max_retries=0) as client, pytest.raises(BlockedError):
        way(client)
    blocked(hooked)


@pytest.mark.parametrize("way", [pytest.param(run, id=name) for name, run in ASYNC_ANTHROPIC.items()])
def test_async_anthropic(hooked, wire, way):
    async def main():
        async with anthropic.AsyncAnthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
            await way(client)

    hooked.configure(mode="block")
    wire.always(ToolCall("bash", ARGUMENTS))
    with pytest.raises(BlockedError):
        asyncio.run(main())
    blocked(hooked)


@pytest.mark.parametrize("way", [pytest.param(run, id=name) for name, run in ASYNC_OPENAI.items()])
def test_async_openai(hooked, wire, way):
    async def main():
        async with openai.AsyncOpenAI(base_url=wire.openai_url, api_key="k", max_retries=0) as client:
            await way(client)

    hooked.configure(mode="block")
    wire.always(ToolCall("bash", ARGUMENTS))
    with pytest.raises(BlockedError):
        asyncio.run(main())
    blocked(hooked)


def test_a_program_that_goes_on_after_the_refusal_gets_nothing_more(hooked, wire):
    hooked.configure(mode="block")
    wire.always(ToolCall("bash", ARGUMENTS))
    with openai.OpenAI(base_url=wire.openai_url, api_key="k", max_retries=0) as client:
        stream = client.chat.completions.create(**CHAT, stream=True)
        with pytest.raises(BlockedError):
            list(stream)
        assert list(stream) == []
    blocked(hooked)


def delta(calls, finish_reason=None):
    choice = {"index": 0, "delta": calls, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


TEXT = json.dumps(ARGUMENTS)
CALL = {"index": 0, "id": "a", "type": "function", "function": {"name": "bash", "arguments": TEXT}}
COMPATIBLE = {
    "no index": [delta({"tool_calls": [{key: CALL[key] for key in ("id", "type", "function")}]})],
    "index null": [delta({"tool_calls": [{**CALL, "index": None}]})],
    "arguments as an object": [delta({"tool_calls": [{**CALL, "function": {"name": "bash", "arguments": ARGUMENTS}}]})],
    "a second call under the same index": [
        delta({"tool_calls": [{**CALL, "id": "z", "function": {"name": "ls", "arguments": "{}"}}]}),
        delta({"tool_calls": [CALL]}),
    ],
    "a custom tool": [
        delta({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "bash", "input": TEXT}}]})
    ],
    "content and a call at once": [delta({"content": "I will.", "tool_calls": [CALL]})],
    "a function call": [delta({"function_call": {"name": "bash", "arguments": TEXT}})],
    "a key twice": [
        delta(
            {
                "tool_calls": [
                    {
                        **CALL,
                        "function": {
                            "name": "bash",
                            "arguments": f'{{"command": {json.dumps(ARGUMENTS["command"])}, "command": "ls"}}',
                        },
                    }
                ]
            }
        )
    ],
    "arguments nested 10,000 deep": [
        delta(
            {
                "tool_calls": [
                    {**CALL, "function": {"name": "bash", "arguments": '{"a":' * 10_000 + TEXT + "}" * 10_000}}
                ]
            }
        )
    ],
}


def events(chunks, line="\n", *, split=False):
    """Server-sent events, with any line end, and each text over several data lines where asked for."""
    out = ""
    for chunk in [*chunks, delta({}, "tool_calls")]:
        text = json.dumps(chunk)
        if split:
            middle = text.index('"choices"')
            text = f"{text[:middle]}{line}data: {text[middle:]}"
        out += f": comment{line}data: {text}{line}{line}"
    return out.encode() + b"data: [DONE]" + (line * 2).encode()


@pytest.mark.parametrize("chunks", COMPATIBLE.values(), ids=COMPATIBLE)
def test_deltas_of_servers_that_imitate_the_api(hooked, chunks):
    hooked.configure(mode="block")
    with cloud_servers.serve(lambda *_: ("text/event-stream", events(chunks), {})) as url:
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        with client, pytest.raises(BlockedError):
            until(client.chat.completions.create(**CHAT, stream=True), finish)
    blocked(hooked)


@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("split", [False, True], ids=["one data line", "several data lines"])
def test_events_by_the_standard(hooked, line, split):
    hooked.configure(mode="block")
    body = events(COMPATIBLE["index null"], line, split=split)
    with cloud_servers.serve(lambda *_: ("text/event-stream", body, {})) as url:
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        with client, pytest.raises(BlockedError):
            opened(
                client.chat.completions.with_streaming_response.create(**CHAT, stream=True),
                lambda r: until(r.iter_bytes(), lambda chunk: b"preserve-root" in chunk),
            )
    blocked(hooked)
