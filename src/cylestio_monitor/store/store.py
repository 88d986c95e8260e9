"""The local store: takes what was seen, from any thread and without waiting, and has it on disk within 50 ms."""

from __future__ import annotations

import atexit
import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor import semconv
from cylestio_monitor.errors import StoreError
from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.store.audit import checkpoint
from cylestio_monitor.store.ingest import worker_exit
from cylestio_monitor.store.ingest.queue import Kind, PendingWrite, Queue
from cylestio_monitor.store.ingest.span_encoder import attributes_of
from cylestio_monitor.store.ingest.writer import Writer
from cylestio_monitor.store.sqlite import database, files, fork_guard, keys
from cylestio_monitor.store.sqlite.rows import Event, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from cylestio_monitor import config
    from cylestio_monitor.model import Finding

_logger = logging.getLogger(__name__)

GROUP: Final = 64
"""Items that do not wait for company."""

BACKLOG: Final = 512
"""Most items of one commit, where more than `GROUP` wait."""

LINGER_S: Final = 0.04
"""How long the writer waits for company after the first item."""

_URGENT: Final = SEVERITY_NUMBER["high"]
_IDLE_S: Final = 30.0
_MAINTENANCE_S: Final = 60.0
_SEAL_S: Final = 600.0
_COMPLAIN_S: Final = 300.0
_RETRY_S: Final = (0.05, 0.2, 0.5, 1.0)


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
        secret, provided = keys.load(path)
        self.key = keys.derive(secret, "match")
        self.cipher = keys.Cipher(secret) if provided else None
        self._writer = Writer(path, settings, secret, self.cipher)
        self._queue = Queue()
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._closing = False
        self._deadline = 0.0
        self._written: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._noted: dict[str, int] = {}
        self._next_complaint = 0.0
        self._failures = 0
        self._next_maintenance = 0.0
        self._next_seal = time.monotonic() + _MAINTENANCE_S  # a short run is sealed by a longer one, or by hand
        self._last_error = ""
        self._committed: list[Callable[[], None]] = []
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
        """Whether `close` was called."""
        return self._closing

    def add_span(self, span: ReadableSpan) -> PendingWrite:
        """Hands over an ended span. Never blocks, never raises.

        Returns:
            Its ticket; urgent where the span carries a finding of high or critical severity.
        """
        try:
            attributes = attributes_of(span)
            size = sum([len(value) for value in attributes.values() if type(value) is str])
            number = attributes.get(semconv.SEVERITY_NUMBER)
            urgent = type(number) is int and number >= _URGENT
        except Exception:  # noqa: BLE001 -- a mapping whose own code raises; the writer takes it the careful road
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
    ) -> PendingWrite:
        """Hands over findings of a span that has not ended yet; the span does not double them later.

        Args:
            trace_id: Of the span.
            span_id: Of the span.
            findings: What was found; the ticket is urgent where one is of high or critical severity.
            agent_id: The agent.
            session_id: The session.
            service_name: The service.
            action: What was done about them.
            operation: ``gen_ai.operation.name``.
            model: ``gen_ai.request.model``.
            tool: The tool's name.
        """
        labels = Labels(agent_id, session_id, service_name, action, operation, model, tool)
        urgent = any(SEVERITY_NUMBER.get(finding.severity, 0) >= _URGENT for finding in findings)
        return self._add("findings", (trace_id, span_id, tuple(findings), labels, time.time_ns()), 0, urgent)

    def add_event(self, event: Event) -> PendingWrite:
        """Hands over an entry for the public events table. Never blocks, never raises."""
        return self._add("event", event, 256)

    def add_metrics(self, batch: bytes) -> PendingWrite:
        """Hands over a collected batch of metrics, as `metrics.pack` makes it, for the outbox."""
        return self._add("metric", batch, len(batch))

    def flush(self, timeout_s: float) -> bool:
        """Waits until everything handed over so far is committed; whether it is."""
        return self._add("barrier", None, 0, True).wait(timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """Writes what waits, within `timeout_s` seconds, and closes the file; what comes later counts as dropped."""
        if self._closing:
            return
        self._deadline = time.monotonic() + timeout_s
        self._closing = True
        if _open.get(self.path.absolute()) is self:
            del _open[self.path.absolute()]
        atexit.unregister(self.close)
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._queue.hurry.set()
            self._queue.filled.set()
            thread.join(timeout_s)
        for ticket in self._queue.take(len(self._queue)):
            self._drop(ticket, "closed")
        if thread is None or not thread.is_alive():
            with fork_guard.guard:
                try:
                    self._note_drops()
                except (sqlite3.Error, StoreError, OSError) as error:
                    _logger.debug("the counters could not be written: %s", error)
                self._writer.finish()

    def forward(self, signals: frozenset[str], resource: Resource | None, on_commit: Callable[[], None]) -> None:
        """Has what is stored from now on entered in the outbox as well.

        Args:
            signals: Of ``traces``, ``logs`` and ``metrics``.
            resource: Whose events these are; that of the first span, without it.
            on_commit: Called on the writer's thread after every commit.
        """
        self._writer.forward = signals
        if resource is not None:
            self._writer.resource = resource
        self._committed = [on_commit] if signals else []

    def stats(self) -> dict[str, Any]:
        """Numbers of this process: what waits, what was written, what was dropped and why."""
        return {
            "path": str(self.path),
            "waiting": len(self._queue),
            "waiting_bytes": self._queue.bytes,
            "written": dict(self._written),
            "dropped": dict(self._dropped),
            "late": self._queue.late,
            "disk_bytes": files.size_on_disk(self.path),
            "error": self._last_error,
        }

    def _add(self, kind: Kind, payload: Any, size: int, urgent: bool = False) -> PendingWrite:
        ticket = PendingWrite(self._queue, kind, payload, size, urgent)
        if self._closing:
            self._drop(ticket, "closed")
        elif not self._queue.put(ticket, GROUP):
            self._drop(ticket, "queue full")
        elif self._thread is None:
            self._start()
        return ticket

    def _drop(self, ticket: PendingWrite, reason: str) -> None:
        if ticket.kind != "barrier":
            with self._start_lock:
                self._dropped[reason] = self._dropped.get(reason, 0) + 1
            if time.monotonic() >= self._next_complaint:
                self._next_complaint = time.monotonic() + _COMPLAIN_S
                _logger.warning("The store drops what is new (%s); `cylestio status` counts it", reason)
        self._queue.settle([ticket], durable=False)

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cylestio-store", daemon=True)
                self._thread.start()
                worker_exit.before_exit(self.close)

    def _run(self) -> None:
        queue = self._queue
        while queue is self._queue:
            if queue.filled.wait(_IDLE_S):
                queue.filled.clear()
                if not self._closing:
                    queue.hurry.wait(LINGER_S)
                queue.hurry.clear()
            while len(queue) and self._write(queue.take(BACKLOG)):
                pass
            if not self._closing:
                self._maintain()
            elif not len(queue) or time.monotonic() > self._deadline:
                return

    def _write(self, group: list[PendingWrite]) -> bool:
        """Writes the group; makes room where the budget is used up, and finds out which item cannot be stored.

        Returns:
            Whether the next group may follow; `False` where the file cannot be written now, and the group waits on.
        """
        try:
            with fork_guard.guard:
                self._writer.write(group)
        except (sqlite3.DatabaseError, StoreError, OSError) as error:
            if not isinstance(error, (sqlite3.OperationalError, StoreError, OSError)) and not database.is_damage(error):
                return self._write_one_by_one(group, error)
            return self._recover(group, error)
        except Exception as error:  # noqa: BLE001 -- one item's content; the others must not go with it
            return self._write_one_by_one(group, error)
        for ticket in group:
            self._written[ticket.kind] = self._written.get(ticket.kind, 0) + 1
        self._queue.settle(group, durable=True)
        self._failures = 0
        for callback in self._committed:
            callback()
        return True

    def _write_one_by_one(self, group: list[PendingWrite], error: Exception) -> bool:
        _logger.debug("a group could not be stored as a whole: %s", type(error).__name__)
        if len(group) == 1:
            self._drop(group[0], "not storable")
            return True
        written = [self._write([ticket]) for ticket in group]
        return all(written)

    def _recover(self, group: list[PendingWrite], error: Exception) -> bool:
        """What can be done about a file that does not take a group; the group goes back to the front of the queue."""
        self._queue.put_back(group)
        try:
            if isinstance(error, sqlite3.Error) and database.is_full(error):
                with fork_guard.guard:
                    if self._writer.maintain(at_cap=True):
                        return True
            elif isinstance(error, sqlite3.Error) and database.is_damage(error):
                with fork_guard.guard:
                    self._writer.replace_damaged()
                self._next_maintenance = 0.0
                return True
            elif "locked" not in str(error):
                with fork_guard.guard:
                    self._writer.close()  # the file may be another one by now
        except Exception as second:  # noqa: BLE001 -- as of maintenance
            error = second
        self._failures += 1
        if self._failures == len(_RETRY_S) and time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + _COMPLAIN_S
            _logger.warning("The store cannot be written now (%s); what is seen waits in memory", error)
        self._last_error = str(error)
        time.sleep(_RETRY_S[min(self._failures, len(_RETRY_S)) - 1])
        self._queue.filled.set()
        return False

    def _maintain(self) -> None:
        """Now and then, one chunk at a time, between groups."""
        if time.monotonic() < self._next_maintenance:
            return
        try:
            with fork_guard.guard:
                removed = self._writer.maintain()
                self._note_drops()
            self._seal()
        except Exception as error:  # noqa: BLE001 -- whatever a broken file makes of it: the writer must not end
            self._last_error = str(error)
            removed = 0
        self._next_maintenance = time.monotonic() + (0.0 if removed else _MAINTENANCE_S)
        if removed:
            self._queue.filled.set()

    def _note_drops(self) -> None:
        """Adds what this process dropped to the counters of the file, where `cylestio status` finds it."""
        dropped = dict(self._dropped)
        more = {reason: number - self._noted.get(reason, 0) for reason, number in dropped.items()}
        self._writer.count({f"dropped.{reason}": number for reason, number in more.items() if number})
        self._noted = dropped

    def _seal(self) -> None:
        """Every ten minutes a signed checkpoint, where the package that signs is installed."""
        if time.monotonic() < self._next_seal:
            return
        self._next_seal = time.monotonic() + _SEAL_S
        try:
            with fork_guard.guard:
                made = self._writer.seal()
            if made is not None:
                checkpoint.publish(self.path, made)
        except (sqlite3.Error, StoreError, OSError) as error:
            _logger.debug("no checkpoint now: %s", error)

    def before_fork(self) -> None:
        """Closes the connection; it is opened anew by the next write."""
        self._writer.close()

    def after_fork_in_child(self) -> None:
        """Begins with an empty queue: what waits in the parent's is the parent's to write."""
        self._writer.abandon()
        self._queue = Queue()
        self._thread = None
        self._start_lock = threading.Lock()
        self._written, self._dropped = {}, {}


_open: dict[Path, Store] = {}
