"""SQLite as the write-ahead log of the telemetry: writer, outbox, audit trail, queries, retention."""

from __future__ import annotations

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.ingest.queue import PendingWrite
from cylestio_monitor.store.sqlite.rows import Event
from cylestio_monitor.store.store import Store

__all__ = ["Event", "PendingWrite", "Store", "StoreError"]
