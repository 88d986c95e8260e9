"""The audit trail: everything that can be done to the file without the key is found, and placed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cylestio_monitor import config, semconv
from cylestio_monitor.store import Event, StoreError
from cylestio_monitor.store.audit import checkpoint, trail
from cylestio_monitor.store.sqlite import database, fork_guard
from cylestio_monitor.store.upkeep.retention import Retention
from store.conftest import eventually
from store.filling import Bench

FOREIGN = (
    "INSERT INTO event SELECT 9, agent_id, 'x', channel, level, timestamp, time_ns, data, trace_id, span_id, "
    "source, {}, checksum FROM event"
)
NOW = time.time_ns()
SETTINGS = config.StoreSettings()


def fill(bench, count=10, name="chat"):
    for number in range(count):
        bench.span(
            f"{name} {number}",
            attributes={"gen_ai.operation.name": "chat", "gen_ai.input.messages": "hello " * 30, "n": number},
        )
    bench.store.add_event(Event("a", "login", "AUTH", "INFO", NOW, {"user": "Ann"}))
    bench.flush()


@pytest.fixture
def sealed(tmp_path):
    """A store of 11 entries, ten of them sealed spans, and one event."""
    bench = Bench(tmp_path / "s.db")
    fill(bench)
    bench.close()
    assert trail.seal(tmp_path / "s.db", SETTINGS).seq == 11
    return tmp_path / "s.db"


def change(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def found(path, *args):
    return [(problem.what, problem.seq) for problem in trail.verify(path, *args).problems]


def test_a_sound_trail_is_sound(sealed):
    report = trail.verify(sealed)
    assert report.sound
    assert (report.entries, report.last_seq, report.sealed_seq, report.unsealed) == (11, 11, 11, 0)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["UPDATE span SET name = 'x' WHERE id = 3"], [("edited", 3)]),
        (["UPDATE span SET content = x'01' WHERE id = 4"], [("edited", 4)]),
        (["UPDATE span SET severity_number = 0, start_ns = 1 WHERE id = 5"], [("edited", 5)]),
        (["UPDATE event SET data = '{}' WHERE id = 1"], [("edited", 11)]),
        (["UPDATE shared SET body = replace(body, 'chat', 'oops')"], [("edited", n) for n in range(1, 11)]),
        (["DELETE FROM span WHERE id = 6"], [("deleted", 6)]),
        (["DELETE FROM span WHERE id = 6", "DELETE FROM audit WHERE seq = 6"], [("deleted", 6)]),
        (
            ["DELETE FROM span WHERE id IN (6, 7)", "DELETE FROM audit WHERE seq IN (6, 7)"],
            [("deleted", 6)],
        ),
        (
            [FOREIGN.format("NULL")],
            [("inserted", 0)],
        ),
        (
            [
                "UPDATE audit SET seq = -1 WHERE seq = 2",
                "UPDATE audit SET seq = 2 WHERE seq = 3",
                "UPDATE audit SET seq = 3 WHERE seq = -1",
            ],
            [("reordered", 2), ("reordered", 3)],
        ),
        (["UPDATE audit SET leaf = zeroblob(32) WHERE seq = 8"], [("edited", 8)]),
        (
            ["DELETE FROM audit WHERE seq > 8", "DELETE FROM span WHERE id > 8", "DELETE FROM event"],
            [("truncated", 11), ("truncated", 11)],
        ),
        (["DELETE FROM audit WHERE seq <= 3", "DELETE FROM span WHERE id <= 3"], [("deleted", 1)]),
        (["DELETE FROM meta WHERE key = 'audit.head'"], [("truncated", 11)]),
        (
            [
                "UPDATE audit SET kind = 'gap', ref = 2 WHERE seq = 4",
                "DELETE FROM audit WHERE seq IN (2, 3)",
                "DELETE FROM span WHERE id IN (2, 3, 4)",
            ],
            [("forged", 4)],
        ),
    ],
)
def test_what_is_done_to_the_file_is_found_and_placed(sealed, statements, expected):
    change(sealed, *statements)
    assert sorted(found(sealed)) == sorted(expected)


def test_an_entry_that_is_added_without_the_key_is_found(sealed):
    change(
        sealed,
        FOREIGN.format(12),
        "INSERT INTO audit SELECT 12, 'event', 9, leaf, mac FROM audit WHERE seq = 11",
    )
    assert {what for what, _ in found(sealed)} <= {"edited", "inserted"}
    assert 12 in {seq for _, seq in found(sealed)}


def test_a_file_replaced_by_an_older_copy_of_itself_is_found_by_the_checkpoints_beside_it(tmp_path):
    path = tmp_path / "s.db"
    bench = Bench(path)
    fill(bench)
    bench.close()
    shutil.copy(path, tmp_path / "older.db")
    bench = Bench(path)
    fill(bench, name="more")
    bench.close()
    trail.seal(path, SETTINGS)
    kept = tmp_path / "anchor"
    shutil.copy(checkpoint.side_file(path), kept)
    shutil.copy(tmp_path / "older.db", path)
    assert found(path) == [("truncated", 22)]
    checkpoint.side_file(path).unlink()
    assert found(path) == []
    assert found(path, kept) == [("truncated", 22)]


def test_a_file_replaced_by_another_one_is_found(tmp_path, sealed):
    other = Bench(tmp_path / "other" / "s.db")
    fill(other, 20)
    other.close()
    shutil.copy(tmp_path / "other" / "s.db", sealed)
    whats = {what for what, _ in found(sealed)}
    assert "replaced" in whats


def test_a_rewritten_history_with_a_stolen_head_is_found_by_a_checkpoint_kept_elsewhere(tmp_path, sealed):
    kept = tmp_path / "log"
    kept.write_text(f"2026-01-01 INFO audit checkpoint {checkpoint.side_file(sealed).read_text()}")
    assert trail.verify(sealed, kept).sound
    line = json.loads(checkpoint.side_file(sealed).read_text())
    kept.write_text(json.dumps({**line, "mac": "00" * 32}))
    assert ("forged", 11) in found(sealed, kept)


def test_the_unsealed_tail_is_named(tmp_path, sealed):
    bench = Bench(sealed)
    fill(bench, 4, "later")
    bench.close()
    report = trail.verify(sealed)
    assert report.sound
    assert (report.last_seq, report.sealed_seq, report.unsealed) == (16, 11, 5)


def test_an_honest_removal_is_no_tampering(tmp_path):
    path = tmp_path / "s.db"
    bench = Bench(path)
    flagged = {semconv.OPERATION_NAME: "chat", semconv.SEVERITY_NUMBER: 4}
    for number in range(60):
        bench.span(f"{number}", attributes=flagged if number % 7 == 0 else {semconv.OPERATION_NAME: "chat"})
    bench.flush()
    writer = bench.store._writer
    connection = writer.connection()
    for value in (10, 25, 26, 55):
        with fork_guard.guard, database.transaction(connection):
            query = "SELECT id FROM span WHERE severity_number = 0 AND id < ?"
            chosen = [row[0] for row in connection.execute(query, (value,))]
            Retention(connection, writer.chain)._remove_spans(chosen)
    fill(bench, 5)
    bench.close()
    report = trail.verify(path)
    assert report.problems == []
    assert report.removed == len([n for n in range(1, 55) if (n - 1) % 7])
    gaps = bench.rows("SELECT ref, seq FROM audit WHERE kind = 'gap'")
    assert [(row["ref"], row["seq"]) for row in gaps[:2]] == [(2, 7), (9, 14)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.sampled_from(["span", "findings", "event", "audit", "checkpoint"]),
    number=st.integers(0, 40),
    place=st.integers(0, 30),
    value=st.one_of(st.integers(-5, 5), st.text(max_size=5), st.binary(max_size=5), st.none()),
    as_text=st.booleans(),
)
def test_any_change_of_any_covered_value_is_found(tmp_path_factory, pristine, table, number, place, value, as_text):
    path = tmp_path_factory.mktemp("h") / "s.db"
    shutil.copy(pristine, path)
    shutil.copy(f"{pristine}.key", f"{path}.key")
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    columns = [row[1].decode() for row in connection.execute(f"PRAGMA table_info({table})")]
    column = columns[place % len(columns)]
    new = "CAST(? AS TEXT)" if as_text and isinstance(value, bytes) else "?"  # text that is no UTF-8
    ids = [row[0] for row in connection.execute(f"SELECT rowid FROM {table}")]
    chosen = ids[number % len(ids)]
    original = connection.execute(f'SELECT "{column}", typeof("{column}") FROM {table} ORDER BY rowid').fetchall()
    try:
        connection.execute(f'UPDATE {table} SET "{column}" = {new} WHERE rowid = ?', (value, chosen))
        connection.commit()
    except sqlite3.Error:
        return  # SQLite itself refuses such a value
    finally:
        stored = connection.execute(f'SELECT "{column}", typeof("{column}") FROM {table} ORDER BY rowid').fetchall()
        connection.close()
    # A checksum is against the disk; an event's resource stands beside what is sealed.
    if repr(stored) == repr(original) or column == "checksum" or (table, column) == ("event", "source"):
        return
    assert not trail.verify(path).sound


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    path = tmp_path_factory.mktemp("pristine") / "s.db"
    bench = Bench(path)
    fill(bench, 6)
    span = bench.tracer.start_span("found", attributes={"gen_ai.operation.name": "chat"})
    span.add_event(semconv.EVENT_FINDING, {semconv.FINDING_RULE: "a.b", semconv.FINDING_SEVERITY: "high"})
    span.end()
    bench.flush()
    trail.seal(path, SETTINGS)
    fill(bench, 2)
    bench.close()
    trail.seal(path, SETTINGS)
    return path


def test_evidence_is_verified_with_the_public_key_alone(tmp_path, sealed):
    file = tmp_path / "evidence.jsonl"
    assert trail.export(sealed, SETTINGS, file) == 13
    key = trail.verify(sealed).public_key
    sealed.with_name("s.db.key").unlink()
    sealed.unlink()
    report = trail.verify_evidence(file, key)
    assert report.sound
    assert (report.entries, report.sealed_seq) == (11, 11)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b'"chat 3"', b'"chat 9"', "edited"),
        (b'"seq":11', b'"seq":12', "deleted"),
        (b'"signature":"', b'"signature":"0', "forged"),
    ],
)
def test_changed_evidence_is_found(tmp_path, sealed, old, new, what):
    file = tmp_path / "evidence.jsonl"
    trail.export(sealed, SETTINGS, file)
    key = trail.verify(sealed).public_key
    file.write_bytes(file.read_bytes().replace(old, new, 1))
    assert what in {problem.what for problem in trail.verify_evidence(file, key).problems}


def test_evidence_under_another_key_is_forged(tmp_path, sealed):
    file = tmp_path / "evidence.jsonl"
    trail.export(sealed, SETTINGS, file)
    assert [p.what for p in trail.verify_evidence(file, "00" * 32).problems] == ["forged"]
    file.write_text("{}")
    with pytest.raises(StoreError, match="no evidence"):
        trail.verify_evidence(file, "00" * 32)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM checkpoint WHERE seq = (SELECT min(seq) FROM checkpoint)", "deleted"),
        ("UPDATE checkpoint SET body = x'00' WHERE seq = (SELECT max(seq) FROM checkpoint)", "forged"),
    ],
)
def test_a_spoilt_checkpoint_is_found_and_keeps_no_other_from_being_made(tmp_path, pristine, statement, problem):
    path = tmp_path / "s.db"
    shutil.copy(pristine, path)
    shutil.copy(f"{pristine}.key", f"{path}.key")
    change(path, statement)
    ((what, seq),) = found(path)
    assert what == problem
    assert seq > 0
    bench = Bench(path)
    fill(bench, 3)
    bench.store._loop._next_seal = bench.store._loop._next_maintenance = 0.0
    bench.span("again", attributes={"gen_ai.operation.name": "chat"})
    bench.flush()
    eventually(lambda: bench.rows("SELECT 1 FROM event WHERE event_type = 'audit_checkpoint'"))
    bench.close()
    assert problem in {what for what, _ in found(path)}


def test_a_running_store_seals_itself_and_says_so(bench, caplog):
    caplog.set_level("INFO", "cylestio_monitor.audit")
    fill(bench, 3)
    bench.store._loop._next_seal = bench.store._loop._next_maintenance = 0.0
    bench.span("again")
    bench.flush()
    eventually(lambda: checkpoint.side_file(bench.path).exists())
    (event,) = bench.rows("SELECT data FROM event WHERE event_type = 'audit_checkpoint'")
    ((one,), _) = checkpoint.read(checkpoint.side_file(bench.path).read_text().splitlines(), "file")
    assert json.loads(event["data"])["seq"] == one.seq == 4
    eventually(lambda: one.signature in caplog.text)
    assert trail.verify(bench.path).unsealed == 1
