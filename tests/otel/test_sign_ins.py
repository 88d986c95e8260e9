"""Sign-ins that `log_event` reports: event, metric, audit trail and command line, in a process of their own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

pytestmark = pytest.mark.slow

START = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import json
import cylestio_monitor as c
reader, seen = InMemoryMetricReader(), InMemorySpanExporter()
metrics.set_meter_provider(MeterProvider([reader]))
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(seen))
tracer = trace.get_tracer("app")
def sign_in(user, granted=False, **more):
    c.log_event("user_authentication", {"user": user, "granted": granted, **more}, channel="AUTH")
"""
POINTS = """
print(json.dumps([
    [point.attributes["rule"], point.attributes["severity"], point.attributes["action"], point.value]
    for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics for m in s.metrics
    if m.name == "cylestio.security.findings" for point in m.data.data_points if point.value
]))
"""


class Program:
    def __init__(self, folder):
        self.folder = folder

    def environment(self, variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CYLESTIO_"))}
        return {**kept, "CYLESTIO_DB_PATH": str(self.folder / "cylestio.db"), **variables}

    def run(self, text, *, points=False, **variables):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", START + textwrap.dedent(text) + (POINTS if points else "")],
            cwd=self.folder, env=self.environment(variables), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def command(self, *words):
        command = [sys.executable, "-c", "from cylestio_monitor.cli import main; main()", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment({}), capture_output=True, text=True, check=False, timeout=60
        )

    def rows(self, query):
        with closing(sqlite3.connect(self.folder / "cylestio.db")) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


def test_failures_of_one_user_are_in_event_span_metric_store_and_audit_trail(program):
    out = program.run(
        """
        c.start_monitoring("shop", {"authentication": {"failures": 3}})
        with c.identify(session_id="s-1"), tracer.start_as_current_span("POST /login"):
            for _ in range(3):
                sign_in("ada@example.org", address="10.0.0.7")
        c.stop_monitoring()
        (span,) = seen.get_finished_spans()
        print(f"{span.context.trace_id:032x}")
        print(json.dumps([[e.name, dict(e.attributes).get("cylestio.security.finding.rule")] for e in span.events]))
        """,
        points=True,
    )
    trace_id, *lines = out.splitlines()
    events, points = map(json.loads, lines)
    rule = "authentication.repeated-failures"
    assert events == [["user_authentication", None]] * 3 + [["cylestio.security.finding", rule]]
    assert points == [[rule, "medium", "audit", 1]]
    query = (
        "SELECT data FROM events WHERE json_extract(data, '$.alert') = 'suspicious' "
        "AND timestamp > datetime('now', '-1 day')"
    )
    ((data,),) = program.rows(query)
    assert json.loads(data)["cylestio.security.rules"] == [rule]
    columns = "rule_id, category, severity, alert, subtype, action, agent_id, session_id, owasp, trace_id"
    (row,) = program.rows(f"SELECT {columns} FROM findings")
    assert row[:9] == (rule, "authentication", "medium", "suspicious", "event", "audit", "shop", "s-1", '["ASI03"]')
    assert row[9] == trace_id
    assert program.rows("SELECT count(*) FROM audit WHERE kind = 'finding'") == [(1,)]
    assert program.command("audit", "verify").returncode == 0
    (line,) = [json.loads(text) for text in program.command("findings", "--json").stdout.splitlines()]
    assert line["rule_id"] == rule
    stored = (program.folder / "cylestio.db").read_bytes()
    assert b"ada@example.org" not in stored


def test_users_whose_names_are_masked_alike_are_still_different_users(program):
    program.run(
        """
        c.start_monitoring("shop", {"authentication": {"failures": 3, "users": 4}})
        for user in ("a@example.org", "b@example.org", "c@example.org"):
            sign_in(user)
        c.stop_monitoring()
        """
    )
    assert program.rows("SELECT count(*) FROM findings") == [(0,)]


def test_each_kind_is_found_without_a_span_and_repeated_ones_are_all_stored(program):
    program.run(
        """
        c.start_monitoring("shop", {"authentication": {"failures": 2, "users": 3}})
        for user in ("ada", "ada", "ada", "ada", "bob", "eve"):
            sign_in(user, address="10.0.0.7")
        sign_in("ada", True, roles=["staff"])
        sign_in("ada", True, roles=["staff", "admin"])
        c.stop_monitoring()
        """
    )
    rows = program.rows("SELECT rule_id, severity, user_id FROM findings ORDER BY id")
    assert rows == [
        ("authentication.repeated-failures", "medium", "ada"),
        ("authentication.repeated-failures", "medium", "ada"),
        ("authentication.many-users", "medium", "eve"),
        ("authentication.role-change", "medium", "ada"),
    ]


@pytest.mark.parametrize(
    ("given", "expected"), [("dangerous", "dangerous"), ("none", "suspicious"), ("odd", "suspicious")]
)
def test_the_alert_of_the_application_is_raised_and_never_lowered(program, given, expected):
    program.run(
        f"""
        c.start_monitoring("shop", {{"authentication": {{"failures": 1}}}})
        sign_in("ada", alert={given!r})
        c.stop_monitoring()
        """
    )
    assert program.rows("SELECT json_extract(data, '$.alert') FROM events") == [(expected,)]


def test_sign_ins_before_the_start_count_and_silences_hold(program):
    program.run(
        """
        for _ in range(2):
            sign_in("ada")
        silence = [{"rule": "authentication.role-change"}]
        c.start_monitoring("shop", {"authentication": {"failures": 3}, "rules": {"silence": silence}})
        sign_in("ada", roles=["a"])
        sign_in("ada", True, roles=["a"])
        sign_in("ada", True, roles=["b"])
        c.log_event("content_moderation", {"user": "ada", "granted": False})
        c.stop_monitoring()
        """
    )
    assert program.rows("SELECT rule_id FROM findings") == [("authentication.repeated-failures",)]
