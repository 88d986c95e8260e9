"""What the standard variables say holds for what the store sends: TLS, headers, compression, time-outs."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import textwrap
import time

import grpc
import pytest
import trustme
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from cylestio_monitor.store import Event
from cylestio_monitor.store.delivery import exporters
from cylestio_monitor.store.delivery.metric_queue import StoreMetricExporter
from store.collector import Collector
from store.conftest import eventually
from store.grpc_collector import GrpcCollector

SIGNALS = ("traces", "logs", "metrics")
SECRET = "Bearer%20s3cret"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def variables(tmp_path, monkeypatch, authority):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, value in {
        "CERTIFICATE": str(tmp_path / "ca.pem"),
        "HEADERS": f"authorization={SECRET},x-tenant=blue",
        "COMPRESSION": "gzip",
        "TIMEOUT": "5",
    }.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    return monkeypatch


def send_all_signals(bench, protocol):
    """One span, one event and one metric through the store; the exporters are made as the variables say."""
    made = exporters.build(dict.fromkeys(SIGNALS, f"otlp_proto_{protocol}"))
    outbox = bench.send_to(None, **made)
    reader = PeriodicExportingMetricReader(StoreMetricExporter(bench.store, made["metrics"]), 60_000)
    meters = MeterProvider([reader], shutdown_on_exit=False)
    meters.get_meter("m").create_counter("findings").add(3)
    assert meters.force_flush()
    meters.shutdown()
    bench.store.add_event(Event("me", "login", "AUTH", "INFO", time.time_ns(), {}))
    bench.span()
    assert outbox.force_flush(20)
    return outbox


def assert_arrived_and_nothing_told(bench, collector, caplog):
    assert list(collector.spans.values()) == [1]
    assert [record.event_name for record in collector.logs] == ["login"]
    assert {metric.name for metric in collector.metrics} == {"findings"}
    bench.close()
    held = b"".join(file.read_bytes() for file in bench.path.parent.iterdir())
    assert b"s3cret" not in held
    assert "s3cret" not in caplog.text


def test_http_with_tls_headers_and_compression(bench, tmp_path, variables, authority, caplog):
    trustme.CA().cert_pem.write_to_path(tmp_path / "machine.pem")
    variables.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "machine.pem"))
    caplog.set_level("DEBUG")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    with Collector(tls=server) as collector:
        variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"https://localhost:{collector.port}")
        send_all_signals(bench, "http")
        for headers in collector.headers:
            assert headers["authorization"] == "Bearer s3cret"
            assert headers["x-tenant"] == "blue"
            assert headers["content-encoding"] == "gzip"
        assert len(collector.headers) >= 3
        assert_arrived_and_nothing_told(bench, collector, caplog)


def test_grpc_with_tls_and_headers(bench, variables, authority, caplog):
    caplog.set_level("DEBUG")
    issued = authority.issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    with GrpcCollector(grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)])) as collector:
        variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"https://localhost:{collector.port}")
        send_all_signals(bench, "grpc")
        assert len(collector.metadata) >= 3
        assert {metadata["authorization"] for metadata in collector.metadata} == {"Bearer s3cret"}
        assert_arrived_and_nothing_told(bench, collector, caplog)


def test_a_certificate_of_somebody_else_keeps_everything_waiting(bench, variables):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(server)
    with Collector(tls=server) as collector:
        variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"https://localhost:{collector.port}")
        outbox = bench.send_to(None, **exporters.build({"traces": "otlp_proto_http"}))
        bench.span()
        assert not outbox.force_flush(0.6)
        assert collector.requests == 0
        assert outbox.stats()["traces"]["queued"] == 1
        assert "SSL" in outbox.stats()["traces"]["problem"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_timeout_is_that_of_the_variable(bench, monkeypatch, collector, protocol):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3" if protocol == "http" else "1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)  # of HTTP: to gRPC it never says a word
    collector.fault = "hang"
    outbox = bench.send_to(None, **exporters.build({"traces": f"otlp_proto_{protocol}"}))
    began = time.monotonic()
    bench.span()
    eventually(lambda: outbox.stats()["traces"]["failures"])
    assert time.monotonic() - began < 8  # not the ten seconds that are the default
    assert outbox.stats()["traces"]["queued"] == 1


PROGRAM = """
import time
import cylestio_monitor
from opentelemetry import trace
cylestio_monitor.start_monitoring()
with trace.get_tracer("mine").start_as_current_span("chat"):
    pass
def flush(seconds):
    began = time.monotonic()
    answer = trace.get_tracer_provider().force_flush(int(seconds * 1000))
    print(answer, time.monotonic() - began, flush=True)
flush(2)
input()
flush(10)
"""


def test_a_flush_of_the_provider_keeps_its_time_and_tells_of_the_collector(tmp_path, collector):
    collector.fault = "hang"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CYLESTIO_"))}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={
            **inherited,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5",
            "OTEL_METRICS_EXPORTER": "none",
            "CYLESTIO_DB_PATH": str(tmp_path / "s.db"),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    answer, took = process.stdout.readline().split()
    assert answer == "False"
    assert 1.8 <= float(took) <= 2.2
    collector.fault = None
    output, _ = process.communicate("\n", timeout=30)
    answer, took = output.split()
    assert answer == "True"
    assert float(took) < 9
    assert list(collector.spans.values()) == [1]
    assert process.returncode == 0
