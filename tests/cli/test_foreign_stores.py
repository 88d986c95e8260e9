"""A store that somebody else made: every command ends in time with an answer or one line, and changes nothing."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import time

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.store import Event
from cylestio_monitor.store.read import limits
from store.filling import Bench

CHAT = {semconv.OPERATION_NAME: "chat", semconv.SEVERITY_NUMBER: 3, semconv.ALERT: "dangerous"}
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
TRACE, SPAN = "the id of the last trace", "the id of its span"
COMMANDS = {
    "status": ("status",),
    "events": ("events",),
    "events by alert": ("events", "--since", "1d", "--json"),
    "findings": ("findings",),
    "traces": ("traces",),
    "sessions": ("sessions",),
    "agents": ("agents",),
    "tools": ("tools",),
    "users": ("users",),
    "search": ("search", "chat"),
    "trace": ("trace", TRACE),
    "trace as JSON": ("trace", TRACE, "--json"),
    "show": ("show", SPAN),
    "outbox": ("outbox",),
    "audit": ("audit", "verify"),
    "approvals": ("approvals",),
    "doctor": ("doctor", "--no-probe"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "cylestio.db"
    bench = Bench(path)
    for number in range(5):
        span = bench.tracer.start_span(f"chat {number}", attributes={**CHAT, semconv.CYLESTIO_AGENT_ID: "a"})
        span.add_event(semconv.EVENT_FINDING, {semconv.FINDING_RULE: "a.b", semconv.FINDING_SEVERITY: "high"})
        span.end()
        bench.store.add_event(Event("a", "login", "AUTH", "INFO", time.time_ns(), {"alert": "none"}))
    bench.flush()
    bench.close()
    return path


def sql(*statements):
    def change(path):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return change


def endless(name, kind="VIEW"):
    """Puts a view without an end into the place of a table or a view."""

    def change(path):
        connection = sqlite3.connect(path, isolation_level=None)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        connection.execute(f"DROP {kind} {name}")
        values = ", ".join(f'x AS "{column}"' for column in columns)
        connection.execute(f"CREATE VIEW {name} AS {ENDLESS} SELECT {values} FROM n")
        connection.close()

    return change


def generated(table, column, expression):
    """Puts a generated column in the place of a stored one."""

    def change(path):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(f"DROP VIEW events; DROP VIEW spans; ALTER TABLE {table} RENAME TO old_one;")
        columns = [row[1] for row in connection.execute("PRAGMA table_info(old_one)")]
        rest = ", ".join(f'"{name}"' for name in columns if name != column)
        connection.execute(f'CREATE TABLE {table} ({rest}, "{column}" AS (0))')
        connection.execute(f"INSERT INTO {table} ({rest}) SELECT {rest} FROM old_one")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'AS (0)', ?)", (f"AS ({expression})",))
        connection.close()

    return change


DEEP = "[" * 100_000 + "]" * 100_000
FORMS = {
    "as the store made it": lambda _: None,
    "endless view of events": endless("events"),
    "endless view of spans": endless("spans"),
    "endless spans": endless("span", "TABLE"),
    "endless findings": endless("findings", "TABLE"),
    "endless trail": endless("audit", "TABLE"),
    "endless counters": endless("meta", "TABLE"),
    "endless runs": endless("run", "TABLE"),
    "large generated column": generated("span", "name", "printf('%.*c', 100000000, 'x')"),
    "larger generated column": generated("event", "data", "hex(zeroblob(400000000))"),
    "slow generated column": generated("findings", "rule_id", "replace(hex(zeroblob(50000000)), '0', 'long text')"),
    "deep JSON": sql(
        "DROP INDEX event_alert",
        "DROP INDEX span_alert",
        f"UPDATE span SET attributes = '{DEEP}'",
        f"UPDATE event SET data = '{DEEP}'",
    ),
    "deep JSON of shared parts": sql(f"UPDATE shared SET body = '{DEEP}'"),
    "no JSON": sql(
        "DROP INDEX event_alert",
        "DROP INDEX span_alert",
        "UPDATE event SET data = 'x'",
        "UPDATE span SET attributes = '{'",
    ),
    "text for numbers": sql("UPDATE span SET start_ns = 'x', end_ns = 'y'", "UPDATE run SET start_ns = 'x'"),
    "bytes for text": sql("UPDATE run SET name = x'ff', agent_id = x'00'", "UPDATE findings SET path = x'ff'"),
    "large numbers": sql(
        "UPDATE span SET start_ns = 9223372036854775807", "UPDATE run SET end_ns = 9223372036854775807"
    ),
    "negative times": sql("UPDATE event SET time_ns = -9223372036854775807", "UPDATE usage SET hour = -1"),
    "numbers that are none": sql("UPDATE entity SET cost = 9e999, first_ns = 1.5", "UPDATE usage SET first_ns = 'x'"),
    "no tables": sql("DELETE FROM sqlite_master"),
    "FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "no database": lambda path: path.write_bytes(b"text" * 10_000),
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 3),
}


@pytest.fixture
def limited(monkeypatch):
    """Short limits, and a memory that a hostile file must not fill."""
    monkeypatch.setattr(limits, "SECONDS", 0.3)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("form", FORMS)
def test_every_command_ends_with_an_answer_or_one_line(cylestio, place, made, limited, form):
    path = place / "cylestio.db"
    shutil.copy(made, path)
    shutil.copy(f"{made}.key", f"{path}.key")
    FORMS[form](path)
    with sqlite3.connect(made) as connection:
        ids = connection.execute("SELECT trace_id, span_id FROM spans ORDER BY id DESC").fetchone()
    connection.close()
    for name, words in COMMANDS.items():
        started = time.monotonic()
        answer = cylestio(*(dict(zip((TRACE, SPAN), ids, strict=True)).get(word, word) for word in words))
        assert answer.code in {0, 1, 3}, (name, answer)
        assert answer.code != 3 or form != "as the store made it", (name, answer)
        if answer.code == 3:
            assert len(answer.err.strip().splitlines()) <= 2, (name, answer)
            assert answer.err.startswith("error: "), (name, answer)
        assert time.monotonic() - started < 60, name  # a command that hangs would take for ever
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20
