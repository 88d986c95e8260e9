"""What calls of the real SDKs cost in a process with one instrumentation, or none; other benchmarks run it in turns.

usage: python tests/benchmarks/call_costs.py NAME

Each process has one instrumentation for its whole life: switching between them would have the interpreter adapt its
code anew each time, which costs more than what is measured. Calls go over a transport that answers from memory. Printed
is the median call of each row, in microseconds of processor time of the calling thread, which other work on the machine
disturbs less than it disturbs the clock.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from real_text import passages

TESTS = Path(__file__).resolve().parents[1]

NONE = "none"
OWN = "SDK's own"
STORED = "monitored"
"""The whole of this package: as `start_monitoring` sets it up, with scan and store."""

PEERS = {
    "Cylestio Monitor": ("cylestio_monitor.capture.anthropic", "cylestio_monitor.capture.sdks.openai"),
    "OpenInference": ("openinference.instrumentation.anthropic", "openinference.instrumentation.openai"),
    "OpenLLMetry": ("opentelemetry.instrumentation.anthropic", "opentelemetry.instrumentation.openai"),
    "OpenTelemetry GenAI": (
        "opentelemetry.instrumentation.genai.anthropic",
        "opentelemetry.instrumentation.genai.openai",
    ),
}
"""The instrumentations, and where each has its two instrumentors."""

CONTENT = {
    "ANTHROPIC_OPEN_TELEMETRY": "false",  # it would be part of every other row as soon as a tracer provider is there
    "CYLESTIO_CONTENT": "masked",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
}
CHUNKS = 400


def in_turns(run: Callable[[str], dict[str, float]], names: Iterable[str], rounds: int = 9) -> dict[str, Any]:
    """The rows of each name, every one from the process in which it was fastest.

    Args:
        run: Runs this program with a name and gives what it prints.
        names: What is measured, in turns, so that all meet the same noise.
        rounds: How many processes there are of each.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for _ in range(rounds):
        for name, rows in found.items():
            for row, micros in run(name).items():
                rows[row] = min(micros, rows.get(row, micros))
    return found


def measure(name: str) -> dict[str, float]:
    """The rows of one instrumentation, as far as it has the SDK, in microseconds."""
    rest = begin(name)
    figures: dict[str, float] = {}
    for sdk, make in (("Anthropic", anthropic_client), ("OpenAI", openai_client)):
        if name == OWN and sdk == "OpenAI":
            continue  # it has no tracing of its own
        for size, count in ((1_000, 200), (100_000, 60)):
            figures[f"{sdk} create, {size // 1000} KB"] = median(call_of(name, make(0)), passages(size), count, rest)
        one, many = (median(call_of(name, make(chunks)), passages(5), 10, rest) for chunks in (1, CHUNKS))
        figures[f"{sdk} streamed chunk"] = (many - one) / (CHUNKS - 1)
    return figures


def begin(name: str) -> Callable[[], None]:
    """Sets an instrumentation up; gives what is to be waited for between rows."""
    if name == STORED:
        from cylestio_monitor import start_monitoring
        from cylestio_monitor.otel import setup

        start_monitoring("bench")
        return lambda: setup.running().store.flush(10) and None
    if name in PEERS:
        made = provider()
        for module, sdk in zip(PEERS[name], ("Anthropic", "OpenAI"), strict=True):
            instrumentor = getattr(importlib.import_module(module), f"{sdk}Instrumentor")()
            instrumentor.instrument(tracer_provider=made, skip_dep_check=True)
    return lambda: None


def median(call: Callable[[str], None], texts: Iterator[str], count: int, rest: Callable[[], None]) -> float:
    """Microseconds of the median call; each has another text."""
    for _ in range(max(5, count // 4)):  # what was set up prepares itself, and the interpreter adapts
        call(next(texts))
    rest()
    times = []
    for _ in range(count):
        given = next(texts)
        begun = time.thread_time()
        call(given)
        times.append(time.thread_time() - begun)
    rest()
    return statistics.median(times) * 1e6


def call_of(name: str, made: tuple[Callable[[Any, str], None], Any]) -> Callable[[str], None]:
    """A call with a client; the client's own tracing is switched on where that is what is measured."""
    call, client = made
    if name == OWN:
        options = {"traces": {"enabled": True, "content_mode": "content"}, "tracer_provider": provider()}
        client = client.with_options(open_telemetry=options)
    return lambda given: call(client, given)


def provider() -> Any:
    """A tracer provider, set as the global one, whose spans are batched and go nowhere."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(made)
    return made


class Nowhere:
    """An exporter that does nothing."""

    def export(self, _: Any) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Has nothing to close."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return bool(timeout_millis) or True


def anthropic_client(chunks: int) -> tuple[Callable[[Any, str], None], Any]:
    """A way to call, and a client whose transport answers from memory."""
    import anthropic

    from wire import anthropic_format as wire

    client = anthropic.Anthropic(
        api_key="k", http_client=transport(wire.events(answer(chunks), {}), wire.message(answer(chunks), {}), chunks)
    )

    def call(used: Any, given: str) -> None:
        message = {"role": "user", "content": given}
        got = used.messages.create(model="m", max_tokens=64, messages=[message], stream=bool(chunks))
        for _ in got:
            pass

    return call, client


def openai_client(chunks: int) -> tuple[Callable[[Any, str], None], Any]:
    """A way to call, and a client whose transport answers from memory."""
    import openai

    from wire import openai_format as wire

    request = {"model": "m"}
    client = openai.OpenAI(
        api_key="k",
        http_client=transport(wire.chat_events(answer(chunks), request), wire.chat(answer(chunks), request), chunks),
    )

    def call(used: Any, given: str) -> None:
        message = {"role": "user", "content": given}
        got = used.chat.completions.create(model="m", messages=[message], stream=bool(chunks))
        for _ in got:
            pass

    return call, client


def answer(chunks: int) -> Any:
    """An answer of about 200 characters, or of so many chunks."""
    from wire.blocks import Answer, Text

    return Answer((Text("four or five " * (chunks or 15), piece=13),))


def transport(events: list[tuple[str, Any]], whole: Any, chunks: int) -> Any:
    """An HTTP client that gives every request the same answer."""
    import httpx2

    lines = [(f"event: {name}\n" if name else "", json.dumps(data)) for name, data in events]
    stream = "".join(f"{head}data: {data}\n\n" for head, data in lines).encode()

    def respond(_: Any) -> Any:
        if chunks:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
        return httpx2.Response(200, json=whole)

    return httpx2.Client(transport=httpx2.MockTransport(respond))


if __name__ == "__main__":
    os.environ.update(CONTENT)
    print(json.dumps(measure(sys.argv[1])))
