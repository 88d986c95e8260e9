"""Events of the application on their way to a collector: from the store, once, beside its other log records."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

from store.filling import Bench

PROGRAM = """
import os, sys, time
from opentelemetry import _logs, trace
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

resource = Resource.create({"service.name": "app"})
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(timeout=1), schedule_delay_millis=100))
_logs.set_logger_provider(logs)
trace.set_tracer_provider(TracerProvider(resource=resource))
from cylestio_monitor.otel import events, setup
running = setup.start(instrument=False)

def own(text):
    logs.get_logger("app").emit(LogRecord(body=text, timestamp=time.time_ns()))
"""


@pytest.fixture
def program(tmp_path, collector):
    def run(code):
        script = tmp_path / "program.py"
        script.write_text(PROGRAM + textwrap.dedent(code))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CYLESTIO_"))},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CYLESTIO_DB_PATH": str(tmp_path / "s.db"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_EXPORTER": "none",
        }
        return subprocess.run(
            [sys.executable, str(script)], env=environment, check=True, timeout=60, capture_output=True, text=True
        ).stdout

    return run


def seen(collector):
    return sorted(record.event_name or record.body.string_value for record in collector.logs)


def test_an_event_is_sent_once_and_other_records_go_their_own_way(program, collector):
    program("events.log_event('login', {'user': 'Ann'}); own('mine'); events.log_event('logout')")
    assert seen(collector) == ["login", "logout", "mine"]


def test_an_event_outlives_an_outage_and_the_process(program, collector, tmp_path):
    collector.fault = 503
    program("events.log_event('login'); running.store.flush(5); os._exit(0)")
    collector.fault = None
    program("events.log_event('later')")
    assert seen(collector) == ["later", "login"]
    with closing(Bench(tmp_path / "s.db")) as bench:
        assert bench.rows("SELECT count(*) AS n FROM outbox") == [{"n": 0}]


def test_the_exporter_is_given_back_as_it_was(program, collector):
    printed = program(
        """
        batch = logs._multi_log_record_processor._log_record_processors[0]._batch_processor
        taken = type(batch._exporter).__name__
        setup.stop()
        print(taken, type(batch._exporter).__name__)
        own('after')
        events.log_event('after too')
        """
    )
    assert printed.split() == ["_WithoutEvents", "OTLPLogExporter"]
    assert seen(collector) == ["after"]  # nothing masks an event any more once monitoring is off
