"""The sender: drains what is stored and not sent yet, in order, and never forgets what it could not deliver.

Of the processes that share a store one sends for all. Its thread takes the oldest entries, hands them to the official
exporter, and takes them out when the collector has taken them; what `delivery` says about the rest decides how long it
waits.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.delivery import transport
from cylestio_monitor.store.delivery.batch import BatchDelivery, Line
from cylestio_monitor.store.delivery.outbox_table import OutboxEntry, OutboxTable, counts
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite import fork_guard, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from opentelemetry.sdk.resources import Resource

    from cylestio_monitor.store.store import Store

_logger = logging.getLogger(__name__)

T = TypeVar("T")

_POLL_S: Final = 1.0
_GATHER_S: Final = 0.1
_LOG_EVERY_S: Final = 300.0
_LAST_LOOK_S: Final = 0.1


class Outbox:
    """Sends what a store holds, on a thread of its own."""

    def __init__(
        self,
        store: Store,
        exporters: Mapping[str, Any],
        *,
        resource: Resource | None = None,
        shared: frozenset[str] = frozenset(),
    ) -> None:
        """Creates a sender that sends nothing before `start`.

        Args:
            store: The store whose outbox is sent.
            exporters: The OTLP exporter of each signal that shall be sent: ``traces``, ``logs``, ``metrics``.
            resource: The resource of the events; without it, the resource of the first span.
            shared: Signals whose exporter has another user; the sender does not shut it down.
        """
        self._store = store
        self._shared = shared
        self._resource = resource
        self._lines = {signal: Line(signal, transport.Channel(exporter)) for signal, exporter in exporters.items()}
        self._reset()
        self._logged: dict[str, float] = {}
        self._unsupported: dict[str, str] = {}
        fork_guard.register(self)

    def _reset(self) -> None:
        self._table = OutboxTable(self._store)
        self._wake = threading.Event()
        self._progress = threading.Condition(threading.Lock())
        self._stopping = False
        self._deadline = 0.0
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def start(self) -> None:
        """Starts sending; the records that an earlier process left are sent first."""
        self._store.forward(frozenset(self._lines), self._resource, self._committed)
        self._run_thread()

    def stop(self, timeout_s: float = 2.0, *, release: bool = False) -> bool:
        """Sends for at most `timeout_s` seconds, then stops; returns whether the outbox is empty.

        Unsent records stay in the store, and the next process that uses the store sends them.

        Args:
            timeout_s: Longest time it takes, in seconds.
            release: Whether the exporters are restored for their owner instead of being shut down.
        """
        started = time.monotonic()
        self._store.flush(timeout_s / 2)
        self._deadline = started + timeout_s
        self._stopping = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(max(0.0, self._deadline - time.monotonic()))
        self._store.forward(frozenset(), None, self._committed)
        if thread is not None and thread.is_alive():
            return False  # the thread is blocked in a request; it is a daemon and ends with the process
        for line in self._lines.values():
            if release or line.signal in self._shared:
                line.channel.release()
            else:
                line.channel.close()
        if not fork_guard.guard.lock.acquire(timeout=max(_LAST_LOOK_S, self._deadline - time.monotonic())):
            return False  # the writer hangs in the disk
        try:
            empty = self._attempt(lambda: not self._table.newest(), default=False)
            self._table.close()
        finally:
            fork_guard.guard.lock.release()
        return empty

    def force_flush(self, timeout_s: float, signals: Collection[str] = schema.SIGNALS) -> bool:
        """Waits until every record stored so far is delivered or set aside; returns whether it is.

        Args:
            timeout_s: Longest time it takes, in seconds.
            signals: The signals to wait for; the others are sent as well.
        """
        deadline = time.monotonic() + timeout_s
        if not self._store.flush(timeout_s):
            return False
        marks = self._attempt(self._table.newest, default=None)
        if marks is None:
            return False
        marks = {signal: ref for signal, ref in marks.items() if signal in signals}
        for line in self._lines.values():
            if not line.asked:
                line.not_before = 0.0
        self._wake.set()
        while not self._attempt(lambda: self._table.sent_up_to(marks), default=False):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._progress:
                self._progress.wait(min(left, 0.2))
        return True

    def stats(self) -> dict[str, Any]:
        """Returns queued, quarantined and sent records and the last problem of each signal."""
        numbers: dict[str, Any] = self._attempt(self._counts, default={})
        return {
            signal: {**numbers.get(signal, {}), "problem": line.problem, "failures": line.failures}
            for signal, line in self._lines.items()
        }

    def _counts(self) -> dict[str, dict[str, int]]:
        with queries.connect(self._store.path) as connection:
            return counts(connection)

    def before_fork(self) -> None:
        """Closes the connection; the guard is held."""
        self._table.close()

    def after_fork_in_child(self) -> None:
        """Resets state and sockets in the child process; sending restarts at the first commit of the child."""
        running = self._thread is not None and not self._stopping
        self._table.abandon()
        self._reset()
        if running:
            for line in self._lines.values():
                line.channel.reconnect()
            self._store.forward(frozenset(self._lines), self._resource, self._committed)

    def _committed(self) -> None:
        """On the writer's thread: there may be something to send."""
        if self._thread is None:
            self._run_thread()
        self._wake.set()

    def _run_thread(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cylestio-outbox", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with transport.quiet():
            self._send_until_stopped()
        self._attempt(self._table.leave, default=None)

    def _send_until_stopped(self) -> None:
        thread = threading.current_thread()
        while thread is self._thread:
            idle = True
            if self._attempt(self._table.lead, default=False):
                for line in self._lines.values():
                    idle &= not self._attempt(functools.partial(self._drain, line), default=False)
            with self._progress:
                self._progress.notify_all()
            if self._stopping and (idle or time.monotonic() >= self._deadline):
                break
            if idle:
                self._wake.wait(self._pause())
                if not self._stopping:
                    time.sleep(_GATHER_S)  # a request for every span would cost more than it brings
                self._wake.clear()

    def _pause(self) -> float:
        """Until the next attempt that is due."""
        now = time.monotonic()
        due = [line.not_before - now for line in self._lines.values() if line.not_before > now]
        return min([_POLL_S, *due])

    def _drain(self, line: Line) -> bool:
        """Sends one batch; whether there may be more to send at once."""
        if time.monotonic() < line.not_before:
            return False
        entries: list[OutboxEntry] = self._attempt(lambda: self._table.read(line.signal, line.size), default=[])
        unreadable = [entry for entry in entries if entry.record is None]
        for entry in unreadable:
            self._table.set_aside(line.signal, [entry], entry.reason)
        readable = [entry for entry in entries if entry.record is not None]
        if not readable:
            return bool(unreadable)
        outcome = BatchDelivery(self._table, line).run(readable)
        if outcome is None:
            if line.unsupported:
                self._report_unsupported(line)
            elif line.problem and self._forget_reports(line.signal):
                _logger.warning("OTLP export of %s works again", line.signal)
            line.well()
            return True
        line.rest(outcome)
        self._complain(line)
        return False

    def _complain(self, line: Line) -> None:
        """One line when something begins to be wrong, and one every five minutes while it is."""
        now = time.monotonic()
        if line.failures > 1 and now - self._logged.get(line.signal, -_LOG_EVERY_S) >= _LOG_EVERY_S:
            self._logged[line.signal] = now
            answer = f"collector answered {line.problem}" if line.problem.startswith(("HTTP", "gRPC")) else line.problem
            _logger.warning(
                "OTLP export of %s paused: %s; the records are kept in the local store", line.signal, answer
            )

    def _forget_reports(self, signal: str) -> bool:
        """Forgets what was logged about a signal; returns true where something was."""
        reports = (self._logged.pop(signal, None), self._unsupported.pop(signal, None))
        return any(report is not None for report in reports)

    def _report_unsupported(self, line: Line) -> None:
        """One line for a signal that the backend does not accept, until it accepts it or answers something else."""
        if self._unsupported.get(line.signal) != line.unsupported:
            self._unsupported[line.signal] = line.unsupported
            _logger.warning(
                "OTLP export of %s: the backend does not accept this signal (%s); "
                "the records are set aside in the local store",
                line.signal,
                line.unsupported,
            )

    def _attempt(self, action: Callable[[], T], *, default: T) -> T:
        """Runs what needs the file; where it cannot be had now, the next round tries again."""
        try:
            return action()
        except (sqlite3.Error, StoreError, OSError) as error:
            _logger.debug("the outbox cannot be reached now: %s", error)
        except Exception:  # whatever it is: nothing more would be sent if the thread ended
            _logger.debug("the outbox stumbled", exc_info=True)
        return default
