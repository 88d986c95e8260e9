"""A backend that does not accept a signal: one log line, the records set aside, the other signals delivered."""

from __future__ import annotations

import logging
import time

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from cylestio_monitor.store import Event
from store.collector import Collector
from store.grpc_collector import GrpcCollector

STATUSES = [404, 405, 501]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def expected_warning(signal, answer):
    problem = f"the backend does not accept this signal ({answer})"
    return f"OTLP export of {signal}: {problem}; the records are set aside in the local store"


@pytest.mark.parametrize("status", STATUSES)
def test_spans_that_the_backend_does_not_accept_are_set_aside_and_reported_once(bench, collector, caplog, status):
    collector.fault = status
    outbox = bench.send_to(collector)
    for part in ("first", "second", "third"):
        bench.fill(10, part)
        assert outbox.force_flush(15)
    assert collector.requests >= 3
    assert not collector.spans
    stats = outbox.stats()["traces"]
    assert (stats["queued"], stats["quarantined"], stats["problem"]) == (0, 30, f"HTTP {status}")
    assert {row["reason"] for row in bench.rows("SELECT reason FROM outbox")} == {
        f"HTTP {status}: the backend does not accept traces"
    }
    assert warnings_of(caplog) == [expected_warning("traces", f"HTTP {status}")]


@pytest.mark.parametrize("status", STATUSES)
def test_a_signal_that_is_not_accepted_does_not_hold_up_another(bench, collector, caplog, status):
    with Collector() as without_logs:
        without_logs.fault = status
        outbox = bench.send_to(
            None,
            traces=OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces", timeout=1),
            logs=OTLPLogExporter(endpoint=f"{without_logs.url}/v1/logs", timeout=1),
        )
        bench.fill(10)
        bench.store.add_event(Event("me", "login", "AUTH", "WARNING", time.time_ns(), {}))
        assert outbox.force_flush(15)
    stats = outbox.stats()
    assert (len(collector.spans), stats["traces"]["quarantined"], stats["traces"]["problem"]) == (10, 0, "")
    assert stats["logs"]["quarantined"] == 1
    assert warnings_of(caplog) == [expected_warning("logs", f"HTTP {status}")]


def test_a_backend_that_accepts_the_signal_later_gets_what_comes_then(bench, collector):
    collector.fault = 404
    outbox = bench.send_to(collector)
    bench.fill(5)
    assert outbox.force_flush(15)
    collector.fault = None
    bench.fill(5, "later")
    assert outbox.force_flush(15)
    assert set(collector.names) == {row["name"] for row in bench.rows("SELECT name FROM span WHERE name GLOB 'later*'")}
    stats = outbox.stats()["traces"]
    assert (stats["quarantined"], stats["sent"], stats["problem"]) == (5, 5, "")


def test_grpc_unimplemented_is_set_aside_and_reported_once(bench, caplog):
    with GrpcCollector() as grpc_collector:
        grpc_collector.code = grpc.StatusCode.UNIMPLEMENTED
        exporter = GrpcSpanExporter(endpoint=f"http://127.0.0.1:{grpc_collector.port}", insecure=True, timeout=1)
        outbox = bench.send_to(None, traces=exporter)
        for part in ("first", "second"):
            bench.fill(10, part)
            assert outbox.force_flush(15)
        assert outbox.stats()["traces"]["quarantined"] == 20
    assert warnings_of(caplog) == [expected_warning("traces", "gRPC UNIMPLEMENTED")]
