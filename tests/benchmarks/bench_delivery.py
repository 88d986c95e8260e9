"""Delivery and storage against the stock `BatchSpanProcessor` with OTLP over HTTP, in the same run on this machine.

Bounded, and on the loopback interface only. Without `--full` every row runs in a short form; `--only NAME` runs one.
Absolute figures depend on the machine; what a change did shows in the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from benchmarks.typical_span import attributes
from cylestio_monitor.store import queries
from cylestio_monitor.store.retention import DAY_NS
from store.collector import Collector
from store.filling import Bench
from store.power import cut_power

FAULTS = ("refused", "hang", "slow", "flapping", 429, "429+", 503, 400, 302, "partial")
SPANS = [attributes(number) for number in range(1000)]


def row(name, stock, ours, reach):
    print(f"{name:<46} {stock:>22} {ours:>30}   {reach}", flush=True)


def make(tracer, number, **more):
    tracer.start_span("chat claude-sonnet-4-5", kind=SpanKind.CLIENT, attributes={**SPANS[number % 1000], **more}).end()


def stock_tracer(url, **limits):
    provider = TracerProvider(resource=Resource({"service.name": "bench"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces"), **limits))
    return provider, provider.get_tracer("bench")


def bench_faults(folder, *, full):
    seconds, count, rate = (20.0, 10_000, 250) if full else (3.0, 1500, 250)
    for fault in FAULTS:
        collectors = [Collector(), Collector()]
        ours = Bench(folder / f"fault-{fault}.db")
        ours.send_to(collectors[0], timeout=10)
        provider, stock = stock_tracer(collectors[1].url)
        trouble = threading.Thread(target=misbehave, args=(collectors, fault, seconds))
        started = time.monotonic()
        for number in range(count):
            if number == rate:  # a second of good weather first
                trouble.start()
            name = "poison" if fault == "partial" and number % 100 == 50 else f"span {number}"
            for tracer in (ours.tracer, stock):
                tracer.start_span(name, attributes=SPANS[number % 1000]).end()
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
        trouble.join()
        ours.outbox.force_flush(60)
        stopping = threading.Thread(target=provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(45)
        texts = []
        for collector, bench in ((collectors[1], None), (collectors[0], ours)):
            lost = count - len(collector.spans) - collector.refused
            doubled = sum(collector.spans.values()) - len(collector.spans)
            texts.append(f"{100 * lost / count:.1f} % lost, {doubled} doubled")
            if bench is not None:
                refused = bench.outbox.stats()["traces"]["quarantined"]
                texts[-1] += f", {collector.refused} refused" + (f", {refused} kept aside" if refused else "")
        row(f"fault for {seconds:.0f} s: {fault}", *texts, "0 lost, 0 doubled")
        ours.close()
        for collector in collectors:
            collector.close()


def misbehave(collectors, fault, seconds):
    """The fault, for its time, on both collectors."""
    until = time.monotonic() + seconds
    if fault == "refused":
        for collector in collectors:
            collector.fault = "drop"
    while time.monotonic() < until:
        for collector in collectors:
            if fault == "flapping":
                collector.fault = None if collector.fault else 503
            elif fault != "refused":
                collector.fault = fault
        time.sleep(min(0.5, max(0.0, until - time.monotonic())))
    for collector in collectors:
        collector.fault = None
        collector.released.set()


CHILD = """
import sys, time
from pathlib import Path
from store.filling import Bench
bench = Bench(Path(sys.argv[1]))
number = 0
while True:
    bench.span(f"{number} {time.time()}")
    if number % 20 == 0:
        ticket = bench.span(f"flagged {number}", attributes={"cylestio.security.severity_number": 4})
        if ticket.wait(5):
            print("flagged", flush=True)
    number += 1
    time.sleep(0.0005)
"""


def bench_kills(folder, *, full):
    rounds, worst, flagged_lost, holes = (200 if full else 10), 0.0, 0, 0
    script = folder / "child.py"
    script.write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for number in range(rounds):
        path = folder / f"kill-{number}.db"
        child = subprocess.Popen(
            [sys.executable, str(script), str(path)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(random.randint(3, 12)):
            child.stdout.readline()
        killed = time.time()
        child.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
        acknowledged = child.communicate()[0].count("flagged") + 3
        connection = sqlite3.connect(path)
        names = [name for (name,) in connection.execute("SELECT name FROM span ORDER BY id")]
        connection.close()
        plain = [name.split() for name in names if not name.startswith("flagged")]
        flagged_lost += max(0, acknowledged - (len(names) - len(plain)))
        holes += [int(first) for first, _ in plain] != list(range(len(plain)))
        worst = max(worst, killed - float(plain[-1][1]))
        for suffix in ("", "-wal", "-shm", ".key"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    text = f"last {worst * 1000:.0f} ms, {flagged_lost} flagged, {holes} holes"
    row(f"lost in {rounds} kills (SIGTERM, SIGKILL)", "the whole queue", text, "last 50 ms, 0 flagged")


def bench_power_cut(folder, *, full):
    cuts = 1000 if full else 100
    lost, corrupt = cut_power(folder, cuts)
    row(f"lost in {cuts} simulated power cuts", "-", f"{lost} acknowledged, {corrupt} corrupt", "0, 0")


def bench_exit(folder, *, full):
    times = []
    with Collector() as collector:
        collector.fault = "hang"
        bench = Bench(folder / "exit.db")
        bench.send_to(collector, timeout=10)
        bench.fill(100)
        time.sleep(0.5)
        started = time.monotonic()
        bench.outbox.stop(1.5)
        bench.store.close(0.5)
        times.append(time.monotonic() - started)
        provider, tracer = stock_tracer(collector.url)
        make(tracer, 1)
        started = time.monotonic()
        stopping = threading.Thread(target=provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(60 if full else 5)
        waited = time.monotonic() - started
        stock = f"{waited:.1f} s" if not stopping.is_alive() else f"> {waited:.0f} s"
    row("exit with a dead collector", stock, f"{times[0]:.2f} s", "<= 2 s")


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
    descriptor = os.open(bench.path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    times = []
    for _ in range(6):
        started = time.perf_counter()
        with queries.connect(bench.path) as connection:
            found = len(queries.flagged(connection, since=since))
        times.append((time.perf_counter() - started) * 1000)
    with queries.connect(bench.path) as connection:
        started = time.perf_counter()
        documented = connection.execute(
            "SELECT * FROM events WHERE json_extract(data, '$.alert') = 'suspicious' "
            "AND timestamp > datetime('now', '-1 day') ORDER BY timestamp DESC"
        ).fetchall()
        took = (time.perf_counter() - started) * 1000
    text = f"{min(times[1:]):.1f} ms warm, {times[0]:.1f} cold"
    row(f"{found} flagged spans of 24 h among {count:,}", "-", text, "<= 5 warm, <= 60 cold")
    row(f"  the documented query ({len(documented)} rows)", "-", f"{took:.1f} ms", "")


def bench_event_loop(folder, *, full):
    """The longest time in which an event loop does not turn, while spans are made, stored and sent."""
    rounds = 400 if full else 100

    async def gaps(work):
        worst = 0.0
        running = asyncio.create_task(work())
        while not running.done():
            before = time.perf_counter()
            await asyncio.sleep(0)
            worst = max(worst, time.perf_counter() - before)
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
    row("longest event-loop gap", f"{theirs * 1000:.1f} ms ({idle * 1000:.1f} idle)", f"{own * 1000:.1f} ms", "<= 10 ms")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the whole of every row, about 20 minutes")
    parser.add_argument("--only", choices=ROWS, action="append", help="one row")
    chosen = parser.parse_args()
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the stock exporter's complaints, by the hundred
    row("", "stock", "cylestio-monitor", "aim")
    for name in chosen.only or ROWS:
        folder = Path(tempfile.mkdtemp(prefix="bench-delivery-"))
        try:
            ROWS[name](folder, full=chosen.full)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
