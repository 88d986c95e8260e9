"""The thread that writes: takes groups from the queue, commits them, and maintains the file between groups."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.audit import checkpoint
from cylestio_monitor.store.ingest import worker_exit
from cylestio_monitor.store.ingest.aside import AsideWriter
from cylestio_monitor.store.ingest.batch import Batch
from cylestio_monitor.store.ingest.queue import PendingWrite, Queue
from cylestio_monitor.store.sqlite import database, fork_guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.store.ingest.writer import Writer

_logger = logging.getLogger(__name__)

GROUP: Final = 64
"""Number of items that are committed without waiting for more."""

BACKLOG: Final = 512
"""Largest number of items of one commit, where more than `GROUP` wait."""

LINGER_S: Final = 0.04
"""Time that the writer waits for more items after the first one."""

_IDLE_S: Final = 30.0
_UNINDEXED: Final = 1000  # spans from which they are indexed between commits too; a search reads no more one by one
_INDEX_SHARE: Final = 9  # then the thread writes nine times as long as it indexes
_LULL_S: Final = 1.0
"""Time without a new item after which the full-text index is filled."""

_MAINTENANCE_S: Final = 60.0
_SEAL_S: Final = 600.0
_COMPLAIN_S: Final = 300.0
_RETRY_S: Final = (0.05, 0.2, 0.5, 1.0)
_URGENT_BUSY_S: Final = 0.1
"""Time that an urgent commit waits for the lock of another process before the rows go to the side file."""

_FOR_WRITER: Final = 0.7
"""The fraction of the time of a close after which the writer counts as hanging."""

_LARGE_QUEUE: Final = 0.5
"""The fraction of the queue's bounds from which rows are also written to the side file."""


class WriteLoop:
    """Queue, thread and side file of one store.

    Attributes:
        queue: The items that wait.
        committed: Called on the writer's thread after every commit.
        last_error: The last reason why something could not be written.
    """

    def __init__(self, writer: Writer) -> None:
        """Starts no thread yet.

        Args:
            writer: Writes to the file.
        """
        self.queue = Queue()
        self.committed: list[Callable[[], None]] = []
        self.last_error = ""
        self._writer = writer
        self._aside = AsideWriter(writer, self.queue)
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._closing = False
        self._deadline = 0.0
        self._written: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._noted: dict[str, int] = {}
        self._set_aside = 0
        self._next_complaint = 0.0
        self._failures = 0
        self._next_maintenance = 0.0
        # The entries of a shorter process are sealed by a later, longer one or by a command.
        self._next_seal = time.monotonic() + _MAINTENANCE_S
        self._has_unindexed = True
        self._unindexed = 0
        self._next_index = 0.0
        if writer.has_leftovers():
            self.queue.filled.set()
            self._start()

    @property
    def closed(self) -> bool:
        """True after `close` was called."""
        return self._closing

    def put(self, pending: PendingWrite) -> None:
        """Queues an item; drops and counts it if the queue is full. Never blocks, never raises."""
        if self._closing:
            self._drop(pending, "closed")
        elif not self.queue.put(pending, GROUP):
            self._drop(pending, "queue full")
        elif self._thread is None:
            self._start()

    def stats(self) -> dict[str, Any]:
        """Returns numbers of this process: items that wait, that were written, set aside or dropped."""
        return {
            "waiting": len(self.queue),
            "waiting_bytes": self.queue.bytes,
            "written": dict(self._written),
            "dropped": dict(self._dropped),
            "set_aside": self._set_aside,
            "late": self.queue.late,
            "error": self.last_error,
        }

    def close(self, timeout_s: float) -> None:
        """Writes what waits, to the side file where the database cannot take it, and closes both files."""
        self._deadline = time.monotonic() + timeout_s
        self._closing = True
        thread = self._thread
        if thread is not None and thread.is_alive():
            self.queue.hurry.set()
            self.queue.filled.set()
            thread.join(timeout_s * _FOR_WRITER)
        if thread is not None and thread.is_alive():
            self._leave_hanging_writer(timeout_s * (1 - _FOR_WRITER))
            return
        while len(self.queue) and self._write(self.queue.take(BACKLOG)):
            pass
        with fork_guard.guard:
            try:
                while time.monotonic() < self._deadline and self._take_up():
                    pass
                self._note_drops()
            except (sqlite3.Error, StoreError, OSError) as error:
                _logger.debug("the counters could not be written: %s", error)
                self._aside.append(Batch(counters=self._new_drops()))
            self._aside.close()
            self._writer.finish()

    def _leave_hanging_writer(self, timeout_s: float) -> None:
        """Puts what a writer that hangs in the disk has not committed into a side file; counts the rest as dropped.

        What the writer holds may still be committed: only what may be inserted twice of it goes to the side file.
        """
        held, waiting = self.queue.take_rest()
        held = [one for one in held if not one.is_settled]
        rescued = [one for one in held if one.can_be_rescued]
        done = set(map(id, self._aside.append_last([*rescued, *waiting], timeout_s / 2)))
        self._set_aside += len(done)
        self.queue.mark_durable([one for one in held if id(one) in done])
        self.queue.settle([one for one in waiting if id(one) in done], durable=True)
        for one in (*held, *waiting):
            if id(one) not in done:
                self._drop(one, "closed")
        dropped = self._new_drops()
        if dropped:
            self._aside.append_last((), timeout_s / 2, dropped)

    def before_fork(self) -> None:
        """Closes the connection; the next write opens it again."""
        self._writer.close()

    def after_fork_in_child(self) -> None:
        """Begins with an empty queue and another side file: the parent writes what it has queued."""
        self._writer.abandon()
        self._aside.abandon()
        self.queue = Queue()
        self._aside = AsideWriter(self._writer, self.queue)
        self._thread = None
        self._start_lock = threading.Lock()
        self._written, self._dropped, self._noted = {}, {}, {}

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="cylestio-store", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter shuts down: `close` writes what waits
                    return
                self._thread = thread
                worker_exit.before_exit(lambda: self.close(2.0))

    def _drop(self, pending: PendingWrite, reason: str) -> None:
        if pending.kind != "barrier":
            with self._start_lock:
                self._dropped[reason] = self._dropped.get(reason, 0) + 1
            if time.monotonic() >= self._next_complaint:
                self._next_complaint = time.monotonic() + _COMPLAIN_S
                _logger.warning("The store drops new rows (%s); `cylestio status` counts them", reason)
        self.queue.settle([pending], durable=False)

    def _run(self) -> None:
        queue = self.queue
        while queue is self.queue:
            if queue.filled.wait(_LULL_S if self._has_unindexed else _IDLE_S):
                queue.filled.clear()
                if not self._closing:
                    queue.hurry.wait(LINGER_S)
                queue.hurry.clear()
            elif self._has_unindexed:
                self._index()
            while len(queue) and self._write(queue.take(BACKLOG)):
                pass
            if not self._closing:
                self._maintain()
                self._index_under_load()
            elif not len(queue) or time.monotonic() > self._deadline:
                return

    def _write(self, group: list[PendingWrite]) -> bool:
        """Commits a group; removes old rows if the size limit is reached, and isolates an item that cannot be stored.

        Returns:
            Whether the next group may follow; `False` where the file cannot be written now.
        """
        patience = _URGENT_BUSY_S if self._closing or any(one.urgent for one in group) else database.BUSY_SECONDS
        try:
            with fork_guard.guard:
                self._writer.write(group, patience)
        except (sqlite3.DatabaseError, StoreError, OSError) as error:
            if not isinstance(error, (sqlite3.OperationalError, StoreError, OSError)) and not database.is_damage(error):
                return self._write_one_by_one(group, error)
            return self._recover(group, error)
        except Exception as error:  # noqa: BLE001 -- caused by the content of one item, which must not cost the others
            return self._write_one_by_one(group, error)
        for pending in group:
            self._written[pending.kind] = self._written.get(pending.kind, 0) + 1
        self.queue.settle(group, durable=True)
        if self._failures:
            self._next_maintenance = 0.0  # the side file may be inserted now
        self._failures = 0
        self._has_unindexed = True
        self._unindexed += len(group)
        for callback in self.committed:
            callback()
        return True

    def _write_one_by_one(self, group: list[PendingWrite], error: Exception) -> bool:
        _logger.debug("a group could not be stored as a whole: %s", type(error).__name__)
        if len(group) == 1:
            self._drop(group[0], "not storable")
            return True
        written = [self._write([pending]) for pending in group]
        return all(written)

    def _recover(self, group: list[PendingWrite], error: Exception) -> bool:
        """Repairs a file that does not take a group, or sets the group aside, or returns it to the queue."""
        try:
            if isinstance(error, sqlite3.Error) and database.is_full(error):
                with fork_guard.guard:
                    if self._writer.maintain(at_cap=True):
                        self.queue.put_back(group)
                        return True
            elif isinstance(error, sqlite3.Error) and database.is_damage(error):
                with fork_guard.guard:
                    self._writer.replace_damaged()
                self._next_maintenance = 0.0
                self.queue.put_back(group)
                return True
            elif not database.is_busy(error):
                with fork_guard.guard:
                    self._writer.close()  # the file may be another one by now
        except Exception as second:  # noqa: BLE001 -- a damaged file may raise anything, and the writer must not end
            error = second
        self._failures += 1
        self.last_error = str(error)
        urgent = any(pending.urgent and pending.kind != "barrier" for pending in group)
        if (urgent or self._closing or self.queue.fill > _LARGE_QUEUE) and self._put_aside(group):
            return True
        self.queue.put_back(group)
        if self._failures == len(_RETRY_S) and time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + _COMPLAIN_S
            _logger.warning("The store cannot be written now (%s); new rows wait in memory", error)
        time.sleep(_RETRY_S[min(self._failures, len(_RETRY_S)) - 1])
        self.queue.filled.set()
        return False

    def _put_aside(self, group: list[PendingWrite]) -> bool:
        """Appends a group to the side file; whether it is there. At the end of the process the rest is dropped."""
        try:
            batch = self._writer.encode(group)
        except Exception as error:  # noqa: BLE001 -- caused by the content of one item, which must not cost the others
            if len(group) > 1:
                outcomes = [self._put_aside([pending]) for pending in group]
                return all(outcomes)
            _logger.debug("an item could not be encoded: %s", type(error).__name__)
            self._drop(group[0], "not storable")
            return True
        if self._aside.append(batch):
            self._set_aside += len(group)
            self.queue.settle(group, durable=True)
            return True
        if self._closing:
            for pending in group:
                self._drop(pending, "closed")
            return True
        return False

    def _take_up(self) -> int:
        """Inserts one batch of a side file and returns the number of its rows; 0 where none is left."""
        self._aside.release()
        return self._writer.take_up()

    def _maintain(self) -> None:
        """Maintains the file at intervals, one chunk between two groups."""
        if time.monotonic() < self._next_maintenance:
            return
        try:
            with fork_guard.guard:
                removed = self._take_up() or self._writer.end_interrupted() or self._writer.maintain()
                self._note_drops()
            self._seal()
        except Exception as error:  # noqa: BLE001 -- a damaged file may raise anything, and the writer must not end
            self.last_error = str(error)
            removed = 0
        self._next_maintenance = time.monotonic() + (0.0 if removed else _MAINTENANCE_S)
        if removed:
            self.queue.filled.set()

    def _index(self) -> None:
        """Adds stored spans to the full-text index while nothing waits to be written."""
        self._has_unindexed = False
        try:
            while not len(self.queue):
                with fork_guard.guard:
                    if not self._writer.index():
                        self._unindexed = 0
                        return
            self._has_unindexed = True
        except Exception as error:  # noqa: BLE001 -- as for `_maintain`
            self.last_error = str(error)

    def _index_under_load(self) -> None:
        """Adds one chunk to the full-text index while rows keep coming, in a small share of the thread's time."""
        started = time.monotonic()
        if self._unindexed < _UNINDEXED or started < self._next_index:
            return
        try:
            with fork_guard.guard:
                indexed = self._writer.index()
            self._unindexed = self._unindexed - indexed if indexed else 0
        except Exception as error:  # noqa: BLE001 -- as for `_maintain`
            self.last_error = str(error)
        self._next_index = time.monotonic() + _INDEX_SHARE * (time.monotonic() - started)

    def _new_drops(self) -> dict[str, int]:
        more = {reason: number - self._noted.get(reason, 0) for reason, number in self._dropped.items()}
        return {f"dropped.{reason}": number for reason, number in more.items() if number}

    def _note_drops(self) -> None:
        """Adds what this process dropped to the counters of the file, which `cylestio status` shows."""
        dropped = dict(self._dropped)
        self._writer.count(self._new_drops())
        self._noted = dropped

    def _seal(self) -> None:
        """Signs a checkpoint every ten minutes, where the package that signs is installed."""
        if time.monotonic() < self._next_seal:
            return
        self._next_seal = time.monotonic() + _SEAL_S
        try:
            with fork_guard.guard:
                made = self._writer.seal()
            if made is not None:
                checkpoint.publish(self._writer.path, made)
        except (sqlite3.Error, StoreError, OSError) as error:
            _logger.debug("no checkpoint now: %s", error)
