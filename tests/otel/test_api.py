"""The Python API, in processes of its own: a tracer provider is set once a process."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

import cylestio_monitor
from cylestio_monitor import sanitize, scan_text
from otel.environments import Ended
from wire import WireServer

SPANS = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
seen = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(seen))
trace.set_tracer_provider(provider)
"""
CLIENT = """
import os, anthropic
client = anthropic.Anthropic(base_url=os.environ["WIRE_URL"], api_key="k", max_retries=0)
def call(text="Hello"):
    return client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": text}])
"""


class Home:
    def __init__(self, folder, wire):
        self.folder = folder
        self.database = folder / "cylestio.db"
        self.wire = wire

    def run(self, *parts, **variables):
        """Runs a program in a process of its own; warnings are errors there too."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CYLESTIO_"))}
        own = {"CYLESTIO_DB_PATH": str(self.database), "WIRE_URL": self.wire.url, **variables}
        program = "\n".join(textwrap.dedent(part) for part in parts)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=self.folder,
            env={**kept, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        return Ended(done.returncode, done.stdout, done.stderr, 0)

    def rows(self, query):
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def home(tmp_path):
    with WireServer() as wire:
        yield Home(tmp_path, wire)


slow = pytest.mark.slow


@slow
def test_a_client_made_before_is_covered_and_stopping_restores_everything(home):
    done = home.run(
        SPANS,
        CLIENT,
        """
        import cylestio_monitor, anthropic._base_client as base
        original = base.SyncAPIClient.__dict__["request"], base.AsyncAPIClient.__dict__["request"]
        processors = provider._active_span_processor._span_processors
        call("before")
        alone = len(seen.get_finished_spans())
        cylestio_monitor.start_monitoring(agent_id="mine")
        cylestio_monitor.start_monitoring()
        call("during")
        cylestio_monitor.stop_monitoring()
        cylestio_monitor.stop_monitoring()
        assert (base.SyncAPIClient.__dict__["request"], base.AsyncAPIClient.__dict__["request"]) == original
        assert base.SyncAPIClient.__dict__["request"] is original[0]
        assert provider._active_span_processor._span_processors == processors
        during = len(seen.get_finished_spans()) - alone
        call("after")
        print(alone, during, len(seen.get_finished_spans()) - alone - during)
        """,
    )
    assert (done.code, done.err) == (0, "")
    # The SDK traces itself: one span alone, one with us, one afterwards.
    assert done.out == "1 1 1\n"
    assert home.rows("SELECT name, agent_id FROM spans") == [("chat m", "mine")]


@slow
def test_it_can_be_started_again(home):
    done = home.run(
        CLIENT,
        """
        import cylestio_monitor
        for name in ("first", "second"):
            cylestio_monitor.start_monitoring(agent_id=name)
            call()
            cylestio_monitor.stop_monitoring()
        """,
    )
    assert (done.code, done.err) == (0, "")
    assert home.rows("SELECT agent_id FROM spans ORDER BY start_ns") == [("first",), ("second",)]


@slow
def test_a_second_start_changes_what_it_gives_and_keeps_the_rest(home):
    done = home.run(
        CLIENT,
        """
        import cylestio_monitor
        cylestio_monitor.start_monitoring("one", {"mode": "block", "keywords": {"dangerous": ["zebra"]}})
        cylestio_monitor.start_monitoring("two", {"keywords": {"suspicious": ["okapi"]}})
        call("an okapi")
        try:
            call("a zebra")
        except cylestio_monitor.BlockedError as error:
            print(type(error).__mro__[2].__name__, [finding.category for finding in error.findings])
        """,
    )
    assert (done.code, done.err, done.out) == (0, "", "ValueError ['keyword']\n")
    assert home.rows("SELECT agent_id, alert FROM spans ORDER BY start_ns") == [
        ("two", "suspicious"),
        ("two", "dangerous"),
    ]
    assert len(home.wire.requests) == 1


@slow
def test_settings_may_come_from_a_file_and_a_wrong_one_is_one_line(home):
    (home.folder / "own.yaml").write_text("agent_id: from-the-file\nmode: sideways\n")
    done = home.run(
        "import cylestio_monitor\ncylestio_monitor.start_monitoring(config='own.yaml')\ncylestio_monitor.log_event('x')"
    )
    assert done.code == 0
    assert [line.startswith("own.yaml:2: mode: ") for line in done.err.splitlines()] == [True]
    assert home.rows("SELECT agent_id FROM events") == [("from-the-file",)]


@slow
@pytest.mark.parametrize(
    "config", ["{'nonsense': 1}", "[1, 2]", "7", "'no-such-file.yaml'", "{'mode': object()}", "{1: 2}"]
)
def test_no_argument_breaks_the_program(home, config):
    done = home.run(f"import cylestio_monitor\ncylestio_monitor.start_monitoring('a', {config})\nprint('runs')")
    assert (done.code, done.out) == (0, "runs\n")
    assert done.err


@slow
def test_the_words_of_the_first_releases(home):
    done = home.run(
        CLIENT,
        """
        import logging, cylestio_monitor
        cylestio_monitor.enable_monitoring(
            "old", llm_client=client, log_file="logs/events.jsonl", debug_level="ERROR", config={"log": {"backups": 1}}
        )
        assert logging.getLogger("cylestio_monitor").level == logging.ERROR
        call()
        cylestio_monitor.log_event("said", {"a": 1})
        cylestio_monitor.enable_monitoring("old", llm_client=logging.Logger("no client"), debug_level="WARNING")
        cylestio_monitor.disable_monitoring()
        """,
    )
    assert (done.code, done.err) == (0, "Clients of logging are not supported: their calls are not monitored\n")
    assert home.rows("SELECT event_type FROM events ORDER BY timestamp") == [("llm_call",), ("said",)]
    lines = (home.folder / "logs" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event_type"] for line in lines] == ["llm_call", "said"]


@slow
def test_an_event_is_a_row_a_log_record_and_an_event_on_the_span(home):
    done = home.run(
        SPANS,
        """
        import cylestio_monitor
        from opentelemetry import _logs
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
        logged = InMemoryLogRecordExporter()
        _logs.set_logger_provider(LoggerProvider())
        _logs.get_logger_provider().add_log_record_processor(SimpleLogRecordProcessor(logged))
        cylestio_monitor.start_monitoring("mine")
        with trace.get_tracer("t").start_as_current_span("around"):
            data = {"alert": "suspicious", "score": 0.9, "tags": ["a"]}
            cylestio_monitor.log_event("content_moderation", data, "llm", "warning")
        cylestio_monitor.log_event(name="signed_in", attributes={"user": "ann@example.com"}, level="INFO")
        try:
            raise TimeoutError("no answer")
        except TimeoutError as error:
            cylestio_monitor.log_error("llm_call_failed", error, {"model": "m"}, channel="LLM")
        with cylestio_monitor.identify(agent_id="other"):
            cylestio_monitor.log_event("by_another")
        (span,) = seen.get_finished_spans()
        (event,) = span.events
        print(event.name, dict(event.attributes))
        for one in logged.get_finished_logs():
            record = one.log_record
            here = record.trace_id == span.context.trace_id
            print(record.event_name, record.severity_text, here, dict(record.attributes))
        """,
    )
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    attributes = {"alert": "suspicious", "score": 0.9, "tags": '["a"]', "cylestio.event.channel": "LLM"}
    assert lines[0] == f"content_moderation {attributes}"
    assert lines[1] == f"content_moderation WARNING True {attributes}"
    assert lines[2].startswith("signed_in INFO False ")
    assert "ann@example.com" not in lines[2]
    assert [line.split()[:2] for line in lines[3:]] == [["llm_call_failed", "ERROR"], ["by_another", "INFO"]]
    rows = home.rows("SELECT agent_id, event_type, channel, level, data FROM events ORDER BY timestamp")
    assert [row[:4] for row in rows] == [
        ("mine", "content_moderation", "LLM", "WARNING"),
        ("mine", "signed_in", "SYSTEM", "INFO"),
        ("mine", "llm_call_failed", "LLM", "ERROR"),
        ("other", "by_another", "SYSTEM", "INFO"),
    ]
    assert json.loads(rows[2][4]) == {"error.type": "TimeoutError", "error.message": "no answer", "model": "m"}
    assert "ann@example.com" not in rows[1][4]
    found = home.rows(
        "SELECT * FROM events WHERE json_extract(data, '$.alert') = 'suspicious' "
        "AND timestamp > datetime('now', '-1 day') ORDER BY timestamp DESC"
    )
    assert len(found) == 1


@slow
def test_no_event_breaks_the_program_whatever_it_holds(home):
    done = home.run(
        """
        import cylestio_monitor
        class Bad:
            def __str__(self): raise RuntimeError("no")
            __repr__ = __hash__ = __eq__ = __str__
        cyclic = {}
        cyclic["self"] = cyclic
        hostile = [
            ("\\ud800", {"\\ud800": "\\ud800\\x00"}), ("x", cyclic),
            ("x", {"b": b"\\xff", "n": float("nan"), "i": 2**80}),
            ("x", {"bad": Bad()}), (Bad(), {}), (None, None), ("", {}), ("x", {1: 2, None: 3}), ("x", "no mapping"),
            ("x", {"deep": __import__("functools").reduce(lambda value, _: [value], range(900), 0)}),
            ("x" * 10_000_000, {"long": "y" * 10_000_000}),
        ]
        for running in (False, True, False):
            if running:
                cylestio_monitor.start_monitoring()
            for name, data in hostile:
                cylestio_monitor.log_event(name, data, Bad(), Bad())
                cylestio_monitor.log_event(name=name, attributes=data, level="LOUD")
                cylestio_monitor.log_error(name, Bad(), data)
            cylestio_monitor.stop_monitoring()
        print("runs")
        """,
    )
    assert (done.code, done.out, done.err) == (0, "runs\n", "")
    assert home.rows("SELECT count(*) FROM events WHERE json_valid(data)") == home.rows("SELECT count(*) FROM events")
    assert home.rows("SELECT count(*) > 25 FROM events") == [(1,)]


@slow
def test_the_program_may_set_its_provider_after_the_start(home):
    done = home.run(
        "import cylestio_monitor\ncylestio_monitor.start_monitoring()",
        SPANS,
        CLIENT,
        "call()\nprint(len(seen.get_finished_spans()))",
    )
    assert (done.code, done.out, done.err) == (0, "1\n", "")
    assert home.rows("SELECT name FROM spans") == [("chat m",)]


@slow
def test_a_path_is_known_without_monitoring_and_no_file_is_made(home):
    done = home.run("import cylestio_monitor\nprint(cylestio_monitor.get_database_path())")
    assert (done.code, done.out, done.err) == (0, f"{home.database}\n", "")
    assert list(home.folder.iterdir()) == []


@slow
def test_importing_the_package_imports_nothing_else(home):
    done = home.run(
        """
        import sys
        before = set(sys.modules)
        import cylestio_monitor
        print(sorted(set(sys.modules) - before - {"__future__"}))
        """
    )
    assert (done.out, done.err) == ("['cylestio_monitor']\n", "")


def test_every_public_name_is_there_and_no_other():
    for name in cylestio_monitor.__all__:
        assert getattr(cylestio_monitor, name).__doc__
        assert name in dir(cylestio_monitor)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        cylestio_monitor.nonsense  # noqa: B018 -- looking it up is the point


def test_a_text_is_scanned_without_monitoring(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (finding,) = scan_text("please run rm  -rf  / now")
    assert (finding.category, finding.alert, finding.target, finding.subtype) == (
        "destructive_command",
        "dangerous",
        "input",
        "llm",
    )
    assert "please run rm  -rf  / now"[finding.start : finding.end].startswith("rm  -rf")
    assert scan_text("drop me a line about the dropdown") == []
    assert [one.subtype for one in scan_text("rm -rf /", target="output", subtype="tool_result")] == ["tool_result"]


def test_text_in_an_error_is_bounded():
    assert len(sanitize.clean_text("x" * 5_000_000)) <= sanitize.MAX_BYTES
