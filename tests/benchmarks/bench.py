"""What monitoring costs, each figure beside the same thing without it, from one run on one machine.

`make bench` prints the table; with `--write` this program also writes `docs/explanation/overhead.md`. Times depend on
the machine and on what else runs there: read the ratios. Monitored and plain rounds alternate, so both meet the same
noise, and each figure is the median over the rounds. Where one thread does the work its CPU time is taken, which a busy
machine stretches less than the clock.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "overhead.md"
WORDS = "The quarterly report compares delivery times of the northern and southern warehouses with last year. "
CHUNKS = 400


class Figure(NamedTuple):
    """One row of the table.

    Attributes:
        what: What was measured.
        plain: The same without monitoring, in `unit`.
        monitored: With it, in `unit`.
        unit: ``us``, ``ms`` or ``/s``.
        added: What monitoring adds, as it is shown.
    """

    what: str
    plain: float | None
    monitored: float
    unit: str
    added: str

    @property
    def ratio(self) -> str:
        """Monitored over plain."""
        return f"{self.monitored / self.plain:.2f}" if self.plain else ""


def text(size: int) -> str:
    """Prose of `size` characters in which nothing is found."""
    return (WORDS * (size // len(WORDS) + 1))[:size]


def main() -> int:
    """Measures, prints, and with `--write` writes the page."""
    logging.disable(logging.CRITICAL)
    # The SDK's own tracing would be part of the plain call as soon as a tracer provider is there.
    os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CYLESTIO_DB_PATH"] = str(Path(folder) / "cylestio.db")
        os.environ["CYLESTIO_CONTENT"] = "masked"
        os.environ["CYLESTIO_SCAN_ENGINE"] = "hyperscan"  # `auto` would begin with the other engine where no cache is
        figures = [*start_up(folder), *calls(), *scans(), *spans()]
    print(table(figures))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(figures), "utf-8")
    return 0


def start_up(folder: str) -> Iterator[Figure]:
    """Import and set-up in a process of its own, with every SDK installed and none imported."""
    code = "import time; {}; print(time.process_time())"
    sdk = "import opentelemetry.sdk.trace"
    ours = (
        f"{sdk}; from cylestio_monitor.otel import launcher, instrumentors; "
        "launcher.pre_instrument(); instrumentors.instrument()"
    )
    environment = {
        **os.environ,
        "CYLESTIO_DB_PATH": str(Path(folder) / "start.db"),
        # With byte code kept, as an installed package has it, also where the caller's environment keeps none.
        "PYTHONPYCACHEPREFIX": folder,
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def seconds(statement: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", code.format(statement)], env=environment, capture_output=True, text=True, check=True
        )
        return float(done.stdout.split()[-1])

    seconds(ours)  # byte code and the compiled rules are made on a first start
    pairs = [(seconds(sdk) * 1e3, seconds(ours) * 1e3) for _ in range(7)]
    plain, monitored = (statistics.median(column) for column in zip(*pairs, strict=True))
    yield Figure(
        "start: OpenTelemetry SDK; with monitoring set up", plain, monitored, "ms", f"{monitored - plain:.1f} ms"
    )


def calls() -> Iterator[Figure]:
    """Calls of the real SDK over a transport that answers at once."""
    from cylestio_monitor import start_monitoring, stop_monitoring

    start_monitoring("bench")
    try:
        for size, count in ((1_000, 30), (100_000, 6)):
            client = anthropic_client()
            message = {"role": "user", "content": text(size)}

            def create(client: Any = client, message: Any = message) -> None:
                client.messages.create(model="m", max_tokens=64, messages=[message])

            plain, monitored = alternating(create, count)
            yield figure(f"`create`, {size // 1000} KB", plain, monitored)
        results = {}
        for chunks in (1, CHUNKS):
            client = anthropic_client(chunks)

            def stream(client: Any = client) -> None:
                for _ in client.messages.create(
                    model="m", max_tokens=64, messages=[{"role": "user", "content": "Hello"}], stream=True
                ):
                    pass

            results[chunks] = alternating(stream, 4)
        plain, monitored = ((results[CHUNKS][side] - results[1][side]) / (CHUNKS - 1) for side in (0, 1))
        yield figure("a chunk of a streamed answer", plain, monitored)
    finally:
        stop_monitoring()


def figure(what: str, plain: float, monitored: float) -> Figure:
    """Times in seconds as a row in microseconds."""
    return Figure(what, plain * 1e6, monitored * 1e6, "us", f"{(monitored - plain) * 1e6:.1f} us")


def alternating(call: Callable[[], None], count: int, rounds: int = 7) -> tuple[float, float]:
    """Median seconds of a call, plain and monitored, in rounds of `count` that alternate."""
    from cylestio_monitor.otel import instrumentors, setup

    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds + 1):
        for hooked in (False, True):
            (instrumentors.instrument if hooked else instrumentors.uninstrument)()
            call()
            begun = time.thread_time()
            for _ in range(count):
                call()
            if number:  # the first round warms up
                times[hooked].append((time.thread_time() - begun) / count)
            running = setup.running()
            if running is not None and running.store is not None:
                running.store.flush(10)
    return statistics.median(times[False]), statistics.median(times[True])


def anthropic_client(chunks: int = 0) -> Any:
    """A client whose transport answers every request from memory: a message, or a stream of that many text chunks."""
    import anthropic
    import httpx2

    usage = {"input_tokens": 200, "output_tokens": 20}
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": text(200)}], "usage": usage,
    }  # fmt: skip
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "four or five "}}
    events = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[delta] * chunks,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()

    def answer(_request: Any) -> Any:
        if chunks:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
        return httpx2.Response(200, json=message)

    return anthropic.Anthropic(
        api_key="none-needed", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)), max_retries=0
    )


def scans() -> Iterator[Figure]:
    """The scanner alone, over text in which nothing is found."""
    from cylestio_monitor import config
    from cylestio_monitor.scan import Scanner

    scanner = Scanner(config.load().settings, key=bytes(32))
    for size, count in ((1_000, 1000), (10_000, 200), (100_000, 30)):
        given = text(size)
        times = []
        for _ in range(9):
            begun = time.thread_time()
            for _ in range(count):
                scanner.text(given, target="input", subtype="llm")
            times.append((time.thread_time() - begun) / count)
        micros = statistics.median(times) * 1e6
        yield Figure(
            f"scan of {size // 1000} KB, nothing found", None, micros, "us", f"{micros / size * 1e3:.2f} us/KB"
        )


def spans(count: int = 3000) -> Iterator[Figure]:
    """Spans of 2 KB made by the SDK alone, and made and committed to the store."""
    from opentelemetry.sdk.trace import TracerProvider

    with store() as processor:
        rates: dict[bool, list[float]] = {False: [], True: []}
        costs: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(5):
            for stored in (False, True):
                provider = TracerProvider(shutdown_on_exit=False)
                if stored:
                    provider.add_span_processor(processor)
                tracer = provider.get_tracer("bench")
                begun, used = time.perf_counter(), time.process_time()
                for number in range(count):
                    with tracer.start_as_current_span("chat m") as span:
                        span.set_attributes({"gen_ai.operation.name": "chat", "number": number, "text": text(1800)})
                if stored:
                    processor.force_flush(60_000)
                rates[stored].append(count / (time.perf_counter() - begun))
                costs[stored].append((time.process_time() - used) / count)
    plain, monitored = statistics.median(rates[False]), statistics.median(rates[True])
    added = f"{(statistics.median(costs[True]) - statistics.median(costs[False])) * 1e6:.0f} us CPU a span"
    yield Figure("spans of 2 KB: made; made and on disk", plain, monitored, "/s", added)


@contextmanager
def store() -> Iterator[Any]:
    """A span processor over a store of its own."""
    from cylestio_monitor import config
    from cylestio_monitor.otel.processor import CylestioSpanProcessor
    from cylestio_monitor.store import Store

    with tempfile.TemporaryDirectory() as folder:
        opened = Store.open(Path(folder) / "bench.db", config.Settings().store)
        try:
            yield CylestioSpanProcessor(lambda: opened)
        finally:
            opened.close()


def table(figures: list[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = ["| what | plain | monitored | ratio | added |", "|---|---:|---:|---:|---:|"]
    for row in figures:
        plain = "" if row.plain is None else f"{row.plain:,.1f} {row.unit}"
        rows.append(f"| {row.what} | {plain} | {row.monitored:,.1f} {row.unit} | {row.ratio} | {row.added} |")
    return "\n".join(rows)


def page(figures: list[Figure]) -> str:
    """The page of the documentation."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}"
    return f"""# What monitoring costs

<!-- Written by tests/benchmarks/bench.py --write: measure again, do not edit. -->

Medians from one run ({machine}). Plain and monitored rounds alternate, so the ratios hold where the times do not. Calls
are made with the real Anthropic SDK over a transport that answers from memory; scan, store and masked content are on.
Times of calls and scans are CPU time of the thread that makes them, the start is CPU time of the process, and spans a
second go by the clock.

{table(figures)}

- *start* is a process that imports the OpenTelemetry SDK, without and with monitoring set up: settings, rules (compiled
  before), store, hooks. No SDK of a model is imported for it.
- *a chunk* is the difference between an answer of {CHUNKS} chunks and one of a single chunk, divided by their number.
- *spans* are made by one thread; the plain ones go nowhere.
"""


if __name__ == "__main__":
    sys.exit(main())
