"""Of our threads one computes at a time, and now and then it lets others have the interpreter.

The interpreter goes to whoever waits for it when its holder lets go, and after 5 ms at the latest. Were the writer and
the sender to compute side by side, an event loop that wants to turn would wait for one, and then for the other. With
turns nobody but the application waits when the holder lets go.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from cylestio_monitor import forks

_SLICE_S: Final = 0.002
"""How long one of our threads computes before others are let in."""

_SHARE: Final = 4
"""The same, in times of what the last offer cost: no more than a fifth goes to a thread that computes, and keeps the
interpreter for 5 ms whenever it gets it. Beyond that the interpreter itself sees to it that both get on."""

_HANDOVER_S: Final = 0.0002


class Turn:
    """The right to compute; not to be taken while it is held, and nothing that waits is done under it."""

    def __init__(self) -> None:
        """Nobody has it."""
        self.reset()

    def reset(self) -> None:
        """As at first: in a forked child, whose parent's threads are not there to let go of it."""
        self._lock = threading.Lock()
        self._wanted = False
        self._next_offer = 0.0

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._wanted = True
            self._lock.acquire()
            self._wanted = False
        self._next_offer = time.perf_counter() + _SLICE_S

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def offer(self) -> None:
        """To be called often: after a slice it lets others have the interpreter, and another thread the turn."""
        now = time.perf_counter()
        if now < self._next_offer:
            return
        time.sleep(0)
        if self._wanted:
            self._lock.release()
            time.sleep(_HANDOVER_S)  # the other thread has it by then, and this one queues
            self.__enter__()
            return
        after = time.perf_counter()
        self._next_offer = after + max(_SLICE_S, _SHARE * (after - now))


turn: Final = Turn()

forks.register("gil_yield", forks.Order.THREADS, in_child=turn.reset)
