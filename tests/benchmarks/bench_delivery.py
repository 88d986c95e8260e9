"""Delivery and storage against the stock `BatchSpanProcessor` with OTLP over HTTP, in the same run on this machine.

Bounded, and on the loopback interface only. Without `--full` every row runs in a short form; `--only NAME` runs one;
`--write` puts the table into docs/explanation/delivery-figures.md. Absolute figures depend on the machine; what a
change did shows in the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import multiprocessing
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from benchmarks.delivery_faults import bench_exit, bench_faults, bench_kills, bench_power_cut
from benchmarks.delivery_table import SPANS, make, row, stock_tracer, table
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite.usage import DAY_NS
from store.collector import Collector
from store.filling import Bench

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "delivery-figures.md"


def cpu_of(action):
    gc.collect()
    started, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - started, time.perf_counter() - wall


def made(count):
    """Ended spans of 2 KB, out of the garbage collector's sight: the application does not hold them, only we do."""
    kept = []
    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}), shutdown_on_exit=False)
    provider.add_span_processor(type("Keep", (SpanProcessor,), {"on_end": lambda _, span: kept.append(span)})())
    tracer = provider.get_tracer("cylestio_monitor", "1")
    for number in range(count):
        make(tracer, number)
    gc.collect()
    gc.freeze()
    return kept


def paced(spans, take, rate):
    """Hands spans over at a rate, a hundred every time; CPU seconds of the process, and how long it took."""
    started, wall = time.process_time(), time.perf_counter()
    for first in range(0, len(spans), 100):
        for span in spans[first : first + 100]:
            take(span)
        time.sleep(max(0.0, wall + (first + 100) / rate - time.perf_counter()))
    return time.process_time() - started, time.perf_counter() - wall


def bench_store(folder, *, full):
    rate, spans = 10_000, made(60_000 if full else 20_000)
    count = len(spans)
    with running_sink() as (url, arrived):
        provider, _ = stock_tracer(url)
        processor = provider._active_span_processor._span_processors[0]
        stock_spent, stock_took = paced(spans, processor.on_end, rate)
        provider.force_flush(30_000)
        stock = f"{100 * (count - arrived()) / count:.0f} % at {count / stock_took:,.0f}/s"
        provider.shutdown()
    bench = Bench(folder / "paced.db")
    bench.store.flush(5)
    spent, took = paced(spans, bench.store.add_span, rate)
    waiting = bench.store.stats()["waiting"]
    bench.store.flush(60)
    stats = bench.store.stats()
    lost = count - stats["written"]["span"]
    bench.close()
    size = bench.path.stat().st_size / count
    row("lost, 2 KB spans handed over at 10,000/s", stock, f"{lost} at {count / took:,.0f}/s, {waiting} wait", "0")
    row(
        "  CPU a span beyond creating it",
        f"{stock_spent / count * 1e6:.0f} us, what was lost included",
        f"{spent / count * 1e6:.0f} us on disk",
        "<= 100 us",
    )
    row("bytes a stored 2 KB span", "2,082 (as JSON)", f"{size:,.0f}", "<= 1,100")
    bench = Bench(folder / "rate.db")
    _, took = cpu_of(lambda: (list(map(bench.store.add_span, spans[:40_000])), bench.store.flush(60)))
    row("most spans/s into the store", "-", f"{min(count, 40_000) / took:,.0f}/s", ">= 10,000/s")
    bench.close()
    bench = Bench(folder / "created.db")
    bare = TracerProvider(shutdown_on_exit=False).get_tracer("bare")
    alone = cpu_of(lambda: [make(bare, number) for number in range(4000)])[1] / 4000
    _, took = cpu_of(lambda: ([make(bench.tracer, number) for number in range(count // 2)], bench.store.flush(60)))
    row("  created in the same process", f"{1 / alone:,.0f}/s without any", f"{count // 2 / took:,.0f}/s", "")
    bench.close()
    gc.unfreeze()


@contextmanager
def running_sink():
    """A collector in a process of its own, and a function that says how many spans it took."""
    context = multiprocessing.get_context("spawn")
    pipe, far = context.Pipe()
    sink = context.Process(target=_sink, args=(far,))
    sink.start()

    def arrived():
        pipe.send("count")
        return pipe.recv()

    try:
        yield pipe.recv(), arrived
    finally:
        pipe.send("end")
        sink.join()


def _sink(pipe):
    with Collector() as collector:
        pipe.send(collector.url)
        while pipe.recv() != "end":
            pipe.send(len(collector.spans))


def bench_drain(folder, *, full):
    count = 30_000 if full else 6000
    rates = []
    for ours in (False, True):
        with running_sink() as (url, arrived):
            if ours:
                bench = Bench(folder / "drain.db")
                bench.store.forward(frozenset({"traces"}), None, lambda: None)
                for number in range(count):
                    make(bench.tracer, number)
                bench.store.flush(60)
                started = time.monotonic()
                outbox = bench.send_to(None, traces=OTLPSpanExporter(endpoint=f"{url}/v1/traces"))
                outbox.force_flush(120)
            else:
                provider, tracer = stock_tracer(url, max_queue_size=count + 1, schedule_delay_millis=3_600_000)
                for number in range(count):
                    make(tracer, number)
                started = time.monotonic()
                provider.force_flush(120_000)
            rates.append(arrived() / (time.monotonic() - started))
    bench.close()
    provider.shutdown()
    row("drain to a collector", f"{rates[0]:,.0f}/s", f"{rates[1]:,.0f}/s", ">= 6,000/s")


def bench_query(folder, *, full):
    count = 1_000_000 if full else 100_000
    bench = Bench(folder / "query.db", max_mb=4096)
    now = time.time_ns()
    flagged = {"cylestio.security.severity_number": 2, "cylestio.security.alert": "suspicious"}
    for number in range(count):
        start = now - (count - number) * (7 * DAY_NS // count)
        more = flagged if number % (count // 1162) == 0 else {}
        span = bench.tracer.start_span("chat", attributes={**SPANS[number % 1000], **more}, start_time=start)
        span.end(start + 1_000_000)
        if number % 5000 == 0:
            bench.store.flush(60)
    bench.store.flush(60)
    bench.store.close()
    since = datetime.now(timezone.utc) - timedelta(days=1)

    def flagged(connection):
        return queries.flagged(connection, since=since)

    def documented(connection):
        return connection.execute(
            "SELECT * FROM events WHERE json_extract(data, '$.alert') = 'suspicious' "
            "AND timestamp > datetime('now', '-1 day') ORDER BY timestamp DESC"
        ).fetchall()

    for name, question in (("flagged spans of 24 h among {:,}", flagged), ("  by the documented query", documented)):
        descriptor = os.open(bench.path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        times = []
        for _ in range(6):
            started = time.perf_counter()
            with queries.connect(bench.path) as connection:
                found = len(question(connection))
            times.append((time.perf_counter() - started) * 1000)
        text = f"{found} in {min(times[1:]):.1f} ms warm, {times[0]:.1f} cold"
        row(name.format(count), "-", text, "<= 5 warm, <= 60 cold")


@contextmanager
def waiting_time():
    """A function for seconds in which this thread could have run and the machine ran something else, so far.

    The file stays open: every call of the system lets go of the interpreter, and would add a gap of its own.
    """
    try:
        descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        yield lambda: 0.0  # the machine does not say
        return
    try:
        yield lambda: int(os.pread(descriptor, 64, 0).split()[1]) / 1e9
    finally:
        os.close(descriptor)


def bench_event_loop(folder, *, full):
    """The longest time in which an event loop does not turn, while spans are made, stored and sent."""
    rounds = 400 if full else 100

    async def gaps(work):
        worst = 0.0
        running = asyncio.create_task(work())
        with waiting_time() as waited:
            while not running.done():
                queued, before = waited(), time.perf_counter()
                await asyncio.sleep(0)
                gap = time.perf_counter() - before
                worst = max(worst, gap - (waited() - queued))
        return worst

    async def nothing():
        for _ in range(rounds):
            await asyncio.sleep(0.01)

    async def ours():
        for number in range(rounds):
            for more in range(5):
                make(bench.tracer, number + more)
            ticket = bench.span("flagged", attributes={"cylestio.security.severity_number": 4})
            await ticket.wait_async(1)
            await asyncio.sleep(0.005)

    async def stock():
        for number in range(rounds):
            for more in range(6):
                make(tracer, number + more)
            await asyncio.sleep(0.01)

    with running_sink() as (url, _):
        bench = Bench(folder / "loop.db")
        bench.send_to(None, traces=OTLPSpanExporter(endpoint=f"{url}/v1/traces"))
        provider, tracer = stock_tracer(url, schedule_delay_millis=500)
        # What the machine itself adds comes and goes: the best of several rounds is what the work causes.
        idle, theirs, own = (min(asyncio.run(gaps(one)) for _ in range(5)) for one in (nothing, stock, ours))
        provider.shutdown()
        bench.close()
    row(
        "longest event-loop gap", f"{theirs * 1000:.1f} ms ({idle * 1000:.1f} idle)", f"{own * 1000:.1f} ms", "<= 10 ms"
    )


ROWS = {
    "store": bench_store,
    "drain": bench_drain,
    "query": bench_query,
    "loop": bench_event_loop,
    "exit": bench_exit,
    "power": bench_power_cut,
    "kills": bench_kills,
    "faults": bench_faults,
}


HEAD = """# Delivery and storage in figures

<!-- Written by `make bench-delivery ARGS="--full --write"`; do not edit. -->

Against the stock `BatchSpanProcessor` with OTLP over HTTP; both sides of a row are of the same run on the same machine,
with real collectors that fail, real kills and real files, on the loopback interface. Trust the ratios: the absolute
figures are of {machine}, other programs on it included. [How it works](delivery.md).

| | stock | cylestio-monitor | aim |
|---|---|---|---|
"""

TAIL = """
- Handed over at 10,000/s: ended spans made beforehand, 100 every 10 ms; the processor time is of the whole process,
  with the writer, SQLite and the checkpoints. "Most" is as fast as one thread can hand over; "created" includes making
  the spans in the same process, under the same interpreter lock.
- Faults: 10,000 spans at 250/s, the fault after the first second. Refused records are those of which the collector
  said so (partial success). It does not say which, so the requests they came in are kept aside for a person to look at.
- Kills: "last" is the longest time between a span that is in the file and the kill, the time that the kill itself takes
  on a busy machine included; "holes" are files in which a span is missing between two others.
- Power cuts: the bytes that were not synced are torn, sector by sector, in a copy of the files.
- The event loop's gap is the best of five rounds, each with stored, sent and flagged spans, without the time in which
  the machine ran other programs in place of the loop.
"""


def write_page():
    """The table as a page; after every row, so that a run that is broken off leaves what it has.

    Rows that this run did not measure stay as they are.
    """
    machine = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
    lines = PAGE.read_text("utf-8").splitlines() if PAGE.exists() else []
    rows = {
        line.split(" | ", maxsplit=1)[0]: line for line in lines if line.startswith("| ") and not line.startswith("| |")
    }
    for one in table:
        line = f"| {' | '.join(text.strip() for text in one)} |"
        rows[line.split(" | ", maxsplit=1)[0]] = line
    PAGE.write_text(HEAD.format(machine=machine) + "\n".join(rows.values()) + "\n" + TAIL, "utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the whole of every row, about 20 minutes")
    parser.add_argument("--only", choices=ROWS, action="append", help="one row")
    parser.add_argument("--write", action="store_true", help="write the page of the figures")
    chosen = parser.parse_args()
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the stock exporter's complaints, by the hundred
    print(f"{'':<46} {'stock':>34} {'cylestio-monitor':>34}   aim")
    for name in chosen.only or ROWS:
        folder = Path(tempfile.mkdtemp(prefix="bench-delivery-"))
        try:
            ROWS[name](folder, full=chosen.full)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if chosen.write:
            write_page()


if __name__ == "__main__":
    main()
