"""Events that are logged before monitoring starts are written at the start, or reported once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    def program(text, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CYLESTIO_"))}
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(text)],
            cwd=tmp_path,
            env={**kept, "CYLESTIO_DB_PATH": str(tmp_path / "cylestio.db"), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return program


def rows(folder):
    with closing(sqlite3.connect(folder / "cylestio.db")) as connection:
        return connection.execute("SELECT event_type, agent_id, level, data FROM events ORDER BY timestamp").fetchall()


def test_they_are_written_at_the_start_with_their_time_masked(run, tmp_path):
    done = run(
        """
        import cylestio_monitor as c
        c.log_event("user_authentication", {"key": "AKIAQYLPMN5HHHFPZAM2"}, "SECURITY", "warning")
        with c.identify(agent_id="other"):
            c.log_error("failed", ValueError("x"))
        c.start_monitoring("mine")
        c.log_event("late")
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = rows(tmp_path)
    assert [row[:3] for row in found] == [
        ("user_authentication", "mine", "WARNING"),
        ("failed", "other", "ERROR"),
        ("late", "mine", "INFO"),
    ]
    assert "AKIAQYLPMN5HHHFPZAM2" not in found[0][3]


def test_no_span_and_no_log_record_gets_one_before_it_can_be_masked(run):
    done = run(
        """
        from opentelemetry import _logs, trace
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        import cylestio_monitor as c

        spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        provider, records = TracerProvider(), LoggerProvider()
        provider.add_span_processor(SimpleSpanProcessor(spans))
        records.add_log_record_processor(SimpleLogRecordProcessor(logs))
        trace.set_tracer_provider(provider)
        _logs.set_logger_provider(records)
        key = "AKIAQYLPMN5HHHFPZAM2"
        for name in ("early", "running " + key, "late"):
            with provider.get_tracer("x").start_as_current_span("x"):
                c.log_event(name, {"key": key}, channel=key)
                c.log_error(name, ValueError(key))
            c.start_monitoring("mine") if name == "early" else c.stop_monitoring()
        names = [one.log_record.event_name.split()[0] for one in logs.get_finished_logs()]
        text = str([one.to_json() for one in spans.get_finished_spans()])
        text += str([(one.log_record.event_name, dict(one.log_record.attributes)) for one in logs.get_finished_logs()])
        print(names, key in text)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "['early', 'early', 'running', 'running'] False"


@pytest.mark.parametrize(("count", "text"), [(1, "1 event was logged"), (3, "3 events were logged")])
def test_without_a_start_one_line_says_so(run, tmp_path, count, text):
    done = run(f"from cylestio_monitor import log_event\nfor _ in range({count}): log_event('x')")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert text in line
    assert not (tmp_path / "cylestio.db").exists()


@pytest.mark.parametrize(
    "text",
    [
        "from cylestio_monitor import *; log_event('x'); start_monitoring(config={'enabled': False})",
        "from cylestio_monitor import *; start_monitoring(); stop_monitoring(); log_event('x')",
        "from cylestio_monitor import *",
    ],
)
def test_nothing_is_said_where_monitoring_is_off_on_purpose(run, text):
    done = run(text)
    assert (done.returncode, done.stderr) == (0, "")


def test_more_than_the_limit_is_counted(run, tmp_path):
    done = run(
        """
        from cylestio_monitor import log_event, start_monitoring
        for number in range(1005):
            log_event("x", {"number": number})
        start_monitoring()
        """
    )
    assert "5 events that were logged before the start are lost" in done.stderr
    assert len(rows(tmp_path)) == 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_write_the_events_of_its_parent(run, tmp_path):
    done = run(
        """
        import os
        from cylestio_monitor import log_event, start_monitoring, stop_monitoring
        log_event("of the parent")
        child = os.fork()
        start_monitoring()
        stop_monitoring()
        if child:
            os.waitpid(child, 0)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [row[0] for row in rows(tmp_path)] == ["of the parent"]


def test_a_misspelt_mode_at_run_time_keeps_blocking(run):
    done = run(
        """
        from cylestio_monitor import BlockedError, start_monitoring, tool
        @tool
        def shell(command): return "done"
        start_monitoring("a", {"mode": "block"})
        start_monitoring("a", {"mode": "blok"})
        try:
            print(shell("rm -rf / --no-preserve-root"))
        except BlockedError:
            print("refused")
        """
    )
    assert done.stdout == "refused\n"
    assert done.stderr.count("did you mean 'block'?") == 1


@pytest.mark.parametrize("place", ["fifo", "file", "/dev/full", "missing/../fifo"])
def test_a_log_file_that_cannot_be_used_is_one_line_and_does_not_hang(run, tmp_path, place):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("mine")
    done = run(
        "from cylestio_monitor import *\nstart_monitoring()\nlog_event('x')\nprint('runs')", CYLESTIO_LOG_FILE=place
    )
    assert (done.returncode, done.stdout) == (0, "runs\n")
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "mine"
    assert rows(tmp_path)[0][0] == "x"
