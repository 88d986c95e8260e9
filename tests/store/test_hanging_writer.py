"""A writer that hangs in the disk: the end of the program puts what waits into the side file, in bounded time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.store import Event
from cylestio_monitor.store.ingest import side_file
from cylestio_monitor.store.ingest.side_file import SideFile
from cylestio_monitor.store.sqlite import fork_guard
from store.conftest import eventually, took_less_than
from store.filling import Bench

CHAT = {semconv.OPERATION_NAME: "chat"}
FLAGGED = {**CHAT, semconv.SEVERITY_NUMBER: 4}


class HangingConnection:
    """A connection whose statement waits as it would for a disk that does not answer."""

    def __init__(self, connection, statement):
        self._connection = connection
        self._statement = statement
        self.reached = threading.Event()
        self.released = threading.Event()

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *values):
        if statement.startswith(self._statement):
            self.reached.set()
            self.released.wait()
        return self._connection.execute(statement, *values)


def hang(bench, statement):
    """Replaces the connection of a store; its writer has nothing else to do than what the test hands over."""
    loop, writer = bench.store._loop, bench.store._writer
    loop._maintain = loop._index = lambda: None
    with fork_guard.guard:
        writer._connection = HangingConnection(writer.connection(), statement)
    hanging.append((bench, writer._connection))
    return writer._connection


hanging = []
"""The stores whose writers hang, with their connections."""


@pytest.fixture(autouse=True)
def released():
    """Lets each writer go, also where a test fails: it holds the guard that the stores of a process share."""
    yield
    while hanging:
        bench, connection = hanging.pop()
        connection.released.set()
        bench.store._loop._thread.join(10)


def event(name):
    return Event("a", name, "SYSTEM", "INFO", time.time_ns(), {})


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO span", "COMMIT"])
def test_what_waits_for_a_writer_that_hangs_is_stored_by_the_next_process(tmp_path, statement):
    bench = Bench(tmp_path / "s.db")
    bench.span("first", attributes=CHAT)
    bench.flush()
    connection = hang(bench, statement)
    held = bench.span("held", attributes=FLAGGED)
    assert connection.reached.wait(10)
    waiting = [bench.span(f"waiting {number}", attributes=FLAGGED if number % 2 else CHAT) for number in range(1500)]
    waiting.append(bench.store.add_event(event("waiting event")))
    with took_less_than(10):
        bench.store.close(2.0)
    assert all(one.durable for one in (held, *waiting))
    assert bench.store.stats()["dropped"] == {}
    assert bench.store.stats()["set_aside"] >= 1501
    connection.released.set()
    bench.store._loop._thread.join(10)

    again = Bench(tmp_path / "s.db")
    eventually(lambda: not side_file.waiting(again.path), 20)
    names = [row["name"] for row in again.rows("SELECT name FROM span ORDER BY name")]
    assert names == sorted(["first", "held", *(f"waiting {number}" for number in range(1500))])
    assert again.rows("SELECT event_type FROM event") == [{"event_type": "waiting event"}]
    again.close()


def test_what_cannot_be_put_aside_is_counted_in_the_file(tmp_path):
    """An event that the writer holds may be committed yet: in the side file it could come twice."""
    bench = Bench(tmp_path / "s.db")
    bench.span("first", attributes=CHAT)
    bench.flush()
    connection = hang(bench, "BEGIN")
    held = bench.store.add_event(event("held"))
    assert connection.reached.wait(10)
    with took_less_than(10):
        bench.store.close(1.0)
    assert not held.durable
    assert bench.store.stats()["dropped"] == {"closed": 1}
    again = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "s.db")],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert "('count.dropped.closed', 1)" in again.stdout
    connection.released.set()
    bench.store._loop._thread.join(10)


READ = """
import sys, time
from pathlib import Path
from store.filling import Bench
from cylestio_monitor.store.ingest import side_file
bench = Bench(Path(sys.argv[1]))
while side_file.waiting(bench.path):
    time.sleep(0.01)
print([tuple(row.values()) for row in bench.rows("SELECT key, value FROM meta WHERE key GLOB 'count.*'")])
bench.close()
"""


def test_a_disk_that_takes_nothing_at_all_delays_the_end_no_longer(tmp_path, monkeypatch):
    bench = Bench(tmp_path / "s.db")
    bench.span("first", attributes=CHAT)
    bench.flush()
    connection = hang(bench, "BEGIN")
    monkeypatch.setattr(SideFile, "append", lambda *_, **__: connection.released.wait())
    waiting = [bench.span(f"waiting {number}", attributes=CHAT) for number in range(10)]
    assert connection.reached.wait(10)
    with took_less_than(10):
        bench.store.close(1.0)
    assert not any(one.durable for one in waiting)
    assert bench.store.stats()["dropped"] == {"closed": 10}
    connection.released.set()
    bench.store._loop._thread.join(10)


def test_an_item_that_cannot_be_encoded_costs_no_other(tmp_path, monkeypatch):
    bench = Bench(tmp_path / "s.db")
    bench.span("first", attributes=CHAT)
    bench.flush()
    connection = hang(bench, "BEGIN")
    bench.span("held", attributes=CHAT)
    assert connection.reached.wait(10)
    good = [bench.span(f"good {number}", attributes=CHAT) for number in range(5)]
    bad = bench.store.add_event(None)
    good.append(bench.span("good 5", attributes=CHAT))
    bench.store.close(1.0)
    assert all(one.durable for one in good)
    assert not bad.durable
    assert bench.store.stats()["dropped"] == {"closed": 1}
    connection.released.set()
    bench.store._loop._thread.join(10)


PROGRAM = """
import sys
from pathlib import Path
from store.filling import Bench
from store.test_hanging_writer import CHAT, FLAGGED, hang
bench = Bench(Path(sys.argv[1]))
bench.span("first", attributes=CHAT)
bench.flush()
connection = hang(bench, "COMMIT")
bench.span("held", attributes=CHAT)
connection.reached.wait()
for number in range(100):
    bench.span(f"waiting {number}", attributes=FLAGGED if number % 2 else CHAT)
"""


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_program_whose_writer_hangs_ends_and_loses_nothing(tmp_path):
    path = tmp_path / "s.db"
    subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=True, timeout=60, env=environment())
    again = Bench(path)
    eventually(lambda: not side_file.waiting(path), 20)
    assert again.rows("SELECT count(*) AS n FROM span") == [{"n": 102}]
    again.close()
