"""Every kind of tampering with a store is found and located, also after the store was written to again."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cylestio_monitor import config, semconv
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store import Event, admin, triage
from cylestio_monitor.store.audit import checkpoint, trail
from cylestio_monitor.store.control.approvals import StoredApprovals
from cylestio_monitor.store.read import queries, traces
from cylestio_monitor.store.sqlite import database, fork_guard, keys, schema
from cylestio_monitor.store.upkeep.retention import Retention
from store.filling import Bench

SETTINGS = config.StoreSettings()
CHAT = {semconv.OPERATION_NAME: "chat", "gen_ai.input.messages": "hello " * 30}
COPIED_EVENT = (
    "INSERT INTO event SELECT 99, agent_id, event_type, channel, level, timestamp, time_ns, {data}, trace_id, span_id, "
    "source, {seq}, checksum FROM event WHERE id = {like}"
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Entries 1 to 4 are spans, of which 2 was removed by retention; 5 a span, 6 its finding, 7 event, 8 gap event,
    9 and 10 spans. Checkpoints at 8 and 9, so that 10 is not sealed yet."""
    path = tmp_path_factory.mktemp("pristine") / "s.db"
    bench = Bench(path)
    for number in range(4):
        bench.span(f"chat {number}", attributes={**CHAT, "n": number})
    bench.flush()
    span = bench.tracer.start_span("found", attributes={**CHAT, semconv.SEVERITY_NUMBER: 3})
    span.add_event(semconv.EVENT_FINDING, {semconv.FINDING_RULE: "a.b", semconv.FINDING_SEVERITY: "high"})
    span.end()
    bench.flush()
    bench.store.add_event(Event("a", "login", "AUTH", "INFO", time.time_ns(), {"user": "Ann"}))
    bench.flush()
    writer = bench.store._writer
    with fork_guard.guard, database.transaction(writer.connection()):
        retention = Retention(writer.connection(), writer.chain)
        retention._record("age", retention._remove_spans([2]))
    with fork_guard.guard:
        writer.count({"dropped.queue full": 7})
    trail.seal(path, SETTINGS)
    bench.span("chat 9", attributes=CHAT)
    bench.flush()
    trail.seal(path, SETTINGS)
    bench.span("chat 10", attributes=CHAT)
    bench.flush()
    bench.close()
    assert trail.verify(path).sound
    assert trail.verify(path).last_seq == 10
    shutil.copy(path, path.with_name("older.db"))
    return path


@pytest.fixture
def store(tmp_path, pristine):
    path = tmp_path / "s.db"
    for suffix in ("", ".key", ".checkpoints"):
        shutil.copy(f"{pristine}{suffix}", f"{path}{suffix}")
    return path


def sql(*statements):
    def change(path):
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return change


def changed_key(path):
    keys.key_file(path).unlink()
    keys.load_or_create(path)


def other_store(path):
    path.unlink()
    bench = Bench(path)
    bench.span("another", attributes=CHAT)
    bench.flush()
    bench.close()


def earlier_copy(path):
    """The state of the file before the second checkpoint, as a backup has it."""
    sql(
        "DELETE FROM audit WHERE seq > 8",
        "DELETE FROM span WHERE seq > 8",
        "DELETE FROM checkpoint WHERE seq > 8",
        "DELETE FROM meta WHERE key = 'audit.head'",
    )(path)


def swapped(first, second):
    return sql(
        f"UPDATE audit SET seq = -1 WHERE seq = {first}",
        f"UPDATE audit SET seq = {first} WHERE seq = {second}",
        f"UPDATE audit SET seq = {second} WHERE seq = -1",
    )


def replaced_view(name, condition):
    def change(path):
        connection = sqlite3.connect(path, isolation_level=None)
        text = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        connection.execute(f"DROP VIEW {name}")
        connection.execute(f"{text} {condition}")
        connection.close()

    return change


KINDS = {
    "field of a span": (sql("UPDATE span SET name = 'x' WHERE id = 3"), ("edited", 3)),
    "content of a span": (sql("UPDATE span SET content = x'01' WHERE id = 3"), ("edited", 3)),
    "severity of a span": (sql("UPDATE span SET severity_number = 0, alert = 'none' WHERE seq = 5"), ("edited", 5)),
    "trace of a span": (sql("UPDATE span SET run = (SELECT run FROM span WHERE id = 1) WHERE id = 3"), ("edited", 3)),
    "span of a finding": (sql("UPDATE findings SET span_id = '0000000000000001'"), ("edited", 6)),
    "rule of a finding": (sql("UPDATE findings SET rule_id = 'c.d'"), ("edited", 6)),
    "data of an event": (sql("UPDATE event SET data = '{}' WHERE seq = 7"), ("edited", 7)),
    "resource of all spans": (sql("UPDATE shared SET body = replace(body, 'service', 'sorvice')"), ("edited", 1)),
    "value of another type": (sql("UPDATE span SET status = 'text', kind = 1.5 WHERE id = 3"), ("edited", 3)),
    "span deleted": (sql("DELETE FROM span WHERE id = 4"), ("deleted", 4)),
    "span and its entry deleted": (
        sql("DELETE FROM span WHERE id = 4", "DELETE FROM audit WHERE seq = 4"),
        ("deleted", 4),
    ),
    "finding deleted": (sql("DELETE FROM findings"), ("deleted", 6)),
    "event deleted": (sql("DELETE FROM event WHERE seq = 7"), ("deleted", 7)),
    "record of a removal deleted": (sql("DELETE FROM event WHERE event_type = 'store_gap'"), ("deleted", 8)),
    "numbers of a removal": (sql("UPDATE event SET data = '{}' WHERE event_type = 'store_gap'"), ("edited", 8)),
    "event inserted": (sql(COPIED_EVENT.format(data="data", seq="NULL", like=1)), ("inserted", 0)),
    "event inserted with a number": (sql(COPIED_EVENT.format(data="data", seq=7, like=1)), ("inserted", 7)),
    "record of a removal forged": (
        sql(COPIED_EVENT.format(data="""'{"reason":"age","spans":900}'""", seq="NULL", like=2)),
        ("inserted", 0),
    ),
    "span inserted without a number": (
        sql(
            "CREATE TEMP TABLE one AS SELECT * FROM span WHERE id = 3",
            "UPDATE one SET id = 99, seq = NULL, span_id = 'ffffffffffffffff'",
            "INSERT INTO span SELECT * FROM one",
        ),
        ("inserted", 0),
    ),
    "alarm inserted without a number": (
        sql(
            "CREATE TEMP TABLE one AS SELECT * FROM span WHERE id = 3",
            "UPDATE one SET id = 99, seq = NULL, span_id = 'ffffffffffffffff', event_type = NULL, channel = NULL, "
            "operation = NULL, action = NULL, alert = 'dangerous'",
            "INSERT INTO span SELECT * FROM one",
        ),
        ("inserted", 0),
    ),
    "number taken from a span": (sql("UPDATE span SET seq = NULL, event_type = NULL WHERE id = 3"), ("reordered", 3)),
    "entries swapped": (swapped(3, 4), ("reordered", 3)),
    "entry added at the end": (
        sql("INSERT INTO audit SELECT 11, kind, ref, leaf, mac FROM audit WHERE seq = 10"),
        ("inserted", 11),
    ),
    "fingerprint of an entry": (sql("UPDATE audit SET leaf = zeroblob(32) WHERE seq = 3"), ("edited", 3)),
    "link of an entry": (sql("UPDATE audit SET mac = zeroblob(32) WHERE seq = 9"), ("edited", 9)),
    "link of the last entry": (sql("UPDATE audit SET mac = zeroblob(32) WHERE seq = 10"), ("edited", 10)),
    "link of the last entry, as text": (sql("UPDATE audit SET mac = 'text' WHERE seq = 10"), ("edited", 10)),
    "kind of the last entry, as bytes": (sql("UPDATE audit SET kind = x'00' WHERE seq = 10"), ("edited", 10)),
    "fingerprint of the last entry, as text": (sql("UPDATE audit SET leaf = 'x' WHERE seq = 10"), ("edited", 10)),
    "id of the last entry, as text": (sql("UPDATE audit SET ref = 'x' WHERE seq = 10"), ("edited", 10)),
    "end cut off": (sql("DELETE FROM audit WHERE seq > 9", "DELETE FROM span WHERE seq > 9"), ("truncated", 10)),
    "begin cut off": (sql("DELETE FROM audit WHERE seq < 3", "DELETE FROM span WHERE seq < 3"), ("deleted", 1)),
    "head deleted": (sql("DELETE FROM meta WHERE key = 'audit.head'"), ("truncated", 10)),
    "head forged": (sql("UPDATE meta SET value = '10:00:8:aa:00' WHERE key = 'audit.head'"), ("forged", 10)),
    "head of another type": (sql("UPDATE meta SET value = x'ff' WHERE key = 'audit.head'"), ("forged", 0)),
    "gap forged": (
        sql(
            "UPDATE audit SET kind = 'gap', ref = 3 WHERE seq = 4",
            "DELETE FROM audit WHERE seq = 3",
            "DELETE FROM span WHERE id IN (3, 4)",
        ),
        ("forged", 4),
    ),
    "gap widened": (
        sql(
            "UPDATE audit SET ref = 1 WHERE seq = 2", "DELETE FROM audit WHERE seq = 1", "DELETE FROM span WHERE id = 1"
        ),
        ("forged", 2),
    ),
    "break forged": (
        sql("UPDATE audit SET kind = 'break', leaf = x'6b6579' WHERE seq = 4", "DELETE FROM span WHERE id = 4"),
        ("forged", 4),
    ),
    "checkpoint changed": (sql("UPDATE checkpoint SET body = replace(body, '1', '2') WHERE seq = 9"), ("forged", 9)),
    "checkpoint of another type": (sql("UPDATE checkpoint SET body = x'00' WHERE seq = 9"), ("forged", 9)),
    "first checkpoint deleted": (sql("DELETE FROM checkpoint WHERE seq = 8"), ("deleted", 9)),
    "last checkpoint deleted": (sql("DELETE FROM checkpoint WHERE seq = 9"), ("deleted", 9)),
    "all checkpoints deleted": (
        lambda path: (sql("DELETE FROM checkpoint")(path), checkpoint.side_file(path).unlink()),
        ("deleted", 9),
    ),
    "checkpoints beside the store garbled": (
        lambda path: checkpoint.side_file(path).write_text('{"format":1,"store":null}\n'),
        ("forged", 0),
    ),
    "counter deleted": (sql("DELETE FROM meta WHERE key = 'count.dropped.queue full'"), ("edited", 0)),
    "counter changed": (sql("UPDATE meta SET value = 0 WHERE key = 'count.removed.age'"), ("edited", 0)),
    "counter of another type": (sql("UPDATE meta SET value = x'ff' WHERE key = 'count.removed.age'"), ("edited", 0)),
    "view replaced": (replaced_view("events", "WHERE 0"), ("edited", 0)),
    "view deleted": (sql("DROP VIEW spans"), ("deleted", 0)),
    "trigger added": (
        sql("CREATE TRIGGER quiet AFTER INSERT ON findings BEGIN DELETE FROM findings WHERE id = new.id; END"),
        ("inserted", 0),
    ),
    "trigger on a view added": (
        sql("CREATE TRIGGER quiet INSTEAD OF DELETE ON spans BEGIN SELECT 1; END"),
        ("inserted", 0),
    ),
    "index deleted": (sql("DROP INDEX event_time"), ("deleted", 0)),
    "index changed": (sql("DROP INDEX event_time", "CREATE INDEX event_time ON event (level)"), ("edited", 0)),
    "unique index made plain": (
        sql("DROP INDEX finding_identity", "CREATE INDEX finding_identity ON findings (rule_id)"),
        ("edited", 0),
    ),
    "table added": (sql("CREATE TABLE more (a)"), ("inserted", 0)),
    "column added": (sql("ALTER TABLE findings ADD COLUMN more"), ("edited", 0)),
    "version of the layout": (sql("PRAGMA user_version = 1"), ("edited", 0)),
    "name of the store": (sql("UPDATE meta SET value = 'x' WHERE key = 'store.id'"), ("replaced", 9)),
    "replaced by an earlier state": (earlier_copy, ("truncated", 9)),
    "replaced by another store": (other_store, ("replaced", 9)),
    "key lost": (lambda path: keys.key_file(path).unlink(), ("key lost", 0)),
    "key replaced": (changed_key, ("key lost", 0)),
}


def problems(path):
    return [(problem.what, problem.seq) for problem in trail.verify(path).problems]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_found_and_located(store, kind):
    change, expected = KINDS[kind]
    change(store)
    has_key = keys.key_file(store).exists()
    assert expected in problems(store)
    assert keys.key_file(store).exists() == has_key


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "version of the layout"])
def test_it_is_still_found_after_the_store_went_on(store, kind):
    KINDS[kind][0](store)
    bench = Bench(store)
    for number in range(3):
        bench.span(f"later {number}", attributes=CHAT)
    bench.store.add_event(Event("a", "later", "AUTH", "INFO", time.time_ns(), {}))
    bench.flush()
    assert bench.store.stats()["dropped"] == {}
    names = {row["name"] for row in bench.rows("SELECT CAST(name AS TEXT) AS name FROM span")}
    assert {"later 0", "later 1", "later 2"} <= names, "one wrong row does not stop the store"
    bench.close()
    trail.seal(store, SETTINGS)
    what = KINDS[kind][1][0]
    found = problems(store)
    assert found, kind
    if what == "key lost":
        assert ("key lost", 11) in found


ODD = {"text": "'odd'", "bytes": "x'ff00'", "nothing": "NULL", "fraction": "1.5", "large number": str(2**62)}


def tables():
    """Every table of the store with its columns."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.install(connection)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        for name in names
        if not name.startswith(("search", "sqlite"))
    }
    connection.close()
    return found


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("table", tables())
def test_no_row_of_another_type_stops_the_store(store, table, odd):
    connection = sqlite3.connect(store, isolation_level=None)
    for column in tables()[table]:
        with suppress(sqlite3.Error):  # SQLite itself refuses some values
            connection.execute(f'UPDATE OR IGNORE {table} SET "{column}" = {ODD[odd]}')
    connection.close()
    bench = Bench(store)
    bench.store._loop._next_maintenance = bench.store._loop._next_seal = 0.0
    for step in range(3):
        bench.span(f"later {step}", attributes={**CHAT, semconv.CYLESTIO_AGENT_ID: "a", semconv.SEVERITY_NUMBER: 3})
        bench.store.add_event(Event("a", "later", "AUTH", "INFO", time.time_ns(), {}))
        bench.flush()
    assert bench.store.stats()["dropped"] == {}
    with fork_guard.guard:
        bench.store._writer.maintain()
        bench.store._writer.seal()
    bench.close()
    with closing(sqlite3.connect(store)) as connection:
        query = "SELECT count(*) FROM span WHERE CAST(name AS TEXT) LIKE 'later%'"
        assert connection.execute(query).fetchone() == (3,)
    trail.verify(store)


def _trace(path):
    with queries.connect(path) as connection:
        traces.trace(connection, traces.latest_run(connection)[0], path)


WITHOUT_KEY = {
    "verify": trail.verify,
    "seal": lambda path: trail.seal(path, SETTINGS),
    "export": lambda path: trail.export(path, SETTINGS, path.with_name("evidence")),
    "removal of old rows": lambda path: admin.remove_before(path, SETTINGS, 1),
    "compaction": lambda path: admin.optimize(path, SETTINGS),
    "decision about a tool": lambda path: triage.decide_tool(
        path, SETTINGS, server="s", name="n", digest="d", state="approved", by="Ann"
    ),
    "approvals": lambda path: StoredApprovals(path, SETTINGS),
    "conversation": _trace,
}


@pytest.mark.parametrize("operation", WITHOUT_KEY)
def test_only_a_monitored_program_creates_a_key(store, operation):
    keys.key_file(store).unlink()
    with suppress(keys.KeyLostError):
        WITHOUT_KEY[operation](store)
    assert not keys.key_file(store).exists()
    store.unlink()
    with suppress(StoreError):
        WITHOUT_KEY[operation](store)
    assert not keys.key_file(store).exists()


@pytest.mark.parametrize("command", [("audit", "verify"), ("audit", "checkpoint")])
def test_a_lost_key_is_called_lost(store, command):
    keys.key_file(store).unlink()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cylestio")), "--db", str(store), *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "key lost" in done.stdout + done.stderr
    assert done.returncode == (1 if command[1] == "verify" else 3)
    assert not keys.key_file(store).exists()
