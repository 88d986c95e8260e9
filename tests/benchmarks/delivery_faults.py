"""Rows of the delivery benchmark in which something fails: the collector, the process, the power."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.delivery_table import SPANS, make, row, stock_tracer
from store.collector import Collector
from store.filling import Bench
from store.power import cut_power

FAULTS = ("refused", "hang", "slow", "flapping", 429, "429+", 503, 400, 302, "partial")


def bench_faults(folder, *, full):
    seconds, count = (20.0, 10_000) if full else (3.0, 1500)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:  # they wait, most of the time
        done = [pool.submit(one_fault, folder, fault, seconds, count) for fault in FAULTS]
        for fault, texts in zip(FAULTS, done, strict=True):
            row(f"fault for {seconds:.0f} s: {fault}", *texts.result(), "0 lost, 0 doubled")


def one_fault(folder, fault, seconds, count):
    """Spans at 250/s through one fault, on both roads; what became of them."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    rate = 250
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
    for collector in reversed(collectors):
        lost = count - len(collector.spans) - collector.refused
        doubled = sum(collector.spans.values()) - len(collector.spans)
        texts.append(f"{100 * lost / count:.1f} % lost, {doubled} doubled")
        if collector.refused:
            texts[-1] += f", {collector.refused} refused"
    quarantined = ours.rows("SELECT coalesce(sum(value), 0) AS n FROM meta WHERE key = 'count.quarantined.traces'")
    if quarantined[0]["n"]:
        aside = ours.outbox.stats()["traces"]["quarantined"]
        texts[-1] += f" (all counted, {aside} kept aside)"
    ours.close()
    for collector in collectors:
        collector.close()
    return texts


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
import os, sys, threading, time
from pathlib import Path
from store.filling import Bench
bench = Bench(Path(sys.argv[1]))
if sys.argv[2] == "child" and os.fork():
    os.wait()
    os._exit(0)
print(os.getpid(), flush=True)
threading.Thread(target=lambda: (sys.stdin.readline(), os._exit(0)), daemon=True).start()
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
    rounds, worst, flagged_lost, holes = (200 if full else 12), 0.0, 0, 0
    script = folder / "child.py"
    script.write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for number in range(rounds):
        path, how = folder / f"kill-{number}.db", ("SIGTERM", "SIGKILL", "exit", "child")[number % 4]
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(script), str(path), how],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        pid = int(process.stdout.readline())
        lines = random.randint(3, 12)
        for _ in range(lines):
            process.stdout.readline()
        killed = time.time()
        if how == "exit":
            process.stdin.write("\n")
            process.stdin.flush()
        else:
            os.kill(pid, signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
        acknowledged = process.communicate()[0].count("flagged") + lines
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
    row(f"{rounds} ends: SIGTERM, kill -9, os._exit, fork", "the whole queue", text, "last 50 ms, 0 flagged")


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
