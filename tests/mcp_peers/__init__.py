"""MCP clients and servers for the tests of the capture: processes of their own, and what one observes of them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import warm
from cylestio_monitor import pipeline, runtime
from cylestio_monitor.capture import span_resolvers
from cylestio_monitor.capture.mcp import MCPInstrumentor
from cylestio_monitor.config import Settings
from cylestio_monitor.govern.controller import Controller

HERE = Path(__file__).parent


class Spans(SpanProcessor):
    """Keeps every ended span as plain data; also those of other instrumentations."""

    def __init__(self, path=None):
        self.ended = []
        self.path = path

    def on_end(self, span):
        record = {
            "name": span.name,
            "kind": span.kind.name,
            "scope": span.instrumentation_scope.name,
            "trace": format(span.context.trace_id, "032x"),
            "id": format(span.context.span_id, "016x"),
            "parent": format(span.parent.span_id, "016x") if span.parent else None,
            "status": span.status.status_code.name,
            "description": span.status.description,
            "attributes": json.loads(span.to_json())["attributes"],
            "findings": [dict(event.attributes) for event in span.events],
            "started": span.start_time,
            "ended": span.end_time,
        }
        self.ended.append(record)
        if self.path:
            with Path(self.path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def read(self, path):
        """Takes in the spans that another process has written."""
        self.ended += [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]

    def named(self, name, kind=None):
        return [span for span in self.ended if span["name"] == name and kind in {None, span["kind"]}]

    def one(self, name, kind):
        (span,) = self.named(name, kind)
        return span

    def pairs(self):
        """The names of the requests that have exactly one CLIENT and one SERVER span, joined as parent and child."""
        requests = [span for span in self.ended if not span["name"].startswith("notifications/")]
        clients = [span for span in requests if span["kind"] == "CLIENT"]
        servers = [span for span in requests if span["kind"] == "SERVER"]
        assert len(clients) == len(servers), [(span["kind"], span["scope"], span["name"]) for span in requests]
        by_parent = {span["parent"]: span for span in servers}
        for client in clients:
            server = by_parent[client["id"]]
            assert (server["name"], server["trace"]) == (client["name"], client["trace"])
            assert client["scope"] == server["scope"] == "cylestio_monitor"
        return [client["name"] for client in sorted(clients, key=lambda span: span["started"])]


def found(span):
    """Where something was found, and of which category."""
    name = "cylestio.security.finding."
    return {(event[f"{name}path"], event[f"{name}category"]) for event in span["findings"]}


@cache
def scanner():
    """One for all: the rules do not depend on the settings of these tests."""
    return warm.scanner()


@contextmanager
def watching(path=None, **settings):
    """Monitoring of MCP with a pipeline of its own; gives the spans."""
    spans, provider = Spans(path), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(spans)
    spans.provider = provider
    spans.pipeline = pipeline.Pipeline(
        settings=Settings(**settings),
        scanner=scanner(),
        tracer_provider=provider,
        resolvers=span_resolvers.ORDERED,
        controller=Controller(key=bytes(32)),
    )
    before = runtime.pipeline
    runtime.install(spans.pipeline)
    instrumentor = MCPInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    spans.instrumentor = instrumentor
    try:
        yield spans
    finally:
        instrumentor.uninstrument()
        if before is None:
            runtime.turn_off()
        else:
            runtime.install(before)
        provider.shutdown()
