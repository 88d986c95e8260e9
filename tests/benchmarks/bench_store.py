"""The local store at size: CPU and bytes of a span while the file grows, then the pages of the web UI over it.

usage: python tests/benchmarks/bench_store.py [SPANS] [FILE]     (default: 100000, a file that is removed afterwards)

Spans are made and committed in groups, as the writer's thread commits them; the time of making them does not count.
CPU time of the process is taken, which a busy machine stretches less than the clock. A `FILE` that exists is only read.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import typical_span
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from cylestio_monitor import config, semconv
from cylestio_monitor.store.ingest.queue import PendingWrite, Queue
from cylestio_monitor.store.ingest.writer import Writer
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP = 512
RUN = 20  # spans of a run
FLAGGED = 100  # one span of so many has a finding
SECONDS = 60  # longest time for the pages
RULES = ("injection.ignore-instructions", "secret.aws-access-key-id", "keyword.drop", "injection.hide-from-user")
PAGES = (
    "/",
    "/findings",
    "/findings?severity=high",
    "/findings/{group}",
    "/runs",
    "/runs?agent=agent-7",
    "/runs?severity=high",
    "/t/{trace}",
    "/t/{trace}/timeline",
    "/t/{trace}/span/{span}",
    "/sessions",
    "/s/{session}",
    "/users",
    "/tools",
    "/policy",
    "/approvals",
    "/incidents",
    "/delivery",
    "/audit",
    "/settings",
    "/search?q=invoice",
    "/search?q={session}",
)


class Making(SpanProcessor):
    """Makes spans of runs, of which some are flagged, and keeps them until they are taken."""

    def __init__(self, first_ns: int, step_ns: int) -> None:
        """Makes none yet: the first begins at `first_ns`, each other one `step_ns` later."""
        provider = TracerProvider(resource=Resource.create({"service.name": "bench"}), shutdown_on_exit=False)
        provider.add_span_processor(self)
        self._tracer = provider.get_tracer(semconv.SCOPE, "1")
        self._plain = [typical_span.attributes(number) for number in range(2000)]
        self._flagged = [typical_span.attributes(number, alert="dangerous", severity=3) for number in range(20)]
        self._first_ns, self._step_ns = first_ns, step_ns
        self._spans: list = []
        self._number = 0
        self._root = None

    def on_end(self, span) -> None:
        """Keeps a span."""
        self._spans.append(span)

    def take(self, count: int) -> list:
        """Makes so many spans."""
        self._spans = []
        for _ in range(count):
            self._make(self._number)
            self._number += 1
        return self._spans

    def _make(self, number: int) -> None:
        start_ns = self._first_ns + number * self._step_ns
        is_flagged = number % FLAGGED == RUN // 2
        attributes = dict(
            self._flagged[number // FLAGGED % len(self._flagged)]
            if is_flagged
            else self._plain[number % len(self._plain)]
        )
        attributes[semconv.CYLESTIO_AGENT_ID] = f"agent-{number // RUN % 50}"
        attributes[semconv.CYLESTIO_SESSION_ID] = f"session-{number // (3 * RUN):08x}"
        attributes[semconv.ENDUSER_ID] = f"user-{number // (3 * RUN) % 5000}"
        if number % 5 == 3:
            tool = f"tool-{number // RUN % 10 * 4 + number // 5 % 4}"  # each agent has four tools
            attributes[semconv.OPERATION_NAME], attributes[semconv.TOOL_NAME] = "execute_tool", tool
        if number % RUN == 0:
            self._root = None
        span = self._tracer.start_span("chat", context=self._root, attributes=attributes, start_time=start_ns)
        if self._root is None:
            self._root = trace.set_span_in_context(span)
        if is_flagged:
            span.add_event(semconv.EVENT_FINDING, _finding(number), timestamp=start_ns)
        span.end(start_ns + self._step_ns // 2)


def _finding(number: int) -> dict:
    return {
        semconv.FINDING_RULE: RULES[number // FLAGGED % len(RULES)],
        semconv.FINDING_CATEGORY: "prompt_injection",
        semconv.FINDING_SEVERITY: "high",
        semconv.FINDING_ALERT: "dangerous",
        semconv.FINDING_TARGET: "input",
        semconv.FINDING_SUBTYPE: "tool_result",
        semconv.FINDING_PATH: "messages[0].content",
        semconv.FINDING_START: 0,
        semconv.FINDING_END: 9,
        semconv.FINDING_HASH: f"{number // FLAGGED % 977:016x}",
        semconv.FINDING_SOURCE: f"tool:tool-{number % 37}",
    }


def fill(path: Path, count: int) -> None:
    """Fills a file; prints CPU and bytes of a span for each tenth of it."""
    settings = config.StoreSettings(max_mb=60_000)
    writer = Writer(path, settings, keys.load_or_create(path)[0], None)
    step_ns = 7 * 86_400 * 1_000_000_000 // max(count, 100_000)  # a week
    making, queue = Making(time.time_ns() - count * step_ns, step_ns), Queue()
    done, spent, shown = 0, 0.0, (0, 0.0)
    while done < count:
        group = [PendingWrite(queue, "span", span, 2000, False) for span in making.take(GROUP)]
        begun = time.process_time()
        writer.write(group)
        spent += time.process_time() - begun
        done += GROUP
        if done - shown[0] >= count // 10:
            micros = (spent - shown[1]) / (done - shown[0]) * 1e6
            print(f"{done:12,} spans  {micros:6.1f} us CPU a span  {path.stat().st_size / done:7,.0f} bytes a span")
            shown = (done, spent)
    begun = time.process_time()
    while writer.index():
        pass
    print(f"full-text index: {(time.process_time() - begun) / done * 1e6:.1f} us CPU a span")
    writer.close()


def pages(path: Path) -> Iterator[tuple[str, list[float], int]]:
    """Yields each page, the milliseconds of CPU of its answers, and the size of the largest one."""
    from web.conftest import browsing

    with queries.connect(path) as connection:
        runs = connection.execute(
            "SELECT trace_id, session_id FROM run WHERE severity_number > 0 ORDER BY id DESC LIMIT 20"
        )
        chosen = [tuple(row) for row in runs]
        groups = [
            row[0] for row in connection.execute("SELECT group_id FROM finding_group ORDER BY last_ns DESC LIMIT 20")
        ]
        spans = [
            connection.execute("SELECT span_id FROM spans WHERE trace_id = ? LIMIT 1", (trace_id,)).fetchone()[0]
            for trace_id, _ in chosen
        ]
    until = time.monotonic() + SECONDS
    with browsing(path) as browser:
        for page in PAGES:
            taken, largest = [], 0
            for number in range(20):
                (trace_id, session), span = chosen[number % len(chosen)], spans[number % len(spans)]
                group = groups[number % len(groups)]
                address = page.format(trace=trace_id, session=session, span=span, group=group)
                begun = time.process_time()
                answer = browser.get(address)
                taken.append((time.process_time() - begun) * 1e3)
                assert answer.status_code == 200, (address, answer.status_code)
                largest = max(largest, len(answer.content))
                if time.monotonic() > until and number >= 4:
                    break
            yield page, sorted(taken), largest


def main() -> None:
    """Prints the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "bench.db"
        if not path.exists():
            fill(path, count)
        print(f"{'page':28} {'median':>9} {'p95':>9} {'HTML':>8}")
        for page, taken, largest in pages(path):
            at = min(len(taken) - 1, round(len(taken) * 0.95))
            print(f"{page:28} {taken[len(taken) // 2]:6.1f} ms {taken[at]:6.1f} ms {largest / 1e3:5.0f} KB", flush=True)


if __name__ == "__main__":
    main()
