"""A store and a tracer that fills it, for tests, for the programs they start, and for the benchmark."""

from __future__ import annotations

import time

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanContext

from cylestio_monitor import config, semconv
from cylestio_monitor.store import Store
from cylestio_monitor.store.ingest.open_calls import StartedSpan
from cylestio_monitor.store.read import queries


class ToStore(SpanProcessor):
    """Hands ended spans to a store, and keeps the last ticket."""

    def __init__(self, store):
        self.store = store
        self.ticket = None

    def on_end(self, span):
        self.ticket = self.store.add_span(span)


class Bench:
    """A store with a tracer that fills it."""

    def __init__(self, path, **settings):
        self.path = path
        self.store = Store.open(path, config.StoreSettings(**settings))
        self.provider = TracerProvider(
            # Not `Resource(...)`: only `create` loads the executor that the SDK uses after a fork, and one that is
            # loaded between two forks leaves the second child waiting for ever.
            resource=Resource.create({"service.name": "bench", "service.instance.id": "1"}),
            shutdown_on_exit=False,
        )
        self.processor = ToStore(self.store)
        self.provider.add_span_processor(self.processor)
        self.tracer = self.provider.get_tracer("cylestio_monitor", "1")
        self.outbox = None

    def span(self, name="chat", **kwargs):
        self.tracer.start_span(name, **kwargs).end()
        return self.processor.ticket

    def fill(self, count, name="chat"):
        for number in range(count):
            self.span(f"{name} {number}")

    def flush(self):
        assert self.store.flush(20)

    def send_to(self, collector, timeout=1.0, **exporters):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from cylestio_monitor.store.delivery.sender import Outbox

        exporters = exporters or {"traces": OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces", timeout=timeout)}
        self.outbox = Outbox(self.store, exporters)
        self.outbox.start()
        return self.outbox

    def rows(self, query, *values):
        with queries.connect(self.path) as connection:
            return [dict(row) for row in connection.execute(query, values)]

    def close(self):
        if self.outbox is not None:
            self.outbox.stop(2)
        self.store.close()


def begin_flagged(store, trace_id, span_id, finding):
    """Stores the begin of a tool call with a finding, as the pipeline does; returns what to wait for."""
    labels = {"agent_id": "a", "session_id": "s", "operation": "execute_tool", "tool": "shell", "action": "audit"}
    store.add_findings(trace_id, span_id, [finding], **labels)
    attributes = {
        semconv.OPERATION_NAME: "execute_tool",
        semconv.TOOL_NAME: "shell",
        semconv.CYLESTIO_AGENT_ID: "a",
        semconv.CYLESTIO_SESSION_ID: "s",
    }
    place = SpanContext(trace_id, span_id, is_remote=False)
    started = StartedSpan(place, None, "execute_tool shell", "internal", time.time_ns(), attributes)
    return store.add_open_call(started, [finding], "audit")
