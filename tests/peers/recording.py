"""What the programs in the environments have in common: a provider, the running pipeline, and spans as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import warm
from cylestio_monitor import pipeline, semconv, switch
from cylestio_monitor.config import Settings
from cylestio_monitor.otel.processor import ForeignSpanProcessor


class Recording:
    """A tracer provider with our processor before an exporter that keeps what it gets."""

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.processors = [ForeignSpanProcessor(), SimpleSpanProcessor(self.exporter)]
        chosen = Settings(**settings)
        self.scanner = warm.scanner(chosen)
        self.settings = chosen
        self.pipeline: pipeline.Pipeline | None = None

    def start(self, provider: TracerProvider | None = None) -> TracerProvider:
        """Makes a provider the global one, and starts the pipeline on it; on the given one, only the pipeline."""
        if provider is None:
            provider = TracerProvider(shutdown_on_exit=False)
            for processor in self.processors:
                provider.add_span_processor(processor)
            trace.set_tracer_provider(provider)
        self.pipeline = pipeline.Pipeline(settings=self.settings, scanner=self.scanner, tracer_provider=provider)
        switch.install(self.pipeline)
        return provider

    def spans(self) -> list[dict[str, Any]]:
        """The ended spans so far, in the order in which they ended."""
        return [_plain(span) for span in self.exporter.get_finished_spans()]

    def print(self, **more: Any) -> None:
        """Prints everything as the last line."""
        sys.stdout.flush()
        print(json.dumps({"spans": self.spans(), **more}, default=str))


def _plain(span: Any) -> dict[str, Any]:
    return {
        "name": span.name,
        "scope": span.instrumentation_scope.name,
        "kind": span.kind.name,
        "id": span.context.span_id,
        "trace": span.context.trace_id,
        "parent": span.parent.span_id if span.parent else None,
        "status": span.status.status_code.name,
        "start": span.start_time,
        "end": span.end_time,
        "attributes": dict(span.attributes),
        "findings": [dict(event.attributes) for event in span.events if event.name == semconv.EVENT_FINDING],
    }
