"""A process that is killed in the middle of a flagged call: the call is in `events` at once, and is sent later."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from cylestio_monitor.model import Finding
from cylestio_monitor.store.audit import trail
from cylestio_monitor.store.read import lists, queries
from cylestio_monitor.store.read.events import EventFilter, events
from store.conftest import eventually
from store.filling import Bench, begin_flagged

FINDING = Finding("a.b", "secret", "critical", "dangerous", "input", "tool_call", "x", 0, 3, match_hash="ff")
DOCUMENTED = """
SELECT * FROM events
WHERE json_extract(data, '$.alert') = 'dangerous' AND timestamp > datetime('now', '-1 day')
ORDER BY timestamp DESC
"""


def killed(path, code):
    program = "import os, signal, sys\nfrom pathlib import Path\n" + textwrap.dedent(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CYLESTIO_DB_PATH": str(path)}
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def documented(path):
    connection = sqlite3.connect(path)
    rows = connection.execute(DOCUMENTED).fetchall()
    connection.close()
    return rows


IN_THE_CALL = """
from cylestio_monitor import start_monitoring, tool
start_monitoring("app")

@tool
def shell(command):
    os.kill(os.getpid(), signal.SIGKILL)

shell("rm -rf / --no-preserve-root")
"""
AFTER_THE_CALL = """
from cylestio_monitor import start_monitoring, tool
start_monitoring("app")

@tool
def shell(command):
    return "done"

shell("rm -rf / --no-preserve-root")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("code", [IN_THE_CALL, AFTER_THE_CALL], ids=["in the call", "after the call"])
def test_a_flagged_call_is_in_the_documented_query_after_an_immediate_kill(tmp_path, code):
    path = tmp_path / "s.db"
    killed(path, code)
    (row,) = documented(path)
    assert (row[1], row[2]) == ("app", "tool_call")


def interrupted(path):
    """A store whose process was killed between a finding and the end of its span."""
    killed(
        path,
        f"""
        from cylestio_monitor.model import Finding
        from store.filling import Bench, begin_flagged
        bench = Bench(Path(sys.argv[1]))
        finding = Finding(*{tuple(getattr(FINDING, name) for name in FINDING.__slots__)!r})
        bench.store.forward(frozenset({{'traces'}}), None, lambda: None)
        bench.span("before")
        assert begin_flagged(bench.store, 1, 2, finding).wait(5)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )


def test_an_interrupted_call_is_shown_as_such_and_becomes_a_span_that_is_sent(tmp_path, collector):
    path = tmp_path / "s.db"
    interrupted(path)
    with queries.connect(path) as connection:
        (row,) = events(connection, EventFilter(alert="dangerous"))
        assert (row.data["status"], row.data["tool"], row.data["rules"]) == ("interrupted", "shell", ["a.b"])
        assert events(connection, EventFilter(session_id="s", tool="shell")) == [row]
    bench = Bench(path)
    bench.send_to(collector)
    eventually(lambda: not bench.rows("SELECT 1 FROM open_call"))
    bench.span("later")
    assert bench.outbox.force_flush(10)
    assert len(documented(path)) == 1
    with queries.connect(path) as connection:
        (row,) = events(connection, EventFilter(alert="dangerous"))
        assert (row.data["status"], row.data["error_type"], row.data["severity"]) == (
            "error",
            "interrupted",
            "critical",
        )
        (span,) = lists.outline(connection, f"{1:032x}")
        assert (span.name, span.agent_id, span.action) == ("execute_tool shell", "a", "audit")
    assert sorted(collector.names) == ["before", "execute_tool shell", "later"]
    bench.close()
    assert trail.verify(path).sound


def test_a_call_of_a_process_that_runs_is_not_interrupted(tmp_path):
    path = tmp_path / "s.db"
    first, second = Bench(path), Bench(path)
    assert begin_flagged(first.store, 1, 2, FINDING).wait(5)
    second.span("of another store")
    second.flush()
    assert second.store._writer.end_interrupted() == 0
    with queries.connect(path) as connection:
        (row,) = events(connection, EventFilter(alert="dangerous"))
        assert row.data["status"] == "open"
        assert row.id < 0
    for bench in (first, second):
        bench.close()


def test_the_span_takes_the_place_of_the_open_call(bench):
    span = bench.tracer.start_span("chat", attributes={"gen_ai.operation.name": "chat"})
    place = span.get_span_context()
    assert begin_flagged(bench.store, place.trace_id, place.span_id, FINDING).wait(5)
    assert bench.rows("SELECT count(*) AS n FROM open_call") == [{"n": 1}]
    span.end()
    bench.flush()
    assert bench.rows("SELECT count(*) AS n FROM open_call") == [{"n": 0}]
    assert begin_flagged(bench.store, place.trace_id, place.span_id, FINDING).wait(5)
    assert bench.rows("SELECT count(*) AS n FROM open_call") == [{"n": 0}]
    assert bench.rows("SELECT count(*) AS n FROM findings") == [{"n": 1}]
