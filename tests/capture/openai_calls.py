"""Every way to call a model with the OpenAI SDK, as far as the installed version has it."""

from __future__ import annotations

import inspect
from typing import Any

import openai
from pydantic import BaseModel

from capture.ways import Way, adrain, awith, drain, with_

CHAT: dict[str, Any] = {
    "model": "gpt-wire",
    "messages": [{"role": "user", "content": "What is in the file?"}],
}
STREAM: dict[str, Any] = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
RESPONSE: dict[str, Any] = {"model": "gpt-wire", "input": "What is in the file?"}

DECISION: dict[str, Any] = {
    "model": "gpt-wire",
    "input": "What is in the file?",
    "questions": [{"type": "predicate", "name": "asks", "instructions": "The text is a question."}],
}


class Weather(BaseModel):
    """A structured answer."""

    sky: str


def ways() -> list[Way]:
    """The synchronous ones."""
    client = openai.OpenAI(api_key="k")
    chat = [
        Way("chat.completions.create", lambda c: c.chat.completions.create(**CHAT)),
        Way("chat.completions.create(stream=True)", lambda c: drain(c.chat.completions.create(**STREAM))),
        Way(
            "chat.completions.with_raw_response", lambda c: c.chat.completions.with_raw_response.create(**CHAT).parse()
        ),
        Way(
            "chat.completions.with_raw_response(stream=True)",
            lambda c: drain(c.chat.completions.with_raw_response.create(**STREAM).parse()),
        ),
        Way(
            "chat.completions.with_streaming_response",
            lambda c: with_(c.chat.completions.with_streaming_response.create(**CHAT), lambda r: r.json()),
        ),
        Way(
            "chat.completions.with_streaming_response(stream=True), parsed",
            lambda c: with_(c.chat.completions.with_streaming_response.create(**STREAM), lambda r: drain(r.parse())),
        ),
        Way(
            "chat.completions.with_streaming_response(stream=True), lines",
            lambda c: with_(
                c.chat.completions.with_streaming_response.create(**STREAM), lambda r: drain(r.iter_lines())
            ),
        ),
        Way("module client: openai.chat.completions.create", _with_the_module_client),
        Way(
            "completions.create",
            lambda c: c.completions.create(model="gpt-wire", prompt="What is in the file?"),
            operation="text_completion",
        ),
        Way(
            "completions.create(stream=True)",
            lambda c: drain(c.completions.create(model="gpt-wire", prompt="What is in the file?", stream=True)),
            operation="text_completion",
            usage=False,
        ),
        Way(
            "embeddings.create",
            lambda c: c.embeddings.create(model="gpt-wire", input="What is in the file?"),
            operation="embeddings",
            answers=False,
        ),
        Way(
            "batches.create",
            lambda c: c.batches.create(
                input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
            ),
            operation="create_batch",
            answers=False,
            prompt=False,
        ),
    ]
    if hasattr(client, "decisions"):
        chat.append(
            Way("decisions.create", lambda c: c.decisions.create(**DECISION), operation="decide", answers=False)
        )
    completions = (
        client.chat.completions if hasattr(client.chat.completions, "stream") else client.beta.chat.completions
    )
    path = "chat.completions" if hasattr(client.chat.completions, "stream") else "beta.chat.completions"

    def of(made):
        return made.chat.completions if completions is client.chat.completions else made.beta.chat.completions

    usage = {"stream_options": {"include_usage": True}}
    chat += [
        Way(f"{path}.stream, iterated", lambda c: with_(of(c).stream(**CHAT, **usage), drain)),
        Way(
            f"{path}.stream, get_final_completion()",
            lambda c: with_(of(c).stream(**CHAT, **usage), lambda s: s.get_final_completion()),
        ),
        Way(f"{path}.stream, until_done()", lambda c: with_(of(c).stream(**CHAT, **usage), lambda s: s.until_done())),
        Way(f"{path}.parse", lambda c: of(c).parse(**CHAT, response_format=Weather), text='{"sky": "blue"}'),
    ]
    return chat + _responses(client)


def _responses(client: Any) -> list[Way]:
    if not hasattr(client, "responses"):
        return []
    found = [
        Way("responses.create", lambda c: c.responses.create(**RESPONSE)),
        Way("responses.create(stream=True)", lambda c: drain(c.responses.create(**RESPONSE, stream=True))),
        Way("responses.stream, iterated", lambda c: with_(c.responses.stream(**RESPONSE), drain)),
        Way(
            "responses.stream, get_final_response()",
            lambda c: with_(c.responses.stream(**RESPONSE), lambda s: s.get_final_response()),
        ),
        Way(
            "responses.stream, until_done()", lambda c: with_(c.responses.stream(**RESPONSE), lambda s: s.until_done())
        ),
        Way("responses.with_raw_response", lambda c: c.responses.with_raw_response.create(**RESPONSE).parse()),
        Way(
            "responses.with_streaming_response(stream=True), parsed",
            lambda c: with_(
                c.responses.with_streaming_response.create(**RESPONSE, stream=True), lambda r: drain(r.parse())
            ),
        ),
    ]
    if hasattr(client.beta, "responses"):
        found += [
            Way("beta.responses.create", lambda c: c.beta.responses.create(**RESPONSE)),
            Way(
                "beta.responses.create(stream=True)", lambda c: drain(c.beta.responses.create(**RESPONSE, stream=True))
            ),
        ]
    if hasattr(client.responses, "parse"):
        found.append(
            Way("responses.parse", lambda c: c.responses.parse(**RESPONSE, text_format=Weather), text='{"sky": "blue"}')
        )
    return found


def _with_the_module_client(client: openai.OpenAI) -> None:
    openai.api_key, openai.base_url, openai.max_retries = "k", client.base_url, 0
    try:
        openai.chat.completions.create(**CHAT)
    finally:
        module_client = openai._module_client._load_client()  # the module keeps one for good
        module_client.close()
        openai.api_key = openai.base_url = None


def async_ways() -> list[Way]:
    """The asynchronous ones."""

    async def create(client):
        await client.chat.completions.create(**CHAT)

    async def create_stream(client):
        await adrain(await client.chat.completions.create(**STREAM))

    async def raw(client):
        response = await client.chat.completions.with_raw_response.create(**CHAT)
        parsed = response.parse()
        await parsed if inspect.isawaitable(parsed) else parsed

    async def streaming_stream(client):
        async def parse(response):
            await adrain(await response.parse())

        await awith(client.chat.completions.with_streaming_response.create(**STREAM), parse)

    async def embeddings(client):
        await client.embeddings.create(model="gpt-wire", input="What is in the file?")

    async def decisions(client):
        await client.decisions.create(**DECISION)

    async def streaming(client):
        await awith(client.chat.completions.with_streaming_response.create(**CHAT), lambda r: r.json())

    async def legacy(client):
        await client.completions.create(model="gpt-wire", prompt="What is in the file?")

    async def batch(client):
        given = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        await client.batches.create(**given)

    def of(client):
        return client.chat.completions if hasattr(client.chat.completions, "stream") else client.beta.chat.completions

    async def helper_of_chat(client):
        usage = {"stream_options": {"include_usage": True}}
        await awith(of(client).stream(**CHAT, **usage), lambda s: s.get_final_completion())

    async def parse(client):
        await of(client).parse(**CHAT, response_format=Weather)

    made = openai.AsyncOpenAI(api_key="k")
    path = "chat.completions" if of(made) is made.chat.completions else "beta.chat.completions"
    found = [
        Way("chat.completions.with_streaming_response", streaming),
        Way("completions.create", legacy, operation="text_completion"),
        Way("batches.create", batch, operation="create_batch", answers=False, prompt=False),
        Way(f"{path}.stream, get_final_completion()", helper_of_chat),
        Way(f"{path}.parse", parse, text='{"sky": "blue"}'),
        Way("chat.completions.create", create),
        Way("chat.completions.create(stream=True)", create_stream),
        Way("chat.completions.with_raw_response", raw),
        Way("chat.completions.with_streaming_response(stream=True), parsed", streaming_stream),
        Way("embeddings.create", embeddings, operation="embeddings", answers=False),
    ]
    if hasattr(made, "decisions"):
        found.append(Way("decisions.create", decisions, operation="decide", answers=False))
    return found + _async_responses(made)


def _async_responses(client: Any) -> list[Way]:
    if not hasattr(client, "responses"):
        return []

    async def responses(client):
        await client.responses.create(**RESPONSE)

    async def responses_stream(client):
        await adrain(await client.responses.create(**RESPONSE, stream=True))

    async def helper(client):
        await awith(client.responses.stream(**RESPONSE), lambda s: s.get_final_response())

    async def raw_response(client):
        response = await client.responses.with_raw_response.create(**RESPONSE)
        parsed = response.parse()
        await parsed if inspect.isawaitable(parsed) else parsed

    async def parsed_response(client):
        await client.responses.parse(**RESPONSE, text_format=Weather)

    found = [
        Way("responses.with_raw_response", raw_response),
        Way("responses.create", responses),
        Way("responses.create(stream=True)", responses_stream),
        Way("responses.stream, get_final_response()", helper),
    ]
    if hasattr(client.responses, "parse"):
        found.append(Way("responses.parse", parsed_response, text='{"sky": "blue"}'))
    return found
