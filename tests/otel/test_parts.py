"""The parts of the set-up, each by itself, with the SDK's own providers and the real store."""

from __future__ import annotations

import json
import logging
import math
import os
import stat
import sys
import threading
import time
from contextlib import closing

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.util._once import Once

from cylestio_monitor import config
from cylestio_monitor.otel import delivery, environment_variables, exits, launcher, provider
from cylestio_monitor.otel.exporter import SQLiteSpanExporter
from cylestio_monitor.otel.json_log.writer import JsonLog
from cylestio_monitor.otel.processor import CylestioSpanProcessor
from cylestio_monitor.store import Event, Store
from cylestio_monitor.store.sqlite.database import connect_read_only


def names(path):
    with closing(connect_read_only(path)) as connection:
        return [row["name"] for row in connection.execute("SELECT name FROM spans ORDER BY start_ns")]


@pytest.fixture
def store(tmp_path):
    made = Store.open(tmp_path / "store" / "cylestio.db", config.StoreSettings())
    yield made
    made.close()


def spans_of(tracer_provider, *span_names):
    for name in span_names:
        with tracer_provider.get_tracer("test").start_as_current_span(name):
            pass


class TestProcessor:
    def test_every_sampled_span_is_stored(self, store):
        traced = TracerProvider(shutdown_on_exit=False)
        traced.add_span_processor(CylestioSpanProcessor(lambda: store))
        spans_of(traced, "one", "two")
        assert traced.force_flush(5000)
        assert names(store.path) == ["one", "two"]

    def test_a_span_that_is_not_sampled_is_not(self, store):
        traced = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
        traced.add_span_processor(CylestioSpanProcessor(lambda: store))
        spans_of(traced, "one")
        assert traced.force_flush(5000)
        assert names(store.path) == []

    def test_shutdown_writes_what_was_taken_and_takes_no_more(self, store):
        traced = TracerProvider(shutdown_on_exit=False)
        traced.add_span_processor(CylestioSpanProcessor(lambda: store))
        spans_of(traced, "before")
        traced.shutdown()
        spans_of(traced, "after")
        assert store.flush(5)
        assert names(store.path) == ["before"]

    def test_force_flush_says_no_where_the_disk_does_not_answer_in_time(self, store):
        processor = CylestioSpanProcessor(lambda: store)
        blocker = connect_for_writing(store.path)
        try:
            traced = TracerProvider(shutdown_on_exit=False)
            traced.add_span_processor(processor)
            spans_of(traced, "waits")
            assert processor.force_flush(200) is False
        finally:
            blocker.rollback()
            blocker.close()
        assert processor.force_flush(10_000)
        assert names(store.path) == ["waits"]


def connect_for_writing(path):
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


class TestExporter:
    def test_success_means_that_the_spans_are_on_disk(self, tmp_path):
        exporter = SQLiteSpanExporter(str(tmp_path / "cylestio.db"))
        traced = TracerProvider(shutdown_on_exit=False)
        traced.add_span_processor(SimpleSpanProcessor(exporter))
        spans_of(traced, "one")
        assert names(tmp_path / "cylestio.db") == ["one"]
        traced.shutdown()

    def test_it_is_built_without_arguments_from_the_settings(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CYLESTIO_DB_PATH", str(tmp_path / "named.db"))
        traced = TracerProvider(shutdown_on_exit=False)
        traced.add_span_processor(BatchSpanProcessor(SQLiteSpanExporter()))
        spans_of(traced, "one")
        traced.shutdown()
        assert names(tmp_path / "named.db") == ["one"]

    def test_nothing_is_opened_before_the_first_span(self, tmp_path):
        exporter = SQLiteSpanExporter(str(tmp_path / "cylestio.db"))
        assert exporter.force_flush()
        exporter.shutdown()
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_cannot_be_written_is_a_failure_and_one_line(self, tmp_path, caplog):
        (tmp_path / "file").write_text("in the way")
        exporter = SQLiteSpanExporter(str(tmp_path / "file" / "cylestio.db"))
        assert [exporter.export([]), exporter.export([])] == [SpanExportResult.FAILURE] * 2
        assert len(caplog.records) == 1

    def test_after_shutdown_an_export_fails(self, tmp_path):
        exporter = SQLiteSpanExporter(str(tmp_path / "cylestio.db"))
        assert exporter.export([]) is SpanExportResult.SUCCESS
        exporter.shutdown()
        assert exporter.export([]) is SpanExportResult.FAILURE


class TestJsonLog:
    def event(self, **data):
        return Event("agent", "signed_in", "AUTH", "INFO", 1_700_000_000_123_456_789, data, "ab" * 16, "cd" * 8)

    def test_an_event_is_one_line_of_json(self, tmp_path):
        log = JsonLog(config.LogSettings(file=str(tmp_path / "logs" / "events.jsonl")))
        log.write(self.event(user="ann", text="two\nlines"))
        log.close()
        (line,) = (tmp_path / "logs" / "events.jsonl").read_text("utf-8").splitlines()
        assert json.loads(line) == {
            "timestamp": "2023-11-14T22:13:20.123456Z",
            "agent_id": "agent",
            "event_type": "signed_in",
            "channel": "AUTH",
            "level": "INFO",
            "trace_id": "ab" * 16,
            "span_id": "cd" * 8,
            "data": {"user": "ann", "text": "two\nlines"},
        }

    def test_it_is_rotated_by_size_and_private_under_any_umask(self, tmp_path):
        old = os.umask(0)
        try:
            log = JsonLog(config.LogSettings(file=str(tmp_path / "events.jsonl"), max_mb=1, backups=2))
            for number in range(40):
                log.write(self.event(number=number, filler="x" * 100_000))
            log.close()
        finally:
            os.umask(old)
        files = sorted(path.name for path in tmp_path.iterdir())
        assert files == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
        lines = [line for name in reversed(files) for line in (tmp_path / name).read_text().splitlines()]
        numbers = [json.loads(line)["data"]["number"] for line in lines]
        assert numbers == list(range(numbers[0], 40))

    def test_threads_do_not_mix_their_lines(self, tmp_path):
        log = JsonLog(config.LogSettings(file=str(tmp_path / "events.jsonl")))
        threads = [
            threading.Thread(target=lambda: [log.write(self.event(filler="y" * 5000)) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.close()
        assert len([json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]) == 200

    def test_it_does_not_follow_a_link_that_somebody_left_there(self, tmp_path):
        (tmp_path / "events.jsonl").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match="symbolic"):
            JsonLog(config.LogSettings(file=str(tmp_path / "events.jsonl")))
        assert not (tmp_path / "elsewhere").exists()


class TestEndpoints:
    @pytest.mark.parametrize(
        ("variables", "exporter"),
        [
            ({}, None),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, "otlp_proto_grpc"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "otlp_proto_grpc"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "otlp_proto_http"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://telemetry.example/otlp"}, "otlp_proto_http"),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, "otlp_proto_http"),
            ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://collector:4318/v1/logs"}, None),
            (
                {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
                "otlp_proto_grpc",
            ),
            (
                {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4317",
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                },
                "otlp_proto_http",
            ),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        ],
    )
    def test_the_standard_variables_choose_the_exporter(self, monkeypatch, variables, exporter):
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert provider.otlp_exporter("TRACES") == exporter


class TestProvider:
    def test_a_processor_is_taken_off_without_being_shut_down(self, store):
        traced = TracerProvider(shutdown_on_exit=False)
        first, second = CylestioSpanProcessor(lambda: store), CylestioSpanProcessor(lambda: store)
        traced.add_span_processor(first)
        traced.add_span_processor(second)
        assert provider.remove(traced, [first])
        assert provider.span_processors(traced) == (second,)
        spans_of(traced, "one")
        first.on_end(span_named("two"))
        assert store.flush(5)
        assert names(store.path) == ["one", "two"]

    def test_a_provider_that_shows_nothing_is_left_alone(self, store):
        assert provider.span_processors(trace.NoOpTracerProvider()) == ()
        assert not provider.remove(trace.NoOpTracerProvider(), [CylestioSpanProcessor(lambda: store)])

    def test_the_guard_lets_one_more_through_and_tells(self):
        told = []
        guard = provider._OnceMore(lambda: told.append("told"))
        assert isinstance(guard, Once)
        assert [guard.do_once(lambda: told.append("set")), guard.do_once(lambda: told.append("again"))] == [True, False]
        assert told == ["set", "told"]


def span_named(name):
    return TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span(name)


class TestExits:
    def test_only_what_sends_over_otlp_is_hurried(self, tmp_path):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        sends = BatchSpanProcessor(OTLPSpanExporter("http://127.0.0.1:9/v1/traces"))
        writes = BatchSpanProcessor(SQLiteSpanExporter(str(tmp_path / "cylestio.db")))
        simple = SimpleSpanProcessor(OTLPSpanExporter("http://127.0.0.1:9/v1/traces"))
        try:
            assert exits.otlp_batch(sends) is sends._batch_processor
            assert (exits.otlp_batch(writes), exits.otlp_batch(simple), exits.otlp_batch(object())) == (
                None,
                None,
                None,
            )
        finally:
            for processor in (sends, writes, simple):
                processor.shutdown()

    def test_a_collector_that_does_not_answer_costs_what_it_may_cost(self):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        traced = TracerProvider(shutdown_on_exit=False)
        traced.add_span_processor(BatchSpanProcessor(OTLPSpanExporter("http://127.0.0.1:9/v1/traces")))
        spans_of(traced, "one")
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        started = time.monotonic()
        exits.shut_down_processors([traced], time.monotonic() + 0.3)
        traced.shutdown()
        assert time.monotonic() - started < 8  # without a limit the exporter tries for ten seconds
        logging.getLogger("opentelemetry").setLevel(logging.NOTSET)


class TestDelivery:
    def test_it_is_taken_over_once_and_given_back_as_it_was(self, store, receiver):
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces")
        sends = BatchSpanProcessor(exporter)
        other = BatchSpanProcessor(SQLiteSpanExporter(str(store.path.with_name("other.db"))))
        metric_exporter = OTLPMetricExporter(f"{receiver.url}/v1/metrics")
        meters = MeterProvider([PeriodicExportingMetricReader(metric_exporter, math.inf)], shutdown_on_exit=False)
        traced = TracerProvider(shutdown_on_exit=False)
        for processor in (sends, other, CylestioSpanProcessor(lambda: store)):
            traced.add_span_processor(processor)
        assert delivery.is_wanted(traced, meters)

        taken = delivery.Delivery(store, traced, meters)
        assert sends not in provider.span_processors(traced)
        assert other in provider.span_processors(traced)
        spans_of(traced, "through the store")
        meters.get_meter("test").create_counter("counted").add(1)
        assert meters.force_flush()
        assert taken.outbox.force_flush(20)
        assert [span.name for span in receiver.spans] == ["through the store"]
        assert "counted" in receiver.metrics

        taken.give_back(5)
        assert provider.span_processors(traced)[-1] is sends
        assert "request" not in vars(exporter._client._transport._session)
        spans_of(traced, "directly")
        assert traced.force_flush(20_000)
        assert [span.name for span in receiver.spans] == ["through the store", "directly"]
        receiver.metrics.clear()
        assert meters.force_flush()
        assert "counted" in receiver.metrics
        traced.shutdown()
        meters.shutdown()

    def test_where_nothing_sends_nothing_is_taken(self, store):
        traced = TracerProvider(shutdown_on_exit=False)
        traced.add_span_processor(CylestioSpanProcessor(lambda: store))
        assert not delivery.is_wanted(traced, MeterProvider(shutdown_on_exit=False))
        assert not delivery.is_wanted(trace.NoOpTracerProvider(), None)


class TestFlags:
    def test_every_setting_that_a_variable_can_hold_has_one(self):
        flags = {name for name in dir(environment_variables) if name.startswith("OTEL_")}
        expected = {f"OTEL_{option.env}" for option in config.options() if option.from_text}
        assert flags == expected | {"OTEL_CYLESTIO_CONFIG"}
        assert "OTEL_CYLESTIO_RULES_SILENCE" not in flags

    def test_their_values_win_over_the_variables(self):
        environ = {"CYLESTIO_MODE": "monitor", "OTEL_CYLESTIO_MODE": "block", "OTEL_SERVICE_NAME": "kept"}
        environment_variables.apply_flags(environ)
        assert environ == {"CYLESTIO_MODE": "block", "OTEL_SERVICE_NAME": "kept"}


def test_the_launchers_hooks_never_raise(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cylestio_monitor.otel.setup", None)  # as if the SDK were half installed
    monkeypatch.delattr("cylestio_monitor.otel.setup", raising=False)
    launcher.pre_instrument()
    launcher.post_instrument()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
