"""Calls of the Anthropic or OpenAI SDK under one other instrumentation, with or without our hooks below it.

usage: sdk_calls.py PEER SDK [hooked]
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
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


def start(recording: Recording, peer: str, sdk: str) -> None:
    """Switches the other instrumentation on."""
    if peer != "logfire":
        provider = recording.start()
        module = importlib.import_module(PEERS[peer].format(sdk=sdk))
        getattr(module, CLASSES[sdk])().instrument(tracer_provider=provider)
        return
    import logfire

    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=recording.processors)
    getattr(logfire, f"instrument_{sdk}")()
    recording.start(trace.get_tracer_provider())


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


def main() -> None:
    """Runs the calls and prints the spans."""
    peer, sdk, *rest = sys.argv[1:]
    recording = Recording()
    if rest:
        hook = importlib.import_module(f"cylestio_monitor.capture.{sdk}")
        getattr(hook, CLASSES[sdk])().instrument()
    start(recording, peer, sdk)
    with WireServer() as wire:
        (anthropic_calls if sdk == "anthropic" else openai_calls)(wire)
        gc.collect()
        recording.pipeline.flush()
        recording.print(requests=len(wire.requests))


main()
