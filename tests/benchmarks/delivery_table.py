"""What the rows of the delivery benchmark share: the table, the spans, the stock road."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from benchmarks.typical_span import attributes

SPANS = [attributes(number) for number in range(1000)]
table = []


def row(name, stock, ours, reach):
    table.append((name, stock, ours, reach))
    print(f"{name:<46} {stock:>34} {ours:>34}   {reach}", flush=True)


def make(tracer, number, **more):
    tracer.start_span("chat claude-sonnet-4-5", kind=SpanKind.CLIENT, attributes={**SPANS[number % 1000], **more}).end()


def stock_tracer(url, **limits):
    provider = TracerProvider(resource=Resource({"service.name": "bench"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces"), **limits))
    return provider, provider.get_tracer("bench")
