"""Work that a finaliser hands over, done by a thread of its own.

A finaliser runs wherever the garbage collector happens to run, also inside a lock of the SDK, the exporter or the
store. `queue.SimpleQueue.put` is documented as safe there; everything else waits for this thread.
"""

from __future__ import annotations

import logging
import os
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Reaper:
    """A queue of work and the daemon thread that does it."""

    def __init__(self) -> None:
        """Starts no thread: `ensure` does, outside any finaliser."""
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._pid = 0
        self._lock = threading.Lock()

    def ensure(self) -> None:
        """Sees to it that the thread runs in this process, also after a fork."""
        pid = os.getpid()
        if self._pid == pid:
            return
        with self._lock:
            if self._pid != pid:
                # A queue that another thread waited on at the fork is not to be trusted; its work is the parent's.
                self._queue = SimpleQueue()
                self._pid = pid
                threading.Thread(target=self._run, args=(pid,), name="cylestio-reaper", daemon=True).start()

    def put(self, work: Callable[[], None]) -> None:
        """Hands work over; safe in a finaliser."""
        self._queue.put(work)

    def drain(self) -> None:
        """Does on this thread what is waiting."""
        while True:
            try:
                work = self._queue.get_nowait()
            except Empty:
                return
            self._do(work)

    def _run(self, pid: int) -> None:
        while self._pid == pid:
            self._do(self._queue.get())

    @staticmethod
    def _do(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.debug("Work handed over by a finaliser failed", exc_info=True)
