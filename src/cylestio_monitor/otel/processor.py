"""The processors: spans of other instrumentations are tagged as ours are, and every ended span goes to the store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor

from cylestio_monitor import semconv
from cylestio_monitor.capture.external_spans import scopes
from cylestio_monitor.capture.external_spans.resolver import external_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from cylestio_monitor.otel.json_log.writer import JsonLog
    from cylestio_monitor.store import Store

SHUTDOWN_S = 2.0
"""Longest time in seconds that a provider's shutdown waits for the disk."""


class CylestioSpanProcessor(SpanProcessor):
    """Tracks the GenAI spans of other instrumentations, and hands ended, sampled spans to the store.

    Both cost the thread of the application one call that never blocks.
    """

    def __init__(
        self,
        store: Callable[[], Store | None] | None = None,
        flush_delivery: Callable[[float], bool] | None = None,
        json_log: JsonLog | None = None,
    ) -> None:
        """Hands nothing over yet.

        Args:
            store: Opens the store for the first span; the set-up closes it. `None` stores nothing.
            flush_delivery: Waits at most the given seconds for the export of the stored spans, and returns whether
                they were exported: users of the provider do not know that its exporter reads from the store.
            json_log: Takes the monitored calls as lines; `None` writes none.
        """
        self._open_store = store
        self._store: Store | None = None
        self._flush_delivery = flush_delivery
        self._json_log = json_log
        self._is_shut_down = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 -- the SDK's signature
        """Tracks a span of another instrumentation; our own spans are tagged by the pipeline."""
        scope = span.instrumentation_scope
        name = scope.name if scope is not None else ""
        if name == semconv.SCOPE:
            return
        kind = scopes.known.get(name)
        if kind is None:
            kind = scopes.classify(name)
        if kind != scopes.IGNORED:
            external_spans.track(span, name, is_genai=kind == scopes.GENAI)

    def on_end(self, span: ReadableSpan) -> None:
        """Queues the span for the store's writer, and writes the line of a monitored call."""
        context = span.get_span_context()
        if self._is_shut_down or context is None or not context.trace_flags.sampled:
            return
        if self._json_log is not None:
            self._json_log.write_call(span)
        if self._open_store is None:
            return
        store = self._store
        if store is None:
            store = self._store = self._open_store()
        if store is not None:
            store.add_span(span)

    def shutdown(self) -> None:
        """Accepts no more spans, and waits at most `SHUTDOWN_S` until the accepted ones are on disk."""
        if not self._is_shut_down:
            self._is_shut_down = True
            self._flush_store(SHUTDOWN_S)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Returns whether every accepted span is on disk within that time, and exported where there is a collector."""
        deadline = time.monotonic() + timeout_millis / 1000
        if not self._flush_store(timeout_millis / 1000):
            return False
        return self._flush_delivery is None or self._flush_delivery(max(0.0, deadline - time.monotonic()))

    def _flush_store(self, timeout_s: float) -> bool:
        return self._store is None or self._store.flush(timeout_s)


class ExternalLogProcessor:
    """Scans messages that other instrumentations write as log records, together with the span that they belong to.

    It does not inherit from the SDK's base class: that import would cost programs that log nothing.
    """

    def on_emit(self, log_record: Any) -> None:
        """Takes a record; the object around it differs between versions of the SDK."""
        external_spans.add_log(log_record.log_record)

    def shutdown(self) -> None:
        """Does nothing: no record is kept."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 -- the SDK's signature
        """Does nothing: no record is kept."""
        return True
