"""Every way to call a model with the Anthropic SDK, as far as the installed version has it."""

from __future__ import annotations

import inspect
from typing import Any

import anthropic

from capture.ways import Way, adrain, awith, drain, with_

MAJOR = int(anthropic.__version__.partition(".")[0])
REQUEST: dict[str, Any] = {
    "model": "claude-wire",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "What is in the file?"}],
}


def get_weather(place: str) -> str:
    """The weather at a place.

    Args:
        place: Where.
    """
    return f"sunny in {place}"


async def get_weather_async(place: str) -> str:
    """The weather at a place.

    Args:
        place: Where.
    """
    return f"sunny in {place}"


def ways() -> list[Way]:
    """The synchronous ones."""
    client = anthropic.Anthropic(api_key="k")
    beta = client.beta.messages
    found = [
        Way("messages.create", lambda c: c.messages.create(**REQUEST)),
        Way("messages.create(stream=True)", lambda c: drain(c.messages.create(**REQUEST, stream=True))),
        Way("messages.stream, iterated", lambda c: with_(c.messages.stream(**REQUEST), drain)),
        Way(
            "messages.stream, text_stream",
            lambda c: with_(c.messages.stream(**REQUEST), lambda s: drain(s.text_stream)),
        ),
        Way(
            "messages.stream, get_final_text()",
            lambda c: with_(c.messages.stream(**REQUEST), lambda s: s.get_final_text()),
        ),
        Way(
            "messages.stream, get_final_message()",
            lambda c: with_(c.messages.stream(**REQUEST), lambda s: s.get_final_message()),
        ),
        Way("messages.stream, until_done()", lambda c: with_(c.messages.stream(**REQUEST), lambda s: s.until_done())),
        Way("beta.messages.create", lambda c: c.beta.messages.create(**REQUEST)),
        Way("beta.messages.create(stream=True)", lambda c: drain(c.beta.messages.create(**REQUEST, stream=True))),
        Way("messages.with_raw_response", lambda c: c.messages.with_raw_response.create(**REQUEST).parse()),
        Way(
            "messages.with_raw_response(stream=True)",
            lambda c: drain(c.messages.with_raw_response.create(**REQUEST, stream=True).parse()),
        ),
        Way(
            "messages.with_streaming_response",
            lambda c: with_(c.messages.with_streaming_response.create(**REQUEST), lambda r: r.parse()),
        ),
        Way(
            "messages.with_streaming_response(stream=True), parsed",
            lambda c: with_(
                c.messages.with_streaming_response.create(**REQUEST, stream=True), lambda r: drain(r.parse())
            ),
        ),
        Way(
            "messages.with_streaming_response(stream=True), lines",
            lambda c: with_(
                c.messages.with_streaming_response.create(**REQUEST, stream=True), lambda r: drain(r.iter_lines())
            ),
        ),
        Way(
            "messages.count_tokens",
            lambda c: c.messages.count_tokens(model="claude-wire", messages=REQUEST["messages"]),
            operation="count_tokens",
            answers=False,
        ),
        Way(
            "messages.batches.create",
            lambda c: c.messages.batches.create(requests=[{"custom_id": "a", "params": REQUEST}]),
            operation="create_batch",
            answers=False,
        ),
    ]
    found += [
        Way(
            "beta.messages.count_tokens",
            lambda c: c.beta.messages.count_tokens(model="claude-wire", messages=REQUEST["messages"]),
            operation="count_tokens",
            answers=False,
        ),
        Way(
            "beta.messages.batches.create",
            lambda c: c.beta.messages.batches.create(requests=[{"custom_id": "a", "params": REQUEST}]),
            operation="create_batch",
            answers=False,
        ),
        Way("beta.messages.with_raw_response", lambda c: c.beta.messages.with_raw_response.create(**REQUEST).parse()),
    ]
    if hasattr(client.messages, "parse"):
        found.append(Way("messages.parse", lambda c: c.messages.parse(**REQUEST)))
    if hasattr(beta, "stream"):
        found.append(
            Way("beta.messages.stream", lambda c: with_(c.beta.messages.stream(**REQUEST), lambda s: s.until_done()))
        )
    if hasattr(beta, "parse"):
        found.append(Way("beta.messages.parse", lambda c: c.beta.messages.parse(**REQUEST)))
    if hasattr(beta, "tool_runner"):
        tool = anthropic.beta_tool(get_weather)
        found.append(
            Way(
                "beta.messages.tool_runner",
                lambda c: c.beta.messages.tool_runner(**REQUEST, tools=[tool]).until_done(),
                spans=2,
            )
        )
    return found


def async_ways() -> list[Way]:
    """The asynchronous ones."""

    async def create(client):
        await client.messages.create(**REQUEST)

    async def create_stream(client):
        await adrain(await client.messages.create(**REQUEST, stream=True))

    async def stream(client):
        await awith(client.messages.stream(**REQUEST), adrain)

    async def final_text(client):
        await awith(client.messages.stream(**REQUEST), lambda s: s.get_final_text())

    async def until_done(client):
        await awith(client.messages.stream(**REQUEST), lambda s: s.until_done())

    async def raw(client):
        response = await client.messages.with_raw_response.create(**REQUEST)
        parsed = response.parse()
        await parsed if inspect.isawaitable(parsed) else parsed

    async def streaming(client):
        async def parse(response):
            await response.parse()

        await awith(client.messages.with_streaming_response.create(**REQUEST), parse)

    async def streaming_stream(client):
        async def parse(response):
            await adrain(await response.parse())

        await awith(client.messages.with_streaming_response.create(**REQUEST, stream=True), parse)

    async def count_tokens(client):
        await client.messages.count_tokens(model="claude-wire", messages=REQUEST["messages"])

    async def beta_create(client):
        await client.beta.messages.create(**REQUEST)

    async def beta_create_stream(client):
        await adrain(await client.beta.messages.create(**REQUEST, stream=True))

    async def text_stream(client):
        await awith(client.messages.stream(**REQUEST), lambda s: adrain(s.text_stream))

    async def final_message(client):
        await awith(client.messages.stream(**REQUEST), lambda s: s.get_final_message())

    async def batch(client):
        await client.messages.batches.create(requests=[{"custom_id": "a", "params": REQUEST}])

    found = [
        Way("messages.create", create),
        Way("messages.create(stream=True)", create_stream),
        Way("messages.stream, iterated", stream),
        Way("messages.stream, get_final_text()", final_text),
        Way("messages.stream, until_done()", until_done),
        Way("beta.messages.create", beta_create),
        Way("messages.with_raw_response", raw),
        Way("messages.with_streaming_response", streaming),
        Way("messages.with_streaming_response(stream=True), parsed", streaming_stream),
        Way("messages.count_tokens", count_tokens, operation="count_tokens", answers=False),
        Way("messages.stream, text_stream", text_stream),
        Way("messages.stream, get_final_message()", final_message),
        Way("messages.batches.create", batch, operation="create_batch", answers=False),
        Way("beta.messages.create(stream=True)", beta_create_stream),
    ]
    return found + _helpers()


def _helpers() -> list[Way]:
    """The asynchronous ones that not every version has."""
    client, found = anthropic.AsyncAnthropic(api_key="k"), []
    if hasattr(client.messages, "parse"):

        async def parse(client):
            await client.messages.parse(**REQUEST)

        found.append(Way("messages.parse", parse))
    if hasattr(client.beta.messages, "stream"):

        async def beta_stream(client):
            await awith(client.beta.messages.stream(**REQUEST), lambda s: s.until_done())

        found.append(Way("beta.messages.stream", beta_stream))
    if hasattr(client.beta.messages, "tool_runner"):
        tool = anthropic.beta_async_tool(get_weather_async, name="get_weather")

        async def tool_runner(client):
            await client.beta.messages.tool_runner(**REQUEST, tools=[tool]).until_done()

        found.append(Way("beta.messages.tool_runner", tool_runner, spans=2))
    return found
