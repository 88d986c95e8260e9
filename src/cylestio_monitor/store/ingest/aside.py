"""Puts items into the side file that the writer cannot commit in time."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.ingest.batch import Batch
from cylestio_monitor.store.ingest.side_file import SideFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cylestio_monitor.store.ingest.queue import PendingWrite, Queue
    from cylestio_monitor.store.ingest.writer import Writer

_logger = logging.getLogger(__name__)

_IDLE_S: Final = 30.0
_CLOSE_S: Final = 1.0
_LAST_GROUP: Final = 512
"""Number of items of one append at the end of the process."""


class AsideWriter:
    """The side file of one store, and the thread that appends what other threads wait for.

    With many threads that compute, the writer gets the interpreter too seldom to commit in time: a commit takes many
    statements, an append two system calls. The commit follows and ignores what is known.
    """

    def __init__(self, writer: Writer, queue: Queue) -> None:
        """Creates no file and no thread yet.

        Args:
            writer: Encodes the items.
            queue: The items; each fork of the process has another one.
        """
        self._writer = writer
        self._queue = queue
        self._side = SideFile(writer.path)
        self._lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = threading.Event()
        self._is_closed = False
        queue.rescuer = self

    def append(self, batch: Batch) -> bool:
        """Appends a batch and syncs it; whether that was possible."""
        if batch.is_empty:
            return True
        try:
            with self._lock:
                self._side.append(batch)
        except (OSError, StoreError) as error:
            _logger.debug("the side file cannot be written: %s", error)
            return False
        return True

    def release(self) -> None:
        """Closes the file, so that any process may insert its rows; the next append begins another one."""
        with self._lock:
            self._side.close()

    def close(self) -> None:
        """Closes the file and ends the thread; one that hangs in the disk keeps the file until the process ends."""
        self._is_closed = True
        self._wanted.set()
        if self._lock.acquire(timeout=_CLOSE_S):
            try:
                self._side.close()
            finally:
                self._lock.release()

    def append_last(
        self, group: Sequence[PendingWrite], timeout_s: float, counters: Mapping[str, int] | None = None
    ) -> list[PendingWrite]:
        """Appends items to a side file of their own at the end of the process, within a bounded time.

        A disk in which the writer hangs may hold up this file too. So a thread of its own writes it, the sync comes
        last, and the file is not the one whose lock the other thread may hold.

        Args:
            group: The items.
            timeout_s: Longest time, in seconds.
            counters: Added to the counters of the file.

        Returns:
            The items that are in the file.
        """
        self._is_closed = True
        done: list[PendingWrite] = []
        deadline = time.monotonic() + timeout_s

        def append_all() -> None:
            side = SideFile(self._writer.path)
            try:
                if counters:
                    side.append(Batch(counters=dict(counters)), sync=False)
                for start in range(0, len(group), _LAST_GROUP):
                    if time.monotonic() > deadline:
                        return
                    done.extend(self._append_or_halve(side, group[start : start + _LAST_GROUP]))
                side.sync()
            except (OSError, StoreError) as error:
                _logger.debug("the side file cannot be written: %s", error)
            finally:
                side.close()

        thread = threading.Thread(target=append_all, name="cylestio-aside-last", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # Python 3.12 starts no thread in an exit handler
            append_all()
        else:
            thread.join(timeout_s)
        return list(done)

    def _append_or_halve(self, side: SideFile, group: Sequence[PendingWrite]) -> list[PendingWrite]:
        """Appends a group; where an item cannot be encoded, the others are appended. Returns those in the file."""
        copies = [copy for one in group if (copy := one.copy()) is not None]
        try:
            batch = self._writer.encode(copies, aside=True)
        except Exception as error:  # noqa: BLE001 -- caused by the content of one item, which must not cost the others
            if len(group) == 1:
                _logger.debug("an item could not be encoded: %s", type(error).__name__)
                return []
            half = len(group) // 2
            return [*self._append_or_halve(side, group[:half]), *self._append_or_halve(side, group[half:])]
        if not batch.is_empty:
            side.append(batch, sync=False)
        return list(group)

    def abandon(self) -> None:
        """Closes the descriptor that a forked child has inherited; the file is the parent's."""
        self._is_closed = True
        self._side.close()

    def request_append(self) -> None:
        """Has the thread append the items that somebody waits for; returns at once.

        The thread that waits does not sync the file itself: a disk that hangs would hold it up for longer than it wants
        to wait.
        """
        if self._start_lock.acquire(blocking=False):
            try:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="cylestio-aside", daemon=True)
                    self._thread.start()
            except RuntimeError:  # the interpreter shuts down
                self._thread = None
            finally:
                self._start_lock.release()
        self._wanted.set()

    def append_unsynced(self) -> None:
        """Writes the items of the calling thread to a side file of their own, without a sync.

        A write without a sync ends in the memory of the kernel: it does not wait for the disk, and survives a kill. The
        file is not shared, because a thread that holds a lock may itself wait long for the interpreter.
        """
        mine = threading.get_ident()
        group = [one for one in self._queue.unsettled() if one.can_be_rescued and one.thread == mine]
        side = SideFile(self._writer.path)
        if self._append(side, group, sync=False):
            self._queue.mark_durable(group)
        side.close()

    def _run(self) -> None:
        while not self._is_closed:
            if not self._wanted.wait(_IDLE_S):
                continue
            self._wanted.clear()
            group = [one for one in self._queue.unsettled() if one.can_be_rescued]
            with self._lock:
                appended = not self._is_closed and self._append(self._side, group, sync=True)
            if appended:
                self._queue.mark_durable(group)

    def _append(self, side: SideFile, group: Sequence[PendingWrite], *, sync: bool) -> bool:
        copies = [copy for one in group if (copy := one.copy()) is not None]
        try:
            if any(copy.urgent for copy in copies):
                side.append(self._writer.encode(copies, aside=True), sync=sync)
        except Exception as error:  # noqa: BLE001 -- the writer still has the items
            _logger.debug("items could not be set aside: %s", type(error).__name__)
            return False
        return True
