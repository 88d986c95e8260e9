"""A database that others keep locked: nothing is lost, and what must be durable is durable in time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.model import Finding
from cylestio_monitor.store import Event, admin
from cylestio_monitor.store.ingest import side_file
from cylestio_monitor.store.sqlite import fork_guard
from store.conftest import eventually
from store.filling import Bench, begin_flagged

slow = pytest.mark.slow
FLAGGED = {semconv.OPERATION_NAME: "chat", semconv.SEVERITY_NUMBER: 4, semconv.ALERT: "dangerous"}
FINDING = Finding("a.b", "secret", "critical", "dangerous", "input", "llm", "x", 0, 3)


@contextmanager
def locked(path, kind="IMMEDIATE"):
    """Another connection holds the write lock."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.fixture
def path(tmp_path):
    made = Bench(tmp_path / "s.db")
    made.span("first")
    made.close()
    return tmp_path / "s.db"


def names(path):
    with sqlite3.connect(path) as connection:
        found = [row[0] for row in connection.execute("SELECT name FROM span ORDER BY id")]
    connection.close()
    return found


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_store_opens_while_another_process_holds_the_lock(path, kind):
    with locked(path, kind):
        bench = Bench(path)
        bench.fill(5)
        flagged = begin_flagged(bench.store, 7, 8, FINDING)
        assert flagged.wait(2)
        assert side_file.waiting(path)
    bench.flush()
    eventually(lambda: not side_file.waiting(path))
    assert set(names(path)) == {"first", *(f"chat {n}" for n in range(5))}
    assert bench.rows("SELECT count(*) AS n FROM findings") == [{"n": 1}]
    assert bench.store.stats()["dropped"] == {}
    bench.close()


def test_an_open_takes_no_write_lock(path):
    statements = []
    bench = Bench(path)
    bench.store._writer.close()
    original = sqlite3.connect

    def traced(*args, **kwargs):
        connection = original(*args, **kwargs)
        connection.set_trace_callback(statements.append)
        return connection

    sqlite3.connect = traced
    try:
        bench.store._writer.connection()
    finally:
        sqlite3.connect = original
    assert not [one for one in statements if "auto_vacuum" in one or "journal_mode =" in one or "BEGIN" in one]
    bench.close()


def test_a_store_closes_in_time_under_a_lock_and_the_next_one_inserts_the_rest(path):
    bench = Bench(path)
    with locked(path):
        bench.fill(200)
        bench.store.add_event(Event("a", "login", "AUTH", "INFO", time.time_ns(), {}))
        bench.store.add_metrics(b"[]")
        bench.span("flagged", attributes=FLAGGED)
        started = time.monotonic()
        bench.store.close(2.0)
        assert time.monotonic() - started < 4
        assert side_file.waiting(path)
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in side_file.waiting(path))
    assert len(names(path)) == 1
    again = Bench(path)
    eventually(lambda: not side_file.waiting(path), 20)
    assert sorted(names(path)) == sorted(["first", "flagged", *(f"chat {n}" for n in range(200))])
    assert again.rows("SELECT event_type FROM event") == [{"event_type": "login"}]
    assert again.rows("SELECT count(*) AS n FROM metric") == [{"n": 1}]
    assert again.rows("SELECT key FROM meta WHERE key GLOB 'pending*' OR key GLOB 'count.dropped*'") == []
    again.close()


def test_rows_of_a_side_file_are_inserted_once_wherever_a_kill_cuts_in(path):
    bench = Bench(path)
    with locked(path):
        bench.fill(30)
        bench.store.add_event(Event("a", "login", "AUTH", "INFO", time.time_ns(), {}))
        bench.store.close(1.0)
    (file,) = side_file.waiting(path)
    kept = file.read_bytes()
    again = Bench(path)
    eventually(lambda: not side_file.waiting(path))
    # As a kill leaves it: inserted, noted, and not removed yet.
    reader_key = f"pending.{file.name}"
    file.write_bytes(kept)
    file.chmod(0o600)
    connection = again.store._writer.connection()
    with fork_guard.guard:
        connection.execute("REPLACE INTO meta VALUES (?, ?)", (reader_key, len(kept)))
        while again.store._writer.take_up():
            pass
    assert not side_file.waiting(path)
    assert len(names(path)) == 31
    assert again.rows("SELECT count(*) AS n FROM event") == [{"n": 1}]
    again.close()


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage", "empty"])
def test_a_damaged_side_file_costs_its_damaged_rows_and_is_counted(path, damage):
    bench = Bench(path)
    with locked(path):
        bench.fill(3)
        bench.store.close(1.0)
    (file,) = side_file.waiting(path)
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-10] ^= 1
    file.write_bytes({"cut": data[:-5], "flip": data, "garbage": b"x" * 500, "empty": b""}[damage])
    again = Bench(path)
    again.span("later")
    again.flush()
    again.store._loop._next_maintenance = 0
    again.store._loop.queue.filled.set()
    if damage in {"cut", "flip"}:
        eventually(lambda: not side_file.waiting(path))
    if damage == "flip":
        key = "count.dropped.damaged side file"
        assert again.rows("SELECT value FROM meta WHERE key = ?", key) == [{"value": 1}]
    assert names(path) == ["first", "later"]
    again.close()


def other(path, kind):
    """Something at the path of a side file that is not ours."""
    target = path.with_name(f"{path.name}.pending-0123456789abcdef")
    if kind == "link":
        victim = path.with_name("victim")
        victim.write_text("precious")
        target.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target.write_bytes(side_file.HEADER)
        if kind == "of another user":
            target.chmod(0o600)
            os.chown(target, 65534, 65534)
        else:
            target.chmod(0o666)
    return target


OTHERS = [
    *("link", "fifo", "folder", "open to others"),
    pytest.param("of another user", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can make it")),
]


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_side_file_of_ours_is_left_alone(path, kind):
    target = other(path, kind)
    bench = Bench(path)
    bench.span("second")
    bench.flush()
    bench.close()
    assert names(path) == ["first", "second"]
    assert target.is_symlink() or target.exists()
    if kind == "link":
        assert target.resolve().read_text() == "precious"


def test_a_removal_by_hand_lets_others_write_meanwhile(path):
    bench = Bench(path)
    for number in range(6000):
        bench.tracer.start_span(f"old {number}", attributes={"pad": "x" * 100}).end()
    bench.flush()
    waits = []
    stop = threading.Event()

    def write():
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        while not stop.is_set():
            started = time.monotonic()
            connection.execute("REPLACE INTO meta VALUES ('probe', 1)")
            waits.append(time.monotonic() - started)
            time.sleep(0.005)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert admin.remove_before(path, bench.store.settings, time.time_ns()) >= 6000
    finally:
        stop.set()
        thread.join()
    assert len(waits) > 6  # at least one write between any two chunks
    bench.close()


def test_waiters_of_many_busy_threads_have_their_findings_on_disk(path):
    bench = Bench(path)
    outcomes = []

    def busy(number):
        for turn in range(3):
            until = time.thread_time() + 0.02
            while time.thread_time() < until:
                pass
            outcomes.append(begin_flagged(bench.store, number + 1, turn + 1, FINDING).wait(0.25))
            bench.span("flagged", attributes=FLAGGED)
            outcomes.append(bench.store.add_barrier().wait(0.25))

    threads = [threading.Thread(target=busy, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 384
    assert sum(outcomes) >= 0.99 * 384
    bench.close()
    again = Bench(path)
    eventually(lambda: not side_file.waiting(path))
    assert again.rows("SELECT count(*) AS n FROM findings") == [{"n": 192}]
    assert again.rows("SELECT count(*) AS n FROM span WHERE name = 'flagged'") == [{"n": 192}]
    again.close()


def test_a_waiter_on_an_event_loop_has_its_finding_on_disk_too(path):
    bench = Bench(path)
    with locked(path), fork_guard.guard:
        assert asyncio.run(begin_flagged(bench.store, 5, 6, FINDING).wait_async(0.4))
    bench.close()


PROGRAM = """
import sys
from pathlib import Path
from store.filling import Bench
bench = Bench(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    bench.span(f"{sys.argv[2]} {number}", attributes={"gen_ai.operation.name": "chat"})
bench.close()
"""


@slow
def test_many_processes_lose_nothing_under_load(path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(path)]
    running = [subprocess.Popen([*command, f"p{number}", "100"], env=environment) for number in range(32)]
    assert [process.wait(120) for process in running] == [0] * 32
    bench = Bench(path)
    eventually(lambda: not side_file.waiting(path), 30)
    assert len(set(names(path))) == len(names(path)) == 32 * 100 + 1
    assert bench.rows("SELECT key FROM meta WHERE key GLOB 'count.dropped*'") == []
    bench.close()
