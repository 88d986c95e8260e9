"""The traces exporter `cylestio_sqlite`: spans into the local store, for set-ups that name their exporters."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from cylestio_monitor import config
from cylestio_monitor.errors import CylestioError
from cylestio_monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger("cylestio_monitor")

EXPORT_S = 10.0
"""Longest wait of one export for the disk, in seconds."""


class SQLiteSpanExporter(SpanExporter):
    """Writes spans into the store that the settings name; usable as `OTEL_TRACES_EXPORTER=cylestio_sqlite`.

    Where monitoring runs in the same process its own span processor has every span already, and the set-up takes the
    processor of this exporter off the provider.
    """

    def __init__(self, path: str | None = None) -> None:
        """Opens nothing yet: the store is opened by the first export.

        Args:
            path: The database file, in place of the one that the settings name.
        """
        loaded = config.load(overrides={"store": {"path": path}} if path else None)
        loaded.report(log)
        self.settings = loaded.settings
        self.path = Path(config.database_path(loaded.settings))
        self._store: Store | None = None
        self._failed = False
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Writes the spans; success means that they are on disk."""
        store = self._open()
        if store is None:
            return SpanExportResult.FAILURE
        deadline = time.monotonic() + EXPORT_S
        tickets = [store.add_span(span) for span in spans]
        # Every ticket, in order: a later one may be on disk while an earlier one was dropped.
        durable = [ticket.wait(max(0.0, deadline - time.monotonic())) for ticket in tickets]
        return SpanExportResult.SUCCESS if all(durable) else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Waits at most `timeout_millis`; tells if everything that was handed over is on disk."""
        return self._store is None or self._store.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Closes the store."""
        with self._lock:
            store, self._store, self._failed = self._store, None, True
        if store is not None:
            store.close()

    def _open(self) -> Store | None:
        with self._lock:
            if self._store is None and not self._failed:
                try:
                    self._store = Store.open(self.path, self.settings.store)
                except (CylestioError, OSError) as error:
                    self._failed = True
                    log.warning("Nothing is stored locally: %s", error)
            return self._store
