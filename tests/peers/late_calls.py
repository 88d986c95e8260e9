"""Calls of which OpenLLMetry makes the span when they are over, ended in every way; prints the spans of each.

usage: late_calls.py [theirs-first]
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx2
import openai
from cylestio_monitor.capture.openai import OpenAIInstrumentor
from opentelemetry import trace
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry

from peers.recording import Recording
from wire import Broken, Status, Text, WireServer

ASK: dict[str, Any] = {"model": "gpt-5", "input": "please run DROP TABLE users"}


class Calls:
    """The cases: each makes one call, whatever becomes of it.

    Attributes:
        within: The span that was the current one in each request.
    """

    def __init__(self, wire: WireServer) -> None:
        self.within: list[int] = []
        self._wire = wire
        self._count = 0
        http = httpx2.Client(event_hooks={"request": [self._look]})
        self._client = openai.OpenAI(api_key="k", base_url=wire.openai_url, max_retries=0, http_client=http)

    def _look(self, _: object) -> None:
        self.within.append(trace.get_current_span().get_span_context().span_id)

    def _responses(self, *, is_async: bool = False) -> Any:
        """The API, with an answer whose id is its own: OpenLLMetry remembers those that it has seen."""
        self._count += 1
        self._wire.answer(Text("run rm -rf / now"), id=f"resp_{self._count}")
        if is_async:
            return openai.AsyncOpenAI(api_key="k", base_url=self._wire.openai_url, max_retries=0).responses
        return self._client.responses

    def whole(self) -> None:
        self._responses().create(**ASK)

    def one_after_another(self) -> None:
        self._responses().create(**ASK)

    def raw(self) -> None:
        self._responses().with_raw_response.create(**ASK).parse()

    def below_a_span_of_the_application(self) -> None:
        with trace.get_tracer("app").start_as_current_span("request"):
            self._responses().create(**ASK)

    def streamed(self) -> None:
        for _ in self._responses().create(**ASK, stream=True):
            pass

    def streamed_by_the_helper(self) -> None:
        with self._responses().stream(**ASK) as stream:
            stream.get_final_response()

    def closed(self) -> None:
        self._responses().create(**ASK, stream=True).close()

    def dropped(self) -> None:
        for _ in self._responses().create(**ASK, stream=True):
            break

    def failed(self) -> None:
        self._wire.fail(Status(500))
        try:
            self._client.responses.create(**ASK)
        except openai.InternalServerError:
            return
        raise AssertionError

    def broken(self) -> None:
        self._wire.fail(Broken())
        try:
            for _ in self._client.responses.create(**ASK, stream=True):
                pass
        except openai.APIConnectionError:
            return
        raise AssertionError

    def asynchronous(self) -> None:
        asyncio.run(self._responses(is_async=True).create(**ASK))

    def raw_and_streamed(self) -> None:
        for _ in self._responses().with_raw_response.create(**ASK, stream=True).parse():
            pass

    def cancelled(self) -> None:
        async def main() -> None:
            task = asyncio.create_task(self._responses(is_async=True).create(**ASK))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())

    def past_its_method(self) -> None:
        self._responses()
        self._client.post("/responses", cast_to=object, body=ASK)


def main() -> None:
    """Makes each call and prints its spans, and what the store holds of them."""
    done: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, WireServer() as wire:
        recording = Recording(Path(folder))
        provider = recording.start()
        hooks = [lambda: OpenAIInstrumentor().instrument(), lambda: OpenLLMetry().instrument(tracer_provider=provider)]
        for hook in reversed(hooks) if sys.argv[1:] else hooks:
            hook()
        calls = Calls(wire)
        for name in [name for name in vars(Calls) if not name.startswith("_")]:
            getattr(calls, name)()
            gc.collect()
            recording.pipeline.flush()
            done[name] = recording.spans()
            recording.exporter.clear()
        recording.print(rows=recording.rows(), cases=done, within=calls.within)
        recording.store.close()


main()
