"""What this and other instrumentations of the same SDKs add to a call, measured alike in one run.

`make bench-peers` makes an environment with the other packages (`requirements/peers.in`) outside the checkout, runs
each instrumentation in a process of its own there, and writes `docs/explanation/cost-of-others.md`. All have message
content switched on, and write to a batch processor whose exporter does nothing; this one scans as well. Calls go over a
transport that answers from memory. Plain and instrumented rounds alternate, and each figure is the difference of the
fastest rounds, in microseconds of processor time of the calling thread, which other work on the machine disturbs less
than it disturbs the clock.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "cost-of-others.md"
TEXT = """# What others cost

<!-- Written by tests/benchmarks/bench_peers.py: measure again, do not edit. -->

What each instrumentation adds to the same calls of the same SDKs, from one run with Python {python}. All have message
content switched on and write to a batch processor whose exporter does nothing; Cylestio Monitor scans both sides, too.
Times are processor time of the calling thread over a transport that answers from memory, plain and instrumented rounds
alternating: compare the columns, the machine decides the figures.

{table}

*Import and instrument* is what a process pays beyond the OpenTelemetry SDK and its instrumentor base, before it makes a
call. Some instrumentations import the SDK then, which the application would do a little later anyway.

The packages:

{packages}
"""
sys.path.insert(0, str(TESTS))

PEERS = {
    "Cylestio Monitor": ("cylestio_monitor.capture.anthropic", "cylestio_monitor.capture.openai"),
    "OpenInference": ("openinference.instrumentation.anthropic", "openinference.instrumentation.openai"),
    "OpenLLMetry": ("opentelemetry.instrumentation.anthropic", "opentelemetry.instrumentation.openai"),
    "OpenTelemetry GenAI": (
        "opentelemetry.instrumentation.genai.anthropic",
        "opentelemetry.instrumentation.genai.openai",
    ),
    "SDK's own": None,
}
"""The instrumentations, and where each has its two instrumentors."""

CHUNKS = 300
CONTENT = {
    "ANTHROPIC_OPEN_TELEMETRY": "false",
    "CYLESTIO_CONTENT": "masked",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
}


def main() -> None:
    """Measures every instrumentation and prints the table."""
    from peers.environment import environment, run

    python = environment("peers")
    found = {name: {**run(python, Path(__file__), name, **CONTENT), **start(python, name)} for name in PEERS}
    rows = [row for row in found["Cylestio Monitor"] if row != "stderr"]
    lines = [f"| added | {' | '.join(PEERS)} |", "|---|" + "---:|" * len(PEERS)]
    for row in rows:
        cells = ["-" if (value := found[name].get(row)) is None else f"{value:,.1f}" for name in PEERS]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    print(table)
    versions = (TESTS.parent / "requirements" / "peers.in").read_text("utf-8").splitlines()
    packages = "\n".join(f"- `{line}`" for line in versions if "==" in line and "lang" not in line)
    PAGE.write_text(TEXT.format(table=table, packages=packages, python=platform.python_version()), "utf-8")


def start(python: Path, name: str) -> dict[str, float]:
    """Milliseconds of processor time that importing and instrumenting both SDKs adds; neither SDK is imported by it."""
    modules = PEERS[name]
    if modules is None:
        return {}
    base = (
        "import time, opentelemetry.instrumentation.instrumentor; from opentelemetry import trace; "
        "from opentelemetry.sdk.trace import TracerProvider; p = TracerProvider(); trace.set_tracer_provider(p)"
    )
    hooks = "; ".join(
        f"import {module}; {module}.{sdk}Instrumentor().instrument(tracer_provider=p, skip_dep_check=True)"
        for module, sdk in zip(modules, ("Anthropic", "OpenAI"), strict=True)
    )

    def seconds(statement: str) -> float:
        code = f"{statement}; print(time.process_time())"
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment = {**inherited, "PYTHONPATH": str(TESTS.parent / "src"), **CONTENT}
        done = subprocess.run(
            [python, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        return float(done.stdout.split()[-1])

    seconds(f"{base}; {hooks}")  # byte code is written by a first start
    pairs = [(seconds(base), seconds(f"{base}; {hooks}")) for _ in range(7)]
    plain, hooked = (min(column) for column in zip(*pairs, strict=True))
    return {"import and instrument both SDKs, ms": (hooked - plain) * 1e3}


def measure(name: str) -> dict[str, float]:
    """The figures of one instrumentation, in microseconds."""
    from opentelemetry import trace

    made = provider()
    trace.set_tracer_provider(made)
    text = ("The quarterly report compares delivery times of the northern and southern warehouses. " * 1200)[:100_000]
    figures = {}
    for sdk, stream_client in (("Anthropic", anthropic_client), ("OpenAI", openai_client)):
        switch = switches(name, sdk, made)
        if switch is None:
            continue
        for size, count in ((1_000, 40), (100_000, 8)):
            figures[f"{sdk} create, {size // 1000} KB, us"] = added(switch, stream_client(0), text[:size], count)
        one, many = (added(switch, stream_client(chunks), "Hello", 4) for chunks in (1, CHUNKS))
        figures[f"{sdk} streamed chunk, us"] = (many - one) / (CHUNKS - 1)
    return figures


def provider() -> Any:
    """A tracer provider whose spans are batched and go nowhere."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(Nowhere()))
    return made


def own_tracing(provider: Any) -> dict[str, Any]:
    """The option of the Anthropic SDK that has it trace itself, with content."""
    return {"traces": {"enabled": True, "content_mode": "content"}, "tracer_provider": provider}


class Nowhere:
    """An exporter that does nothing."""

    def export(self, _: Any) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Has nothing to close."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return bool(timeout_millis) or True


def switches(name: str, sdk: str, provider: Any) -> Callable[[bool, Any], Any] | None:
    """What switches an instrumentation on or off, and gives the client to be used then."""
    modules = PEERS[name]
    if modules is None:
        if sdk == "OpenAI":
            return None
        own = own_tracing(provider)

        def choose(on: bool, client: Any) -> Any:
            return client.with_options(open_telemetry=own if on else False)

        return choose
    module = importlib.import_module(modules[0 if sdk == "Anthropic" else 1])
    instrumentor = getattr(module, f"{sdk}Instrumentor")()

    def switch(on: bool, client: Any) -> Any:
        if on:
            instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
        else:
            instrumentor.uninstrument()
        return client

    return switch


def added(switch: Callable[[bool, Any], Any], client: Any, text: str, count: int, rounds: int = 9) -> float:
    """Microseconds that an instrumentation adds to one call."""
    call, given = client
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for on in (True, False):
            used = switch(on, given)
            for _ in range(count):  # what was switched on prepares itself in its first calls
                call(used, text)
            begun = time.thread_time()
            for _ in range(count):
                call(used, text)
            if number:  # the first round warms up
                times[on].append((time.thread_time() - begun) / count)
    return (min(times[True]) - min(times[False])) * 1e6


def anthropic_client(chunks: int) -> tuple[Callable[[Any, str], None], Any]:
    """A way to call, and a client whose transport answers from memory."""
    import anthropic

    from wire import anthropic_format as wire

    client = anthropic.Anthropic(
        api_key="k", http_client=transport(wire.events(answer(chunks), {}), wire.message(answer(chunks), {}), chunks)
    )

    def call(used: Any, text: str) -> None:
        message = {"role": "user", "content": text}
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

    def call(used: Any, text: str) -> None:
        message = {"role": "user", "content": text}
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
    if len(sys.argv) > 1:
        os.environ.update(CONTENT)
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
