"""The store as its callers see it: tickets, durability, schema, status, its own metrics."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from cylestio_monitor import config, semconv
from cylestio_monitor.store import Event, Store, StoreError
from cylestio_monitor.store.delivery.self_metrics import observe
from cylestio_monitor.store.ingest import side_file
from cylestio_monitor.store.read import queries, traces
from cylestio_monitor.store.read.events import events, follow
from cylestio_monitor.store.sqlite import fork_guard, migrations, schema
from store.conftest import eventually
from store.filling import Bench

SCHEMAS = Path(__file__).parent / "schemas"
CHAT = {semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "m", semconv.CYLESTIO_AGENT_ID: "a"}
FLAGGED = {**CHAT, semconv.SEVERITY_NUMBER: 4, semconv.ALERT: "dangerous"}


def test_a_ticket_tells_when_its_span_is_on_disk(bench):
    ticket = bench.span("flagged", attributes=FLAGGED)
    assert ticket.urgent
    assert ticket.wait(5)
    assert ticket.durable
    assert bench.rows("SELECT name FROM spans") == [{"name": "flagged"}]
    assert not bench.span("plain").urgent


def test_a_wait_that_comes_to_nothing_ends_in_time_and_is_counted(bench, monkeypatch):
    def full(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(side_file.SideFile, "append", full)
    with fork_guard.guard:  # the disk is slow
        ticket = bench.span("flagged", attributes=FLAGGED)
        assert not ticket.wait(0.05)
        assert not asyncio.run(ticket.wait_async(0.05))
    assert bench.store.stats()["late"] == 2
    assert ticket.wait(5)


def test_many_waiters_of_many_loops_are_all_told(bench):
    async def wait():
        tickets = [bench.span("flagged", attributes=FLAGGED) for _ in range(20)]
        return await asyncio.gather(*(ticket.wait_async(5) for ticket in tickets))

    assert all(asyncio.run(wait()))
    assert all(asyncio.run(wait()))


def test_a_flagged_commit_is_synced_and_any_other_is_not(bench):
    modes = []
    connection = bench.store._writer.connection()
    connection.set_trace_callback(lambda sql: modes.append(sql) if "synchronous" in sql else None)
    bench.span("plain")
    bench.flush()
    assert bench.span("flagged", attributes=FLAGGED).wait(5)
    bench.flush()
    connection.set_trace_callback(None)
    assert modes[-2:] == ["PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"]


def test_nothing_is_taken_after_the_end_and_that_is_counted(bench):
    bench.span()
    bench.store.close()
    assert not bench.span().wait(1)
    assert bench.store.stats()["dropped"] == {"closed": 1}
    assert len(bench.rows("SELECT 1 FROM span")) == 1


def test_one_process_has_one_store_for_a_file(bench):
    assert Store.shared(bench.path, config.StoreSettings()) is bench.store
    assert Store.running() is bench.store
    bench.store.close()
    other = Store.shared(bench.path, config.StoreSettings())
    assert other is not bench.store
    other.close()


def test_a_store_keeps_its_key(bench, tmp_path):
    assert len(bench.store.key) == 32
    bench.close()
    again = Bench(bench.path)
    assert again.store.key == bench.store.key
    again.close()


def test_every_monitored_span_is_an_event_with_what_the_table_promises(bench):
    bench.span("chat m", attributes={**FLAGGED, semconv.ACTION: "block", semconv.RULES: ["a.b"]})
    bench.span("tools/call x", attributes={semconv.OPERATION_NAME: "execute_tool", semconv.MCP_METHOD: "tools/call"})
    bench.span("initialize", attributes={semconv.MCP_METHOD: "initialize"})
    bench.span("GET /")
    bench.flush()
    with queries.connect(bench.path) as connection:
        rows = events(connection)
    shown = [(row.event_type, row.channel, row.level, row.agent_id) for row in reversed(rows)]
    assert shown == [
        ("llm_call", "LLM", "WARNING", "a"),
        ("tool_call", "MCP", "INFO", None),
        ("mcp_request", "MCP", "INFO", None),
    ]
    data = rows[-1].data
    assert {key: data[key] for key in ("alert", "severity", "rules", "action", "model")} == {
        "alert": "dangerous",
        "severity": "critical",
        "rules": ["a.b"],
        "action": "block",
        "model": "m",
    }


def test_follow_returns_each_event_once(bench):
    with queries.connect(bench.path) as connection:
        rows, cursor = follow(connection)
        assert rows == []
        bench.span("chat", attributes=CHAT)
        bench.store.add_event(Event("a", "x", "SYSTEM", "INFO", time.time_ns(), {}))
        bench.flush()
        rows, cursor = follow(connection, cursor)
        assert {row.event_type for row in rows} == {"llm_call", "x"}
        assert follow(connection, cursor)[0] == []


def test_a_trace_is_a_tree_with_findings_and_content(bench):
    with bench.tracer.start_as_current_span("parent") as parent:
        bench.span("child", attributes={**CHAT, semconv.INPUT_MESSAGES: "hello"})
    bench.flush()
    trace_id = f"{parent.get_span_context().trace_id:032x}"
    with queries.connect(bench.path) as connection:
        (root,) = traces.trace(connection, trace_id[:8])
        assert root.children[0].span["attributes"][semconv.INPUT_MESSAGES] == "hello"
        assert traces.trace(connection, "f" * 31) == []
        assert traces.latest_run(connection) == [trace_id]
        bench.span("other")
        bench.flush()
        with pytest.raises(StoreError, match="several"):
            traces.trace(connection, "")


def test_flagged_spans_are_found_by_their_index(bench):
    bench.span("flagged", attributes=FLAGGED)
    bench.span("plain", attributes=CHAT)
    bench.flush()
    with queries.connect(bench.path) as connection:
        since = datetime.now(timezone.utc) - timedelta(days=1)
        assert [row.name for row in queries.flagged(connection, since=since)] == ["flagged"]
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM events WHERE json_extract(data, '$.alert') = 'suspicious' "
            "AND timestamp > datetime('now', '-1 day') ORDER BY timestamp DESC"
        ).fetchall()
    assert any("span_alert" in row["detail"] for row in plan)
    assert any("event_alert" in row["detail"] for row in plan)


def test_the_stores_own_numbers_are_metrics(bench, collector):
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    meter = meters.get_meter("m")
    observe(meter, bench.store)
    observe(meter, bench.store)
    collector.fault = "poison"
    outbox = bench.send_to(collector)
    bench.fill(3)
    bench.span("poison")
    assert outbox.force_flush(10)
    collector.fault = 503
    bench.fill(2)
    bench.flush()
    eventually(lambda: bench.rows("SELECT count(*) AS n FROM outbox WHERE reason IS NULL") == [{"n": 2}])
    points = {
        (metric.name, *point.attributes.values()): point.value
        for group in reader.get_metrics_data().resource_metrics
        for scoped in group.scope_metrics
        for metric in scoped.metrics
        for point in metric.data.data_points
    }
    assert points["cylestio.delivery.queued", "traces"] == 2
    assert points["cylestio.delivery.sent", "traces"] == 3
    assert points["cylestio.delivery.quarantined", "traces"] == 1
    meters.shutdown()


def layout(connection):
    query = (
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL "
        "AND name NOT GLOB 'search_*' AND name NOT GLOB 'sqlite_*' ORDER BY type DESC, name"
    )
    return "".join(f"{row[2]};\n" for row in connection.execute(query))


def test_the_layout_of_every_version_is_kept(bench):
    """A change of the tables needs a new version, a migration, and the layout it starts from kept here."""
    assert [int(file.stem) for file in sorted(SCHEMAS.glob("*.sql"))] == list(range(1, schema.VERSION + 1))
    assert len(migrations.SCRIPTS) == schema.VERSION - 1
    current = layout(bench.store._writer.connection())
    assert current == (SCHEMAS / f"{schema.VERSION}.sql").read_text("utf-8")


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
def test_a_file_of_each_version_opens_as_one_of_this(tmp_path, version):
    path = tmp_path / "s.db"
    connection = sqlite3.connect(path)
    connection.executescript((SCHEMAS / f"{version}.sql").read_text("utf-8"))
    connection.execute("INSERT INTO shared VALUES (1, x'00', '{\"resource\":{}}')")
    connection.execute(
        "INSERT INTO event (agent_id, event_type, channel, level, timestamp, time_ns, data, checksum) "
        "VALUES ('a', 'kept', 'SYSTEM', 'INFO', datetime('now'), ?, '{}', 0)",
        (time.time_ns(),),
    )
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()
    path.chmod(0o644)
    bench = Bench(path)
    bench.span("chat", attributes=CHAT)
    bench.flush()
    assert {row["event_type"] for row in bench.rows("SELECT event_type FROM events")} == {"kept", "llm_call"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert layout(bench.store._writer.connection()) == (SCHEMAS / f"{schema.VERSION}.sql").read_text("utf-8")
    bench.close()


def test_a_process_of_this_version_stands_back_once_a_newer_one_has_migrated_the_file(bench, caplog):
    bench.span("before", attributes=CHAT)
    bench.flush()
    newer = """
    import sys
    from pathlib import Path
    from cylestio_monitor.store.sqlite import migrations, schema
    added = "ALTER TABLE span ADD COLUMN next_thing TEXT NOT NULL DEFAULT 'none'"
    migrations.SCRIPTS = (*migrations.SCRIPTS, added)
    schema.VERSION += 1
    from store.filling import Bench
    bench = Bench(Path(sys.argv[1]))
    bench.span("of the next version")
    bench.flush()
    bench.close()
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(newer), str(bench.path)]
    subprocess.run(command, env=environment, check=True, timeout=60)
    bench.span("after")
    assert not bench.store.flush(2.5)
    assert bench.store.stats()["waiting"] >= 1
    assert "newer version" in bench.store.stats()["error"]
    assert [record.getMessage().count("newer version") for record in caplog.records] == [1]
    rows = bench.rows("SELECT name, next_thing FROM span ORDER BY id")
    assert rows == [{"name": name, "next_thing": "none"} for name in ("before", "of the next version")]
    assert len(bench.rows("SELECT 1 FROM events")) == 1
