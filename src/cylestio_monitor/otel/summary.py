"""The line that ends a run under the launcher: the number of calls, the findings, and the next command."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import SpanProcessor

from cylestio_monitor import semconv
from cylestio_monitor.errors import counted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_CALLS: Final = frozenset({"llm_call", "tool_call", "embeddings"})  # not the turns of an agent around them

_MARK: Final = "_CYLESTIO_RUN"
"""Environment variable that the first process of a run sets: its children print no line of their own."""


class RunSummary(SpanProcessor):
    """Counts the calls of models and tools in this process, and the findings; equal findings count once."""

    def __init__(self) -> None:
        """Starts at zero."""
        self._process = os.getpid()
        self._calls = 0
        self._findings: dict[tuple[object, object], str] = {}
        self._lock = threading.Lock()
        self._providers: weakref.WeakSet[Any] = weakref.WeakSet()

    def attach(self, tracer_provider: Any) -> None:
        """Counts the spans of a provider, each once however often monitoring is started."""
        if tracer_provider not in self._providers:
            self._providers.add(tracer_provider)
            tracer_provider.add_span_processor(self)

    def on_end(self, span: ReadableSpan) -> None:
        """Counts a monitored span."""
        attributes = span.attributes or {}
        if semconv.SCANNED not in attributes:
            return
        found: dict[tuple[object, object], str] = {}
        if attributes.get(semconv.FINDING_COUNT):
            for event in span.events:
                if event.name == semconv.EVENT_FINDING:
                    values = event.attributes or {}
                    key = (values.get(semconv.FINDING_RULE), values.get(semconv.FINDING_HASH))
                    found[key] = str(values.get(semconv.FINDING_ALERT))
        operation = attributes.get(semconv.OPERATION_NAME)
        kind, _ = semconv.event_type(
            operation if isinstance(operation, str) else None, attributes.get(semconv.MCP_METHOD), scanned=True
        )
        with self._lock:
            self._calls += kind in _CALLS
            self._findings.update(found)

    def text(self, *, is_stored: bool) -> str:
        """Returns the line; empty where no call was made and nothing was found.

        Args:
            is_stored: The store holds the calls, so that the line can name the command that shows them.
        """
        if not self._calls and not self._findings:
            return ""
        counts = Counter(self._findings.values())
        parts = [counted(self._calls, "call")]
        parts += [counted(counts[level], f"{level} finding") for level in ("dangerous", "suspicious") if counts[level]]
        if len(parts) == 1:
            parts.append("no findings")
        return f"cylestio: {', '.join(parts)}.{' Run: cylestio trace' if is_stored else ''}"

    def write(self, *, is_stored: bool) -> None:
        """Writes the line to standard error, in the process that the run started."""
        if self._process != os.getpid() or not (line := self.text(is_stored=is_stored)):
            return
        with suppress(OSError, ValueError, AttributeError):  # the program has closed or replaced its standard error
            sys.stderr.write(f"{line}\n")


def of_this_run() -> RunSummary | None:
    """Returns the summary for the first process of a run; ``None`` for its children."""
    if _MARK in os.environ:
        return None
    os.environ[_MARK] = str(os.getpid())
    return RunSummary()
