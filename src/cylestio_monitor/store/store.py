"""The local store: takes what was seen, from any thread and without waiting, and has it on disk within 50 ms."""

from __future__ import annotations

import atexit
import logging
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor import semconv
from cylestio_monitor.errors import StoreError
from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.store.ingest.open_calls import open_call
from cylestio_monitor.store.ingest.queue import Kind, PendingWrite
from cylestio_monitor.store.ingest.span_encoder import attributes_of
from cylestio_monitor.store.ingest.write_loop import WriteLoop
from cylestio_monitor.store.ingest.writer import Writer
from cylestio_monitor.store.sqlite import files, fork_guard, keys
from cylestio_monitor.store.sqlite.records import recorded_part
from cylestio_monitor.store.sqlite.rows import Event, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from cylestio_monitor import config
    from cylestio_monitor.model import Finding, RecordedText
    from cylestio_monitor.store.ingest.open_calls import StartedSpan
    from cylestio_monitor.store.sqlite.records import Record

_logger = logging.getLogger(__name__)

_URGENT: Final = SEVERITY_NUMBER["high"]


class Store:
    """The store of one process; several processes may share its file.

    Attributes:
        path: The database file.
        settings: Its budget, retention and durability.
        key: The deployment's secret, 32 bytes, for keyed hashes.
        cipher: What seals content, where the user gave a key to encrypt it with.
    """

    def __init__(self, path: Path, settings: config.StoreSettings) -> None:
        """Use `Store.open`."""
        self.path = path
        self.settings = settings
        secret, provided = keys.load_or_create(path)
        self.key = keys.derive(secret, keys.MATCHES)
        self.cipher = keys.Cipher(secret) if provided else None
        self._writer = Writer(path, settings, secret, self.cipher)
        self._loop = WriteLoop(self._writer)
        self._forwarded: list[Callable[[], None]] = []
        self._watchers: list[Callable[[], None]] = []
        _open[path.absolute()] = self
        fork_guard.register(self)
        atexit.register(self.close)

    @classmethod
    def open(cls, path: Path, settings: config.StoreSettings) -> Store:
        """Opens the store, making its folder, file and secret where they are missing, readable by the owner alone.

        Args:
            path: The database file.
            settings: Its budget, retention and durability.

        Raises:
            StoreError: Nothing can be written there, or a newer version of the package wrote the file.
        """
        files.prepare(path)
        try:
            with fork_guard.guard:
                return cls(path, settings)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error

    @classmethod
    def shared(cls, path: Path, settings: config.StoreSettings) -> Store:
        """The store that this process has open on the file, or else a new one; raises what `open` raises."""
        known = _open.get(path.absolute())
        return known if known is not None and not known.closed else cls.open(path, settings)

    @classmethod
    def running(cls) -> Store | None:
        """The store that this process opened last and has not closed."""
        return next((store for store in reversed(list(_open.values())) if not store.closed), None)

    @property
    def closed(self) -> bool:
        """True after `close` was called."""
        return self._loop.closed

    def add_span(self, span: ReadableSpan) -> PendingWrite:
        """Queues an ended span for writing. Never blocks, never raises.

        Returns:
            The pending write; it is urgent if the span carries a finding of high or critical severity.
        """
        try:
            attributes = getattr(getattr(span, "_attributes", None), "_dict", None) or attributes_of(span)
            size = sum([len(value) for value in attributes.values() if type(value) is str])
            number = attributes.get(semconv.SEVERITY_NUMBER)
            urgent = type(number) is int and number >= _URGENT
        except Exception:  # noqa: BLE001 -- a mapping's own code may raise anything; the writer then cleans the attributes
            size, urgent = 0, False
        return self._add("span", span, size, urgent)

    def add_findings(
        self,
        trace_id: int,
        span_id: int,
        findings: Sequence[Finding],
        *,
        agent_id: str | None = None,
        session_id: str | None = None,
        service_name: str | None = None,
        action: str | None = None,
        operation: str | None = None,
        model: str | None = None,
        tool: str | None = None,
        user_id: str | None = None,
    ) -> PendingWrite:
        """Queues findings of a span that has not ended; they are not stored again with the span.

        Args:
            trace_id: Of the span.
            span_id: Of the span.
            findings: The findings; the write is urgent if one is of high or critical severity.
            agent_id: The agent.
            session_id: The session.
            service_name: The service.
            action: The action taken on the findings.
            operation: ``gen_ai.operation.name``.
            model: ``gen_ai.request.model``.
            tool: The tool's name.
            user_id: The user.
        """
        labels = Labels(agent_id, session_id, service_name, action, operation, model, tool, user_id)
        # A span without an id is one that nothing records: its findings must not count as those of one span.
        trace_id, span_id = trace_id or secrets.randbits(128) or 1, span_id or secrets.randbits(64) or 1
        urgent = any(SEVERITY_NUMBER.get(finding.severity, 0) >= _URGENT for finding in findings)
        return self._add("findings", (trace_id, span_id, tuple(findings), labels, time.time_ns()), 0, urgent)

    def add_record(self, record: Record, *, urgent: bool = False) -> PendingWrite:
        """Queues a row of one of the tables of `store.sqlite.records`. Never blocks, never raises.

        Args:
            record: The row.
            urgent: Whether it is committed at once and synced to the disk.
        """
        return self._add("record", record, 512, urgent)

    def add_event(self, event: Event) -> PendingWrite:
        """Queues an entry for the public events table. Never blocks, never raises."""
        return self._add("event", event, 256)

    def add_metrics(self, batch: bytes) -> PendingWrite:
        """Queues a collected batch of metrics, encoded by `metrics.pack`, for the outbox."""
        return self._add("metric", batch, len(batch))

    def add_open_call(self, span: StartedSpan, findings: Sequence[Finding], action: str) -> PendingWrite:
        """Queues the row of a call with severe findings that has not ended; its span replaces the row.

        Args:
            span: The span of the call.
            findings: Its findings so far; at least one.
            action: The action taken on the findings.
        """
        return self.add_record(open_call(span, findings, action), urgent=True)

    def add_texts(self, trace_id: int, span_id: int, texts: Sequence[RecordedText]) -> None:
        """Queues the places of texts in the content that a span records. Never blocks, never raises.

        Args:
            trace_id: The trace.
            span_id: The span.
            texts: The texts.
        """
        for text in texts:
            self.add_record(recorded_part(trace_id, span_id, text))

    def add_barrier(self) -> PendingWrite:
        """Queues a marker that is durable when every earlier item is, in the database or in the side file."""
        return self._add("barrier", (), 0, True)

    def flush(self, timeout_s: float) -> bool:
        """Waits until every item queued so far is committed, at most `timeout_s` seconds; returns whether it is."""
        return self._add("barrier", None, 0, True).wait(timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """Writes the queued items within `timeout_s` seconds and closes the file.

        Rows that cannot be committed in time are written to a side file, which a later process inserts. Items added
        after the close are dropped and counted.
        """
        if self._loop.closed:
            return
        if _open.get(self.path.absolute()) is self:
            del _open[self.path.absolute()]
        atexit.unregister(self.close)
        self._loop.close(timeout_s)

    def forward(self, signals: frozenset[str], resource: Resource | None, on_commit: Callable[[], None]) -> None:
        """Adds all rows stored from now on to the outbox as well.

        Args:
            signals: Of ``traces``, ``logs`` and ``metrics``.
            resource: The resource of the events; without it, the resource of the first span.
            on_commit: Called on the writer's thread after every commit.
        """
        self._writer.forward = signals
        if resource is not None:
            self._writer.resource = resource
        self._forwarded = [on_commit] if signals else []
        self._loop.committed = [*self._forwarded, *self._watchers]

    def watch(self, on_commit: Callable[[], None]) -> None:
        """Calls a function on the writer's thread after every commit; it must neither block nor raise."""
        self._watchers = [*self._watchers, on_commit]
        self._loop.committed = [*self._forwarded, *self._watchers]

    def unwatch(self, on_commit: Callable[[], None]) -> None:
        """Ends `watch` for a function."""
        self._watchers = [one for one in self._watchers if one != on_commit]
        self._loop.committed = [*self._forwarded, *self._watchers]

    def stats(self) -> dict[str, Any]:
        """Returns numbers of this process: items that wait, that were written, set aside or dropped."""
        return {"path": str(self.path), "disk_bytes": files.size_on_disk(self.path), **self._loop.stats()}

    def _add(self, kind: Kind, payload: Any, size: int, urgent: bool = False) -> PendingWrite:
        pending = PendingWrite(self._loop.queue, kind, payload, size, urgent)
        self._loop.put(pending)
        return pending

    def before_fork(self) -> None:
        """Closes the connection; the next write opens it again."""
        self._loop.before_fork()

    def after_fork_in_child(self) -> None:
        """Begins with an empty queue: the parent writes what it has queued."""
        self._loop.after_fork_in_child()


_open: dict[Path, Store] = {}
