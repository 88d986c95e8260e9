"""Full, broken, foreign and hostile: the application runs on, and what can be kept is kept."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from cylestio_monitor import config
from cylestio_monitor.store import Event, Store, StoreError, admin
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.read.events import events
from cylestio_monitor.store.sqlite import fork_guard, schema
from store.conftest import eventually, took_less_than
from store.filling import Bench

BIG = {"gen_ai.operation.name": "chat", "noise": ""}


def filled(path, count=3000):
    bench = Bench(path)
    for number in range(count):
        bench.span(f"chat {number}", attributes={"gen_ai.operation.name": "chat", "n": number, "pad": f"{number}" * 20})
    bench.flush()
    bench.close()
    return path.stat().st_size


def spans(path):
    with queries.connect(path) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM span")}


def truncate(path, size):
    os.truncate(path, size * 2 // 3)


def overwrite(path, size):
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(random.Random(1).randbytes(size // 3))  # indexes included, or it would not be noticed for long


def garbage(path, size):
    path.write_bytes(random.Random(2).randbytes(size))


def flip_high_bit(path, text):
    """What a cosmic ray does: the text that holds the byte is no UTF-8 any more."""
    data = bytearray(path.read_bytes())
    assert text in data
    place = 0
    while (place := data.find(text, place)) >= 0:
        data[place] ^= 0x80
        place += len(text)
    path.write_bytes(data)


def truncate_flipped(path, size):
    flip_high_bit(path, b"chat 7")
    truncate(path, size)


@pytest.mark.parametrize(
    ("damage", "kept"), [(truncate, 1000), (truncate_flipped, 800), (overwrite, 1000), (garbage, 0)]
)
def test_a_damaged_file_is_set_aside_salvaged_and_begun_anew(tmp_path, damage, kept):
    path = tmp_path / "s.db"
    damage(path, filled(path))
    bench = Bench(path)
    for number in range(300):  # reaches damaged pages sooner or later
        bench.span(f"new {number}")
    bench.flush()
    aside = [file.name for file in tmp_path.iterdir() if ".damaged-" in file.name]
    assert len([name for name in aside if not name.endswith(("-wal", "-shm"))]) == 1
    eventually(lambda: bench.rows("SELECT 1 FROM event WHERE event_type = 'store_damaged'"), 20)
    names = spans(path)
    assert {f"new {number}" for number in range(300)} <= names
    assert len([name for name in names if name.startswith("chat")]) >= kept
    bench.close()


@pytest.mark.parametrize("text", [b"chat 3", b"the model of number 3", b"tool number 3", b"user number 3"])
def test_a_flipped_bit_costs_the_records_it_is_in_and_holds_up_no_other(tmp_path, collector, text):
    bench = Bench(tmp_path / "s.db")
    bench.store.forward(frozenset({"traces", "logs"}), None, lambda: None)
    for number in range(6):
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": f"the model of number {number}"}
        bench.span(f"chat {number}", attributes={**attributes, "note": f"tool number {number}"})
        bench.store.add_event(Event(None, "login", "AUTH", "INFO", time.time_ns(), {"user": f"user number {number}"}))
    bench.close()
    flip_high_bit(tmp_path / "s.db", text)

    bench = Bench(tmp_path / "s.db")
    outbox = bench.send_to(
        collector,
        traces=OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces"),
        logs=OTLPLogExporter(endpoint=f"{collector.url}/v1/logs"),
    )
    bench.span("later")
    assert outbox.force_flush(10)
    damaged = bench.rows("SELECT signal, reason FROM outbox")
    assert len(damaged) == 1
    assert {f"chat {number}" for number in (0, 1, 2, 4, 5)} | {"later"} <= set(collector.names)
    assert len(collector.names) + len(collector.logs) == 12
    with queries.connect(bench.path) as connection:
        assert len(events(connection)) >= 11
    bench.close()


def test_what_a_process_did_not_finish_to_carry_over_the_next_one_does(tmp_path):
    path = tmp_path / "s.db"
    truncate(path, filled(path))
    code = """
    import os, sys
    from pathlib import Path
    from store.filling import Bench
    bench = Bench(Path(sys.argv[1]))
    while not bench.rows("SELECT 1 FROM span WHERE name LIKE 'chat%'"):
        bench.span("new")
        bench.flush()
    os._exit(9)
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(path)]
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 9
    bench = Bench(path)
    assert bench.rows("SELECT 1 FROM event WHERE event_type = 'store_damaged'") == []
    bench.span("next")
    eventually(lambda: bench.rows("SELECT 1 FROM event WHERE event_type = 'store_damaged'"), 20)
    assert len([name for name in spans(path) if name.startswith("chat")]) >= 1000
    assert bench.rows("SELECT 1 FROM meta WHERE key LIKE 'salvage%'") == []
    bench.close()


def test_a_file_that_vanishes_or_is_replaced_is_noticed(bench):
    bench.fill(3)
    bench.flush()
    bench.path.unlink()
    bench.fill(3, "after")
    bench.flush()
    assert spans(bench.path) == {"after 0", "after 1", "after 2"}


def test_the_budget_holds_and_what_goes_is_benign_oldest_first_and_counted(tmp_path):
    bench = Bench(tmp_path / "s.db", max_mb=8)
    flagged = {"cylestio.security.severity_number": 2, "cylestio.security.alert": "suspicious"}
    noise = random.Random(3)
    for number in range(6000):
        attributes = {"gen_ai.operation.name": "chat", "noise": noise.randbytes(1000).hex()}
        bench.span(f"chat {number}", attributes=attributes | (flagged if number % 100 == 0 else {}))
        if number % 500 == 0:
            bench.flush()
    bench.flush()
    assert bench.path.stat().st_size <= 8 << 20
    names = spans(bench.path)
    assert {f"chat {number}" for number in range(0, 6000, 100)} <= names
    benign = sorted(int(name.split()[1]) for name in names if int(name.split()[1]) % 100)
    assert benign[-1] == 5999
    assert benign == [number for number in range(benign[0], 6000) if number % 100]
    (gap,) = [row.data for row in queries_events(bench) if row.event_type == "store_gap"]
    assert gap["reason"] == "size"
    assert gap["spans"] == 6000 - len(names)
    bench.close()


def queries_events(bench):
    with queries.connect(bench.path) as connection:
        return events(connection, limit=10_000)


def test_old_rows_go_by_themselves(tmp_path):
    path = tmp_path / "s.db"
    bench = Bench(path)
    old = 1_600_000_000_000_000_000
    span = bench.tracer.start_span("old", start_time=old)
    span.end(old + 1)
    bench.span("new")
    bench.flush()
    bench.close()
    bench = Bench(path)
    bench.span("newer")
    eventually(lambda: spans(path) == {"new", "newer"})
    bench.close()


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path):
    code = """
    import resource, signal, sys, time
    from pathlib import Path
    from store.filling import Bench
    bench = Bench(Path(sys.argv[1]))
    bench.fill(20, "before")
    bench.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    bench.fill(200, "while")
    assert not bench.store.flush(0.5)
    assert bench.store.stats()["waiting"] >= 200, bench.store.stats()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert bench.store.flush(10), bench.store.stats()
    assert bench.store.stats()["dropped"] == {}
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, str(script), str(tmp_path / "d" / "s.db")], env=environment, check=True, timeout=60)
    assert len(spans(tmp_path / "d" / "s.db")) == 220


def test_a_place_that_cannot_be_written_is_said_once_and_clearly(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file.*Not a directory|is no folder|File exists"):
        Store.open(tmp_path / "file" / "s.db", config.StoreSettings())


def test_links_and_open_folders_are_refused(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(b"")
    (tmp_path / "s.db").symlink_to(target)
    with pytest.raises(StoreError, match="no regular file"):
        Store.open(tmp_path / "s.db", config.StoreSettings())
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(StoreError, match="other users may replace"):
        Store.open(shared / "s.db", config.StoreSettings())


def test_a_file_of_another_user_is_refused(tmp_path):
    path = tmp_path / "s.db"
    if os.geteuid() == 0:
        path.write_bytes(b"")
        os.chown(path, 65534, -1)
    else:
        path = Path("/etc/passwd")  # where we are not root, root is somebody else
    with pytest.raises(StoreError, match="belongs to another user"):
        Store.open(path, config.StoreSettings())


def test_nobody_waits_for_a_disk_that_does_not_answer(tmp_path):
    bench = Bench(tmp_path / "s.db")
    bench.flush()
    blocker = sqlite3.connect(bench.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        spent = time.thread_time()
        with took_less_than(10):  # SQLite itself would wait for longer
            bench.fill(1000)
        assert time.thread_time() - spent < 0.5
        assert bench.span("flagged", attributes={"cylestio.security.severity_number": 4}).wait(0.5)
    finally:
        blocker.rollback()
        blocker.close()
    bench.flush()
    eventually(lambda: len(spans(bench.path)) == 1001)
    assert bench.store.stats()["late"] == 0
    bench.close()


def test_a_database_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "s.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        Store.open(path, config.StoreSettings())
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]
    connection.close()


def test_a_file_of_a_newer_version_is_refused_politely(tmp_path):
    path = tmp_path / "s.db"
    filled(path, 1)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        Store.open(path, config.StoreSettings())
    assert spans(path) == {"chat 0"}


def test_a_queue_that_is_full_drops_counts_and_still_takes_what_is_flagged(bench):

    bench.store._loop.queue._max_items = 10
    with fork_guard.guard:  # the writer waits, as it would for a slow disk
        bench.fill(400)
        flagged = bench.span("flagged", attributes={"cylestio.security.severity_number": 4})
    assert flagged.wait(5)
    bench.flush()
    dropped = bench.store.stats()["dropped"]["queue full"]
    assert dropped > 0
    assert len(spans(bench.path)) == 401 - dropped
    bench.close()
    with queries.connect(bench.path) as connection:
        assert queries.status(connection, bench.path)["counters"]["dropped.queue full"] == dropped


def test_what_no_span_shares_any_more_is_swept_and_writers_notice(tmp_path):
    path = tmp_path / "s.db"
    first, second = Bench(path), Bench(path)
    old = time.time_ns() - 60_000_000_000
    kept = {"gen_ai.operation.name": "chat", "server.port": 70_000}
    for number in range(1500):
        span = first.tracer.start_span("old", start_time=old, attributes={**kept, "server.port": number})
        span.end(old + 1)
    second.span("known to the other one", attributes={**kept, "server.port": 3})
    first.span("kept", attributes=kept)
    for bench in (first, second):
        bench.flush()
    connection = first.store._writer.connection()
    admin.remove_before(path, config.StoreSettings(), old + 2)
    with fork_guard.guard:
        first.store._writer._sweep._swept = 0  # it has looked before, when all of them were in use
        assert first.store._writer._sweep.step(connection) >= 1490
    for bench in (first, second):
        for number in (3, 4, 70_000):
            bench.span("after", attributes={**kept, "server.port": number})
        bench.flush()
    rows = first.rows("SELECT json_extract(attributes, '$.\"server.port\"') AS port FROM spans WHERE name = 'after'")
    assert [row["port"] for row in rows] == [3, 4, 70_000] * 2
    assert first.rows("SELECT count(*) < 10 AS few FROM shared") == [{"few": 1}]
    for bench in (first, second):
        bench.close()
