"""The items that wait for the writer, bounded in number and bytes, and the state of each for a thread that waits."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Kind: TypeAlias = Literal["span", "findings", "event", "metric", "record", "barrier"]

MAX_ITEMS: Final = 50_000
MAX_BYTES: Final = 64_000_000
_MOST_OF_ONE: Final = 8_000_000
"""The largest size one item counts for, in bytes: the writer truncates a larger span."""

_PATIENCE: Final = 0.1
"""The fraction of a wait after which the item is also written to the side file."""

_PENDING, _DURABLE, _LOST = range(3)


class Rescuer(Protocol):
    """Puts items into the side file that the writer does not commit in time."""

    def request_append(self) -> None:
        """Has a thread append them; returns at once."""

    def append_unsynced(self) -> None:
        """Writes those of the calling thread to a side file of their own, without a sync."""


class PendingWrite:
    """One thing handed to the store, and whether it is on disk yet."""

    __slots__ = ("_callbacks", "_queue", "_state", "kind", "payload", "size", "thread", "urgent")

    def __init__(self, queue: Queue, kind: Kind, payload: Any, size: int, urgent: bool) -> None:
        self._queue = queue
        self._state = _PENDING
        self._callbacks: list[Any] | None = None
        self.kind = kind
        self.payload = payload
        self.size = min(size, _MOST_OF_ONE)
        self.urgent = urgent
        self.thread = threading.get_ident()

    @property
    def durable(self) -> bool:
        """True if the item is committed. An urgent item then survives a power failure, any other a killed process."""
        return self._state == _DURABLE

    @property
    def is_settled(self) -> bool:
        """True if the item is committed, set aside or dropped."""
        return self._state != _PENDING

    def wait(self, timeout_s: float) -> bool:
        """Blocks until the item is committed, at most `timeout_s` seconds, and returns whether it is."""
        if self._state == _PENDING and timeout_s > 0:
            self._wait(timeout_s * _PATIENCE)
            if self._state == _PENDING:
                self._rescue()
                self._wait(timeout_s * (1 - _PATIENCE))
            self._rescue_unsynced()
        return self._answer()

    def _wait(self, timeout_s: float) -> None:
        with self._queue.settled:
            self._queue.settled.wait_for(lambda: self._state != _PENDING, timeout_s)

    def _rescue(self) -> None:
        """Asks the store to put the item into the side file, where it can be."""
        if self._queue.rescuer is not None and self.urgent and self.can_be_rescued:
            self._queue.rescuer.request_append()

    def _rescue_unsynced(self) -> None:
        """Puts the item into the side file on this thread: from then on it survives a kill."""
        if self._state == _PENDING and self._queue.rescuer is not None and self.urgent and self.can_be_rescued:
            self._queue.rescuer.append_unsynced()

    @property
    def can_be_rescued(self) -> bool:
        """True if the side file may also hold the item, because inserting it twice changes nothing."""
        if self.kind == "barrier":
            return self.payload is not None
        return self.kind in {"span", "findings"} or (self.kind == "record" and self.urgent)

    def copy(self) -> PendingWrite | None:
        """Returns the item with its payload for another thread; `None` where it is settled."""
        with self._queue.settled:
            if self._state != _PENDING:
                return None
            return PendingWrite(self._queue, self.kind, self.payload, self.size, self.urgent)

    def mark_durable(self) -> list[Any]:
        """Marks an item that is in the side file; what it carries stays for the commit that follows.

        Returns:
            The callbacks of those that wait.
        """
        if self._state == _PENDING:
            self._state = _DURABLE
        callbacks, self._callbacks = self._callbacks or [], None
        return callbacks

    async def wait_async(self, timeout_s: float) -> bool:
        """Same as `wait`, without blocking the event loop."""
        if self._state != _PENDING or timeout_s <= 0:
            return self._state == _DURABLE
        import asyncio  # noqa: PLC0415 -- only async callers need it, and they have imported it

        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(done.set)

        with self._queue.settled:
            if self._state != _PENDING:
                return self._state == _DURABLE
            self._callbacks = [*(self._callbacks or ()), wake]
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), timeout_s * _PATIENCE)
        if self._state == _PENDING:
            self._rescue()
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(done.wait(), timeout_s * (1 - _PATIENCE))
            self._rescue_unsynced()
        return self._answer()

    def _answer(self) -> bool:
        """Returns whether the item is committed; counts an urgent item whose caller continues without the commit."""
        if self._state != _DURABLE and self.urgent and self.kind != "barrier":
            self._queue.late += 1
        return self._state == _DURABLE

    def settle(self, *, durable: bool) -> list[Any]:
        """Sets the final state under the queue's lock, drops the payload, and returns the waiters to notify."""
        if self._state == _PENDING:
            self._state = _DURABLE if durable else _LOST
        self.payload = None
        callbacks, self._callbacks = self._callbacks or [], None
        return callbacks


class Queue:
    """First in, first out, filled by any thread and emptied by one. Filling never blocks."""

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self.settled = threading.Condition(threading.Lock())
        self.filled = threading.Event()
        self.hurry = threading.Event()
        self.rescuer: Rescuer | None = None
        self._taken: list[PendingWrite] = []
        self.bytes = 0
        self.late = 0
        self._lock = threading.Lock()
        self._items: deque[PendingWrite] = deque()
        self._max_items = max_items
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._items)

    @property
    def fill(self) -> float:
        """Returns the used fraction of the tighter bound, items or bytes, from 0 to 1."""
        return max(len(self._items) / self._max_items, self.bytes / self._max_bytes)

    def put(self, pending: PendingWrite, rush_at: int) -> bool:
        """Adds an item and wakes the writer; returns `False` if the queue is full and the item was not added.

        Args:
            pending: The item. An urgent item or a barrier is added even if the queue is full, because it is small.
            rush_at: Length of the queue from which the writer starts without waiting for more.
        """
        with self._lock:
            length, size = len(self._items), self.bytes + pending.size
            if (length >= self._max_items or size > self._max_bytes) and not pending.urgent:
                return False
            self.bytes = size
            self._items.append(pending)
        if (pending.urgent or length >= rush_at - 1) and not self.hurry.is_set():
            self.hurry.set()
        if not self.filled.is_set():
            self.filled.set()
        return True

    def take(self, limit: int) -> list[PendingWrite]:
        """Removes and returns the oldest items, at most `limit`."""
        with self._lock:
            group = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            self.bytes -= sum([pending.size for pending in group])
            self._taken = group
        return group

    def unsettled(self) -> list[PendingWrite]:
        """Returns the items that are being written or wait, in their order."""
        with self._lock:
            return [*self._taken, *self._items]

    def take_rest(self) -> tuple[list[PendingWrite], list[PendingWrite]]:
        """Removes and returns all items: those that are being written, some of which may be settled, and the others."""
        with self._lock:
            taken, rest = self._taken, list(self._items)
            self._items.clear()
            self._taken, self.bytes = [], 0
        return taken, rest

    def mark_durable(self, group: Iterable[PendingWrite]) -> None:
        """Marks items that are in the side file, and wakes the threads that wait for them."""
        with self.settled:
            callbacks = [callback for pending in group for callback in pending.mark_durable()]
            self.settled.notify_all()
        _call(callbacks)

    def put_back(self, group: list[PendingWrite]) -> None:
        """Returns a group that could not be written to the front, in its order."""
        with self._lock:
            self._items.extendleft(reversed(group))
            self.bytes += sum([pending.size for pending in group])

    def settle(self, group: Iterable[PendingWrite], *, durable: bool) -> None:
        """Sets the final state of the items and wakes the threads that wait for them."""
        with self.settled:
            callbacks = [callback for pending in group for callback in pending.settle(durable=durable)]
            self.settled.notify_all()
        _call(callbacks)


def _call(callbacks: Iterable[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except RuntimeError:  # the event loop that waited is closed
            continue
