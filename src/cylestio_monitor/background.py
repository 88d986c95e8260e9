"""Work that a finaliser hands over, or that is delayed, done by one thread.

A finaliser runs wherever the garbage collector happens to run, also inside a lock of the SDK, the exporter or the
store. `queue.SimpleQueue.put` is documented as safe there; everything else waits for this thread.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import weakref
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from cylestio_monitor import forks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

LATER_S = 2.0
"""Delay in seconds of work that is handed over with `put_later`."""

_DRAIN_S = 1.0
"""Longest time in seconds that a drain waits for work that the thread has begun."""


class BackgroundWorker:
    """A queue of work and the daemon thread that does it.

    Attributes:
        is_running: The thread was started in this process.
    """

    def __init__(self) -> None:
        """Starts no thread: `start` does, outside any finaliser."""
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._later: deque[tuple[float, Callable[[], None]]] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.is_running = False
        _workers.add(self)

    def start(self) -> None:
        """Starts the thread in this process; at interpreter shutdown it does the waiting work itself."""
        with self._lock:
            if self.is_running:
                return
            thread = threading.Thread(target=self._run, args=(self._queue,), name="cylestio-background", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # Python 3.12 starts no thread once the main thread has ended
                log.debug("The background thread could not start")
            else:
                self._thread, self.is_running = thread, True
        if not self.is_running:
            self.drain()

    def put(self, work: Callable[[], None]) -> None:
        """Hands work over; safe in a finaliser."""
        self._queue.put(work)

    def put_later(self, work: Callable[[], None]) -> None:
        """Hands over work that is done after `LATER_S`, or when all is drained."""
        self._later.append((time.monotonic() + LATER_S, work))
        self._queue.put(_wake_up)

    def drain(self) -> None:
        """Does the waiting work on this thread, and waits for work that the background thread has begun."""
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

    def reset(self) -> None:
        """Forgets queue and thread in a forked child: the waiting work is the parent's."""
        self._queue, self._later = SimpleQueue(), deque()
        self._lock = threading.Lock()
        self._thread, self.is_running = None, False

    def _run(self, queue: SimpleQueue[Callable[[], None]]) -> None:
        while queue is self._queue:
            rest = self._rest()
            try:
                self._do(queue.get(timeout=rest))
            except Empty:
                self._do_later(time.monotonic())

    def _rest(self) -> float | None:
        """Seconds until the next delayed work is due; `None` where there is none."""
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
        except Exception:  # the thread must go on with the work of other calls
            log.debug("Work that was handed over failed", exc_info=True)


_workers: weakref.WeakSet[BackgroundWorker] = weakref.WeakSet()


def _in_child() -> None:
    for worker in list(_workers):
        worker.reset()


forks.register("background", forks.Order.THREADS, in_child=_in_child)


def _wake_up() -> None:
    """Makes the thread look when the next delayed work is due."""


def runs_on_trio() -> bool:
    """Returns whether the running coroutine is run by trio; only where trio is imported."""
    import asyncio  # noqa: PLC0415 -- an application that awaits has imported it already

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def runs_on_event_loop() -> bool:
    """Returns whether a wait on this thread would block an event loop."""
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    if asyncio is not None and asyncio._get_running_loop() is not None:  # noqa: SLF001 -- the public one raises
        return True
    return trio is not None and bool(trio.lowlevel.in_trio_run())


class Waitable(Protocol):
    """A write that can be waited for."""

    def wait(self, timeout_s: float) -> bool:
        """Blocks until it is done."""

    async def wait_async(self, timeout_s: float) -> bool:
        """Does the same without blocking asyncio's event loop."""


async def wait_async(pending: Waitable, seconds: float) -> None:
    """Waits for a write without blocking the event loop, be it asyncio's or trio's."""
    trio: Any = sys.modules.get("trio")
    if trio is not None and runs_on_trio():
        await trio.to_thread.run_sync(pending.wait, seconds)
    else:
        await pending.wait_async(seconds)


def sleep_of_loop() -> Callable[[float], Awaitable[object]]:
    """Returns the function that sleeps on the event loop that runs here."""
    import asyncio  # noqa: PLC0415 -- as above

    trio: Any = sys.modules.get("trio")
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep if trio is None or not runs_on_trio() else trio.sleep
    return sleep
