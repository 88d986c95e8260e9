"""What monitoring costs, each figure beside the same thing without it, from one run on one machine.

`make bench` prints the table; with `--write` this program also writes `docs/explanation/overhead.md`, and
`--memory FILE` adds what `bench_memory.py --json` printed into that file. Times depend on the machine and on what else
runs there: read the ratios. Monitored and plain processes take turns, so both meet the same noise, and the fastest of
each counts, as what else runs on the machine only ever adds. Where one thread does the work its CPU time is taken,
which a busy machine stretches less than the clock.
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
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent))
import call_costs
from call_costs import CHUNKS
from real_text import passages

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "overhead.md"


class Figure(NamedTuple):
    """One row of the table.

    Attributes:
        what: What was measured.
        plain: The same without monitoring, in `unit`.
        monitored: With it, in `unit`.
        unit: ``us``, ``ms`` or ``/s``.
        added: What monitoring adds, as it is shown.
        own: What the SDK's own tracing adds to the same, as it is shown.
    """

    what: str
    plain: float | None
    monitored: float
    unit: str
    added: str
    own: str = ""

    @property
    def ratio(self) -> str:
        """Monitored over plain."""
        return f"{self.monitored / self.plain:.2f}" if self.plain else ""


def main() -> int:
    """Measures, prints, and with `--write` writes the page."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CYLESTIO_DB_PATH"] = str(Path(folder) / "cylestio.db")
        os.environ["CYLESTIO_SCAN_ENGINE"] = "hyperscan"  # `auto` would begin with the other engine where no cache is
        figures = [*start_up(folder), *calls(folder), *scans(), *spans(), *memory()]
    print(table(figures))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(figures), "utf-8")
    return 0


def start_up(folder: str) -> Iterator[Figure]:
    """Import and set-up in processes of their own, with every SDK installed."""
    code = "import time; {}; print(time.process_time())"
    # What every instrumentation needs, the tracer provider included, before it is anything of its own.
    base = (
        "import opentelemetry.sdk.trace, opentelemetry.instrumentation.instrumentor; from opentelemetry import trace; "
        "trace.set_tracer_provider(opentelemetry.sdk.trace.TracerProvider())"
    )
    ours = (
        f"{base}; from cylestio_monitor.otel import launcher, instrumentors; "
        "launcher.pre_instrument(); instrumentors.instrument()"
    )
    sdk = "import anthropic"
    ready = f"{ours}; {sdk}; from cylestio_monitor import runtime; runtime.wait(60)"
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

    seconds(ready)  # byte code and the compiled rules are made on a first start
    for what, without, with_ in (
        ("start: OpenTelemetry; with every hook set", base, ours),
        ("the same and `import anthropic`; ready for a call", f"{base}; {sdk}", ready),
    ):
        pairs = [(seconds(without) * 1e3, seconds(with_) * 1e3) for _ in range(9)]
        plain, monitored = (min(column) for column in zip(*pairs, strict=True))
        yield Figure(what, plain, monitored, "ms", f"{monitored - plain:.1f} ms")


def calls(folder: str) -> Iterator[Figure]:
    """Calls of the real SDKs over a transport that answers at once: plain, monitored, and traced by the SDK itself."""
    program = Path(call_costs.__file__)

    def costs(name: str) -> dict[str, float]:
        environment = {**os.environ, **call_costs.CONTENT, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(
            [sys.executable, str(program), name], env=environment, capture_output=True, text=True, check=True
        )
        found: dict[str, float] = json.loads(done.stdout)
        return found

    found = call_costs.in_turns(costs, (call_costs.NONE, call_costs.STORED, call_costs.OWN))
    plain, monitored, own = found.values()
    for row, micros in monitored.items():
        shown = f"{own[row] - plain[row]:.1f} us" if row in own else ""
        yield Figure(row, plain[row], micros, "us", f"{micros - plain[row]:.1f} us", shown)


def scans() -> Iterator[Figure]:
    """The scanner alone, over real text, in which it finds nothing or nearly nothing."""
    from cylestio_monitor import config
    from cylestio_monitor.scan import Scanner

    scanner = Scanner(config.load().settings, key=bytes(32))
    for size, count in ((1_000, 300), (10_000, 40), (100_000, 4)):
        texts = passages(size)
        times = []
        for _ in range(9):
            given = [next(texts) for _ in range(count)]
            begun = time.thread_time()
            for one in given:
                scanner.text(one, target="input", subtype="llm")
            times.append((time.thread_time() - begun) / count)
        micros = statistics.median(times) * 1e6
        yield Figure(f"scan of {size // 1000} KB of real text", None, micros, "us", f"{micros / size * 1e3:.2f} us/KB")


def spans(count: int = 3000) -> Iterator[Figure]:
    """Spans of 2 KB made by the SDK alone, and made and committed to the store."""
    from opentelemetry.sdk.trace import TracerProvider

    texts = passages(1_800)
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
                        span.set_attributes({"gen_ai.operation.name": "chat", "number": number, "text": next(texts)})
                if stored:
                    processor.force_flush(60_000)
                rates[stored].append(count / (time.perf_counter() - begun))
                costs[stored].append((time.process_time() - used) / count)
    plain, monitored = statistics.median(rates[False]), statistics.median(rates[True])
    added = f"{(statistics.median(costs[True]) - statistics.median(costs[False])) * 1e6:.0f} us CPU a span"
    yield Figure("spans of 2 KB: made; made and on disk", plain, monitored, "/s", added)


def memory() -> Iterator[Figure]:
    """Growth of the process, from what `bench_memory.py --json` printed into the file that is named last."""
    if "--memory" in sys.argv[1:]:
        for what, megabytes in json.loads(Path(sys.argv[-1]).read_text("utf-8")).items():
            yield Figure(f"memory: {what}", None, megabytes, "MB", "")


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
    rows = [
        "| what | plain | monitored | ratio | added | the SDK's own tracing adds |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in figures:
        plain = "" if row.plain is None else f"{row.plain:,.1f} {row.unit}"
        rows.append(
            f"| {row.what} | {plain} | {row.monitored:,.1f} {row.unit} | {row.ratio} | {row.added} | {row.own} |"
        )
    return "\n".join(rows)


def page(figures: list[Figure]) -> str:
    """The page of the documentation."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}"
    return f"""# What monitoring costs

<!-- Written by tests/benchmarks/bench.py --write: measure again, do not edit. -->

From one run ({machine}). Plain and monitored processes take turns, so the ratios
hold where the times do not. Calls are made with the real SDKs over a transport that answers from memory; scan, store
and masked content are on. Each call has another passage of real text (the reference of the Python language). A call's
time is CPU time of the thread that makes it, the median call of the fastest of nine processes; the start is CPU time of
the process; spans a second go by the clock.

{table(figures)}

- *start* is a process with the OpenTelemetry SDK and a tracer provider, without and with monitoring set up; no SDK of a
  model is imported. Once one is, a thread opens store and rules: *ready for a call* counts that thread's time too.
- *a chunk* is the difference between an answer of {CHUNKS} chunks and one of a single chunk, divided by their number.
- *the SDK's own tracing* is that of the Anthropic SDK, with content, to a batch processor whose exporter does nothing.
- *memory* is from `tests/benchmarks/bench_memory.py`: 100,000 calls, and 10,000 streams dropped without a word.
- *spans* are made by one thread; the plain ones go nowhere.
"""


if __name__ == "__main__":
    sys.exit(main())
