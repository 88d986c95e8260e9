"""Work that a finaliser hands over, or that is to wait a while, done by a thread of its own.

A finaliser runs wherever the garbage collector happens to run, also inside a lock of the SDK, the exporter or the
store. `queue.SimpleQueue.put` is documented as safe there; everything else waits for this thread.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

LATER_S = 2.0
"""How long work that is to wait does so, in seconds."""

_DRAIN_S = 1.0
"""How long a drain waits for what the thread has begun, in seconds."""


class BackgroundWorker:
    """A queue of work and the daemon thread that does it."""

    def __init__(self) -> None:
        """Starts no thread: `ensure` does, outside any finaliser."""
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._later: deque[tuple[float, Callable[[], None]]] = deque()
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def ensure(self) -> None:
        """Sees to it that the thread runs in this process, also after a fork."""
        pid = os.getpid()
        if self._pid == pid:
            return
        with self._lock:
            if self._pid != pid:
                # A queue that another thread waited on at the fork is not to be trusted; its work is the parent's.
                self._queue, self._later = SimpleQueue(), deque()
                self._pid = pid
                self._thread = threading.Thread(target=self._run, args=(pid,), name="cylestio-reaper", daemon=True)
                self._thread.start()

    def put(self, work: Callable[[], None]) -> None:
        """Hands work over; safe in a finaliser."""
        self._queue.put(work)

    def put_later(self, work: Callable[[], None]) -> None:
        """Hands work over that is done after `LATER_S`, or when all is drained."""
        self._later.append((time.monotonic() + LATER_S, work))
        self._queue.put(_look_up)

    def drain(self) -> None:
        """Does on this thread what is waiting; what waits in the parent of a forked process is not done twice."""
        if self._pid not in {0, os.getpid()}:
            return
        while True:
            try:
                work = self._queue.get_nowait()
            except Empty:
                break
            self._do(work)
        self._do_later(float("inf"))
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            begun = threading.Event()
            self._queue.put(begun.set)
            begun.wait(_DRAIN_S)

    def _run(self, pid: int) -> None:
        while self._pid == pid:
            rest = self._rest()
            try:
                self._do(self._queue.get(timeout=rest))
            except Empty:
                self._do_later(time.monotonic())

    def _rest(self) -> float | None:
        """Seconds until the next work is due; `None` where there is none."""
        try:
            return max(self._later[0][0] - time.monotonic(), 0.0)
        except IndexError:  # another thread has drained it
            return None

    def _do_later(self, until: float) -> None:
        while True:
            try:
                due, work = self._later.popleft()
            except IndexError:
                return
            if due > until:
                self._later.appendleft((due, work))
                return
            self._do(work)

    @staticmethod
    def _do(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.debug("Work that was handed over failed", exc_info=True)


def _look_up() -> None:
    """Wakes the thread: it looks when the next work is due."""


def runs_on_trio() -> bool:
    """Whether the running coroutine is run by trio, where trio is imported."""
    import asyncio  # noqa: PLC0415 -- whoever awaits has it already; everybody else need not pay for it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
