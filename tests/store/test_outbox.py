"""Delivery over real sockets: every fault of a collector, and what is left when it is over."""

from __future__ import annotations

import logging
import threading
import time

import grpc
import pytest
import requests
from opentelemetry import context
from opentelemetry import metrics as api_metrics
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from cylestio_monitor.store import Event
from cylestio_monitor.store.delivery.metric_queue import StoreMetricExporter
from cylestio_monitor.store.delivery.sender import Outbox
from store.collector import Collector
from store.conftest import eventually, took_less_than
from store.filling import Bench
from store.grpc_collector import GrpcCollector

NOW = time.time_ns()


def assert_each_once(collector, count):
    assert len(collector.spans) == count
    assert set(collector.spans.values()) == {1}


def test_spans_arrive_in_order_once_and_whole(bench, collector):
    outbox = bench.send_to(collector)
    bench.fill(1500)
    assert outbox.force_flush(20)
    assert_each_once(collector, 1500)
    assert collector.names == [f"chat {number}" for number in range(1500)]
    assert outbox.stats()["traces"] == {"queued": 0, "quarantined": 0, "sent": 1500, "problem": "", "failures": 0}


class AnotherExporter(SpanExporter):
    """One of unknown make: it takes spans of the SDK and nothing else."""

    def __init__(self, collector):
        self.exporter = OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces", timeout=1)

    def export(self, spans):
        return self.exporter.export(list(spans))


@pytest.mark.parametrize("exporter", [None, AnotherExporter])
def test_a_span_leaves_the_store_as_it_came(bench, collector, exporter):
    received = []
    collector.take = lambda request, *_: received.append(request)
    outbox = bench.send_to(collector, **({} if exporter is None else {"traces": exporter(collector)}))
    parent = bench.tracer.start_span("parent")
    other = SpanContext(1, 2, True, TraceFlags(1))
    from opentelemetry import trace

    span = bench.tracer.start_span(
        "chat model",
        context=trace.set_span_in_context(parent),
        kind=SpanKind.CLIENT,
        links=[Link(other, {"why": "retry"})],
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.input.messages": '[{"role":"user"}]',
            "gen_ai.usage.input_tokens": 12,
            "cylestio.session.id": "s1",
            "server.port": 443,
            "ratio": 0.5,
            "flag": True,
            "list": ["a", "b"],
            "long": "x" * 1000,
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.request.temperature": 1.0,
            "gen_ai.request.top_k": 1,
            "cylestio.security.scanned": True,
        },
        start_time=NOW + 1,
    )
    span.add_event("cylestio.security.finding", {"cylestio.security.finding.rule": "x.y"}, NOW + 2)
    span.set_status(Status(StatusCode.ERROR, "no"))
    span.end(NOW + 3)
    assert outbox.force_flush(10)
    (sent,) = [s for r in received for g in r.resource_spans for sc in g.scope_spans for s in sc.spans]
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    expected = encode_spans([span._readable_span()])
    (direct,) = expected.resource_spans[0].scope_spans[0].spans
    for message in (sent, direct):
        ordered = sorted(message.attributes, key=lambda pair: pair.key)
        del message.attributes[:]
        message.attributes.extend(ordered)
    assert sent == direct
    group, expected_group = received[0].resource_spans[0], expected.resource_spans[0]
    assert group.scope_spans[0].scope == expected_group.scope_spans[0].scope
    assert group.resource == expected_group.resource


@pytest.mark.parametrize("fault", ["drop", 429, 503, 500, 302, 401, 403, 400, "429+"])
def test_no_fault_loses_or_doubles_a_span(bench, collector, fault):
    collector.fault = fault
    outbox = bench.send_to(collector)
    bench.fill(40)
    eventually(lambda: collector.requests >= 1)
    assert not outbox.force_flush(0.3)
    assert not collector.spans
    collector.fault = None
    bench.fill(10, "later")
    assert outbox.force_flush(15)
    assert_each_once(collector, 50)
    assert outbox.stats()["traces"]["quarantined"] == 0


def test_a_collector_that_is_not_there_yet_gets_everything_later(bench):
    with Collector() as gone:
        pass
    outbox = bench.send_to(gone)
    bench.fill(20)
    assert not outbox.force_flush(0.5)
    assert "refused" in outbox.stats()["traces"]["problem"].lower()
    with Collector(gone.port) as late:
        assert outbox.force_flush(15)
        assert_each_once(late, 20)


def test_one_poison_span_is_set_aside_and_its_neighbours_arrive(bench, collector):
    collector.fault = "poison"
    bench.fill(100)
    bench.span("poison")
    bench.fill(100, "after")
    bench.flush()
    bench.store.forward(frozenset(), None, lambda: None)
    outbox = bench.send_to(collector)
    bench.fill(20, "then")
    bench.span("poison two")
    bench.fill(20, "last")
    assert outbox.force_flush(15)
    assert_each_once(collector, 40)
    (row,) = bench.rows("SELECT reason, name FROM outbox JOIN span ON span.id = ref")
    assert row == {"reason": "HTTP 400", "name": "poison two"}


def test_several_poison_spans_at_the_head_do_not_hold_up_the_rest(bench, collector):
    collector.fault = "poison"
    outbox = Outbox(bench.store, {"traces": OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces", timeout=1)})
    bench.store.forward(frozenset({"traces"}), None, lambda: None)
    bench.fill(8, "poison")
    bench.fill(60)
    bench.flush()
    bench.outbox = outbox
    outbox.start()
    assert outbox.force_flush(20)
    assert_each_once(collector, 60)
    assert outbox.stats()["traces"]["quarantined"] == 8


def test_a_lone_poison_span_waits_until_a_neighbour_proves_the_collector_well(bench, collector):
    collector.fault = "poison"
    outbox = bench.send_to(collector)
    bench.span("poison")
    assert not outbox.force_flush(1)
    assert outbox.stats()["traces"]["quarantined"] == 0
    bench.span("good")
    assert outbox.force_flush(15)
    assert outbox.stats()["traces"]["quarantined"] == 1


def test_what_a_partial_success_refuses_is_counted_and_never_sent_again(bench, collector):
    collector.fault = "partial"
    outbox = bench.send_to(collector)
    bench.store.forward(frozenset({"traces"}), None, lambda: None)
    bench.fill(30)
    bench.fill(3, "poison")
    assert outbox.force_flush(15)
    bench.fill(5)
    bench.span("poison alone")
    bench.fill(5)
    assert outbox.force_flush(15)
    assert_each_once(collector, 40)
    assert collector.refused == 4
    counters = {row["key"]: row["value"] for row in bench.rows("SELECT key, value FROM meta WHERE key GLOB 'count.*'")}
    assert counters == {"count.sent.traces": 40, "count.quarantined.traces": 4}


def test_the_wait_that_a_collector_asks_for_is_kept(bench, collector):
    collector.fault = "429+"
    outbox = bench.send_to(collector)
    bench.span()
    eventually(lambda: collector.requests == 1)
    assert not outbox.force_flush(0.5)
    assert collector.requests == 1
    collector.fault = None
    assert outbox.force_flush(5)


def test_a_flush_returns_in_time_and_tells_the_truth_while_the_collector_hangs(bench, collector):
    collector.fault = "hang"
    outbox = bench.send_to(collector, timeout=10)
    bench.fill(5)
    eventually(lambda: collector.requests == 1)
    started = time.monotonic()
    assert not outbox.force_flush(1.0)
    assert 0.9 <= time.monotonic() - started < 8  # the exporter's own timeout is ten seconds
    with took_less_than(8):
        assert not outbox.stop(2.0)
    assert bench.rows("SELECT count(*) AS n FROM outbox WHERE reason IS NULL") == [{"n": 5}]


def test_a_flush_of_one_signal_does_not_wait_for_another(bench, collector):
    with Collector() as gone:
        pass
    outbox = bench.send_to(
        collector,
        traces=OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces", timeout=1),
        logs=OTLPLogExporter(endpoint=f"{gone.url}/v1/logs", timeout=1),
    )
    bench.store.add_event(Event("me", "login", "AUTH", "INFO", NOW, {}))
    bench.span()
    assert outbox.force_flush(10, ("traces",))
    assert_each_once(collector, 1)
    assert not outbox.force_flush(0.3)


def test_what_is_left_is_sent_by_the_next_store_on_the_file(tmp_path, collector):
    first = Bench(tmp_path / "s.db")
    collector.fault = 503
    first.send_to(collector)
    first.fill(30)
    first.close()
    collector.fault = None
    second = Bench(tmp_path / "s.db")
    assert second.send_to(collector).force_flush(10)
    assert_each_once(collector, 30)
    second.close()


def test_two_senders_on_one_file_send_each_span_once(tmp_path, collector):
    benches = [Bench(tmp_path / "s.db") for _ in range(2)]
    for one in benches:
        one.send_to(collector)
    for number in range(300):
        benches[number % 2].span(f"chat {number}")
    assert all(one.outbox.force_flush(15) for one in benches)
    assert_each_once(collector, 300)
    benches[0].close()
    benches[1].fill(10)
    assert benches[1].outbox.force_flush(15)
    assert_each_once(collector, 310)
    benches[1].close()


def test_events_and_metrics_go_the_same_way(bench, collector):
    metric_exporter = OTLPMetricExporter(endpoint=f"{collector.url}/v1/metrics", timeout=1)
    outbox = bench.send_to(
        collector, logs=OTLPLogExporter(endpoint=f"{collector.url}/v1/logs", timeout=1), metrics=metric_exporter
    )
    collector.fault = 503
    reader = PeriodicExportingMetricReader(StoreMetricExporter(bench.store, metric_exporter), 60_000)
    meters = MeterProvider([reader], shutdown_on_exit=False)
    meter = meters.get_meter("m")
    meter.create_counter("findings").add(3, {"severity": "high"})
    meter.create_histogram("duration").record(1.5)
    meter.create_observable_gauge("level", [lambda _: [api_metrics.Observation(7)]])
    assert meters.force_flush()
    bench.store.add_event(Event("me", "login", "AUTH", "WARNING", NOW, {"user": "Ann", "n": [1]}))
    assert not outbox.force_flush(0.4)
    collector.fault = None
    assert outbox.force_flush(15)
    meters.shutdown()
    (record,) = collector.logs
    assert (record.event_name, record.severity_text, record.time_unix_nano) == (
        "login",
        "WARNING",
        NOW,
    )
    assert {pair.key: pair.value.string_value for pair in record.attributes} == {
        "user": "Ann",
        "n": "[1]",
        "cylestio.event.channel": "AUTH",
        "cylestio.agent.id": "me",
    }
    got = {metric.name: metric for metric in collector.metrics}
    assert got["findings"].sum.data_points[0].as_int == 3
    assert got["findings"].sum.is_monotonic
    assert got["duration"].histogram.data_points[0].sum == 1.5
    assert got["level"].gauge.data_points[0].as_int == 7


@pytest.fixture
def grpc_collector():
    with GrpcCollector() as running:
        yield running


def through_grpc(bench, collector):
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    exporter = GrpcExporter(endpoint=f"http://127.0.0.1:{collector.port}", insecure=True, timeout=1)
    return bench.send_to(None, traces=exporter)


@pytest.mark.parametrize(
    "code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "INVALID_ARGUMENT", "INTERNAL"]
)
def test_grpc_loses_and_doubles_nothing_either(bench, grpc_collector, code):
    grpc_collector.code = getattr(grpc.StatusCode, code)
    outbox = through_grpc(bench, grpc_collector)
    bench.fill(20)
    bench.span("poison")
    poison = code == "INVALID_ARGUMENT"
    assert outbox.force_flush(0.8 if not poison else 10) is poison
    grpc_collector.code = None
    assert outbox.force_flush(15)
    assert set(grpc_collector.spans.values()) == {1}
    assert len(grpc_collector.spans) + outbox.stats()["traces"]["quarantined"] == 21
    assert outbox.stats()["traces"]["quarantined"] == poison


def test_grpc_says_how_long_it_wants_to_be_left_alone_and_what_it_refuses(bench, grpc_collector):
    grpc_collector.code, grpc_collector.retry_s = grpc.StatusCode.RESOURCE_EXHAUSTED, 2
    outbox = through_grpc(bench, grpc_collector)
    bench.span()
    eventually(lambda: grpc_collector.requests == 1)
    assert not outbox.force_flush(0.8)
    assert grpc_collector.requests == 1
    grpc_collector.code, grpc_collector.partial = None, True
    assert outbox.force_flush(5)
    bench.span("poison")
    bench.fill(5)
    assert outbox.force_flush(5)
    bench.span("poison again")
    bench.span("last")
    assert outbox.force_flush(5)
    assert set(grpc_collector.spans.values()) == {1}
    assert len(grpc_collector.spans) == 7
    counters = {row["key"]: row["value"] for row in bench.rows("SELECT key, value FROM meta WHERE key GLOB 'count.*'")}
    assert counters == {"count.sent.traces": 7, "count.quarantined.traces": 2}


def test_trouble_is_one_log_line_without_address_or_credentials(bench, collector, caplog):
    caplog.set_level(logging.DEBUG)
    collector.fault = 503
    url = collector.url.replace("http://", "http://user:s3cret@")
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=1, headers={"authorization": "Bearer s3cret"})
    outbox = bench.send_to(collector, traces=exporter)
    bench.span()
    eventually(lambda: collector.requests >= 4)
    outbox.stop(1)
    assert "s3cret" not in caplog.text
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        "OTLP export of traces paused: collector answered HTTP 503; the records are kept in the local store"
    ]
    bench.store.close()
    held = b"".join(file.read_bytes() for file in bench.path.parent.iterdir())
    assert b"s3cret" not in held


def test_sending_makes_no_telemetry_of_its_own(bench, collector):
    seen = []

    def answered(
        *_, **__
    ):  # where an instrumentation of the HTTP library would make a span, of the sender's own thread
        if context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY) is None:
            bench.span("POST")
        seen.append(threading.current_thread().name)

    session = requests.Session()
    session.hooks["response"].append(answered)
    exporter = OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces", timeout=1, session=session)
    outbox = bench.send_to(collector, traces=exporter)
    for _ in range(3):
        bench.span()
        assert outbox.force_flush(10)
    assert set(seen) == {"cylestio-outbox"}
    assert collector.names == ["chat"] * 3


def test_a_row_that_the_disk_changed_is_set_aside_and_not_sent(bench, collector):
    bench.store.forward(frozenset({"traces"}), None, lambda: None)
    bench.fill(3)
    bench.flush()
    import sqlite3

    with sqlite3.connect(bench.path) as connection:
        connection.execute("UPDATE span SET name = 'chat 7' WHERE name = 'chat 1'")
    connection.close()
    outbox = bench.send_to(collector)
    assert outbox.force_flush(10)
    assert sorted(collector.names) == ["chat 0", "chat 2"]
    assert bench.rows("SELECT reason FROM outbox") == [{"reason": "the row is damaged"}]
