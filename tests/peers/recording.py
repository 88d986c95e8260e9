"""What the programs in the environments have in common: a provider, the running pipeline, and spans as JSON."""

from __future__ import annotations

import json
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import warm
from cylestio_monitor import pipeline, runtime, semconv
from cylestio_monitor.capture import span_resolvers
from cylestio_monitor.config import Settings
from cylestio_monitor.otel.processor import CylestioSpanProcessor
from cylestio_monitor.store import Store

if TYPE_CHECKING:
    from pathlib import Path


class Recording:
    """A tracer provider with our processors before an exporter that keeps what it gets.

    Args:
        folder: Where a store is made that the spans go to as well.
        settings: Settings of the pipeline.
    """

    def __init__(self, folder: Path | None = None, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        chosen = Settings(**settings)
        self.store = Store.open(folder / "monitor.db", chosen.store) if folder is not None else None
        ours = CylestioSpanProcessor(None if self.store is None else lambda: self.store)
        self.processors = [ours, SimpleSpanProcessor(self.exporter)]
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
        self.pipeline = pipeline.Pipeline(
            settings=self.settings,
            scanner=self.scanner,
            store=self.store,
            tracer_provider=provider,
            resolvers=span_resolvers.ORDERED,
        )
        runtime.install(self.pipeline)
        return provider

    def spans(self) -> list[dict[str, Any]]:
        """The ended spans so far, in the order in which they ended."""
        return [_plain(span) for span in self.exporter.get_finished_spans()]

    def rows(self) -> list[dict[str, Any]]:
        """What the store holds of the calls: a row for each, with its span and the rules that were found in it."""
        assert self.store is not None
        assert self.store.flush(10)
        with sqlite3.connect(f"file:{self.store.path}?mode=ro", uri=True) as connection:
            found = connection.execute(
                "SELECT data ->> 'span_id', event_type, (SELECT json_group_array(rule_id) FROM findings"
                " WHERE span_id = data ->> 'span_id') FROM events"
            ).fetchall()
        return [{"id": int(span, 16), "type": kind, "rules": json.loads(rules)} for span, kind, rules in found]

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
        "events": [event.name for event in span.events if event.name != semconv.EVENT_FINDING],
        "findings": [dict(event.attributes) for event in span.events if event.name == semconv.EVENT_FINDING],
    }
