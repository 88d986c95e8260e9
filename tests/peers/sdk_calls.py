"""Calls of the Anthropic and OpenAI SDKs under one other instrumentation, with or without our hooks below it.

usage: sdk_calls.py PEER [hooked]
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from opentelemetry import trace

from peers.recording import Recording
from wire import Text, ToolCall, WireServer

PEERS = {
    "openinference": "openinference.instrumentation.{sdk}",
    "openllmetry": "opentelemetry.instrumentation.{sdk}",
    "opentelemetry-genai": "opentelemetry.instrumentation.genai.{sdk}",
}
CLASSES = {"anthropic": "AnthropicInstrumentor", "openai": "OpenAIInstrumentor"}
DROP = "please run DROP TABLE users"
KEY = "the key is AKIA" + "Z7VQ3XW5L2MN4RTB"
TOOL = {"name": "delete_file", "description": "deletes a file", "parameters": {"type": "object", "properties": {}}}


def start(recording: Recording, peer: str) -> None:
    """Switches the other instrumentation on."""
    if peer == "logfire":
        import logfire

        logfire.configure(send_to_logfire=False, console=False, additional_span_processors=recording.processors)
        logfire.instrument_anthropic()
        logfire.instrument_openai()
        recording.start(trace.get_tracer_provider())
        return
    provider = recording.start()
    if peer == "openlit":
        import openlit

        prices = recording.store.path.with_name("prices.json")
        prices.write_text("{}")
        openlit.init(pricing_json=str(prices), disabled_instrumentors=["httpx"])
        return
    for sdk, name in CLASSES.items():
        module = importlib.import_module(PEERS[peer].format(sdk=sdk))
        getattr(module, name)().instrument(tracer_provider=provider)


def anthropic_calls(wire: WireServer) -> None:
    """Four calls: whole, streamed, async, and one whose answer asks for a dangerous tool call."""
    import anthropic

    client = anthropic.Anthropic(api_key="k", base_url=wire.url, max_retries=0)
    ask: dict[str, Any] = {"model": "claude-sonnet-4-5", "max_tokens": 50}
    client.messages.create(**ask, system="be brief", messages=[{"role": "user", "content": DROP}])
    wire.answer(Text(KEY))
    with client.messages.stream(**ask, messages=[{"role": "user", "content": "hello"}]) as stream:
        stream.get_final_text()
    del stream
    gc.collect()

    async def ask_async() -> None:
        async with anthropic.AsyncAnthropic(api_key="k", base_url=wire.url, max_retries=0) as other:
            await other.messages.create(**ask, messages=[{"role": "user", "content": "hello again"}])

    asyncio.run(ask_async())
    wire.answer(ToolCall("delete_file", {"path": "/etc/passwd"}))
    tool = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}
    client.messages.create(**ask, tools=[tool], messages=[{"role": "user", "content": "tidy up"}])


def openai_calls(wire: WireServer) -> None:
    """The same four calls."""
    import openai

    client = openai.OpenAI(api_key="k", base_url=wire.openai_url, max_retries=0)
    ask: dict[str, Any] = {"model": "gpt-5"}
    system = {"role": "system", "content": "be brief"}
    client.chat.completions.create(**ask, messages=[system, {"role": "user", "content": DROP}])
    wire.answer(Text(KEY))
    for _ in client.chat.completions.create(**ask, stream=True, messages=[{"role": "user", "content": "hello"}]):
        pass
    gc.collect()

    async def ask_async() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=wire.openai_url, max_retries=0) as other:
            await other.chat.completions.create(**ask, messages=[{"role": "user", "content": "hello again"}])

    asyncio.run(ask_async())
    wire.answer(ToolCall("delete_file", {"path": "/etc/passwd"}))
    tools = [{"type": "function", "function": TOOL}]
    client.chat.completions.create(**ask, tools=tools, messages=[{"role": "user", "content": "tidy up"}])


def responses_calls(wire: WireServer) -> None:
    """The same four calls."""
    import openai

    client = openai.OpenAI(api_key="k", base_url=wire.openai_url, max_retries=0)
    ask: dict[str, Any] = {"model": "gpt-5"}
    client.responses.create(**ask, instructions="be brief", input=DROP)
    wire.answer(Text(KEY), id="resp_2")
    for _ in client.responses.create(**ask, stream=True, input="hello"):
        pass
    gc.collect()

    async def ask_async() -> None:
        wire.answer(Text("hi"), id="resp_3")
        async with openai.AsyncOpenAI(api_key="k", base_url=wire.openai_url, max_retries=0) as other:
            await other.responses.create(**ask, input="hello again")

    asyncio.run(ask_async())
    wire.answer(ToolCall("delete_file", {"path": "/etc/passwd"}), id="resp_4")
    client.responses.create(**ask, tools=[{"type": "function", "strict": False, **TOOL}], input="tidy up")


def main() -> None:
    """Runs the calls of each API and prints their spans, and what the store holds of them."""
    peer, *rest = sys.argv[1:]
    done: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, WireServer() as wire:
        recording = Recording(Path(folder))
        for sdk, name in CLASSES.items() if rest else ():
            hook = importlib.import_module(f"cylestio_monitor.capture.{sdk}")
            getattr(hook, name)().instrument()
        start(recording, peer)
        for calls in (anthropic_calls, openai_calls, responses_calls):
            calls(wire)
            gc.collect()
            recording.pipeline.flush()
            done[calls.__name__] = {"requests": len(wire.requests), "spans": recording.spans()}
            recording.exporter.clear()
            wire.requests.clear()
        recording.print(rows=recording.rows(), **done)
        recording.store.close()


main()
