"""Keeps the application's event loop turning while calls are scanned.

A scan takes processor time on the thread of the call. On an event loop it holds up every other task. A large text is
therefore scanned on a thread of ours; small ones, of which many tasks may bring one at a time, share each turn of the
loop: once they have used their part of it, the next call waits for the next turn.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import time
import weakref
from collections import deque
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cylestio_monitor import forks
from cylestio_monitor.errors import BlockedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future, ThreadPoolExecutor

    from cylestio_monitor.pipeline import Invocation

T = TypeVar("T")

LARGE: Final = 16_384
"""Characters and bytes of a call from which on it is scanned on the thread."""
SHARE_S: Final = 0.005
"""Seconds of one turn of an event loop that monitoring may use before further calls wait for the next turn."""

_MOST_NODES: Final = 512
_missing: Final[Any] = object()


async def begun(begin: Callable[[], T], *values: object, abandoned: Callable[[T], None]) -> T:
    """Begins a call without holding up the event loop.

    Args:
        begin: Begins it. It may run on another thread, in a copy of this context.
        values: The objects whose text is scanned: their size decides where.
        abandoned: Takes what `begin` returns if the task is cancelled before it gets it.

    Returns:
        What `begin` returns; its exceptions are raised here.
    """
    return await _do(begin, values, abandoned)


async def ended(end: Callable[[], T], *values: object) -> T:
    """Ends a call without holding up the event loop; it is ended also if the task is cancelled meanwhile.

    Args:
        end: Ends it, as `begin` of `begun` begins it.
        values: The objects whose text is scanned.

    Returns:
        What `end` returns; its exceptions are raised here.
    """
    return await _do(end, values, None)


def end_cancelled(invocation: Invocation | None) -> None:
    """Ends a call whose task was cancelled before the request was made."""
    if invocation is not None:
        import asyncio  # noqa: PLC0415 -- the application has imported it

        invocation.end(None, asyncio.CancelledError())


async def _do(work: Callable[[], T], values: tuple[object, ...], abandoned: Callable[[T], None] | None) -> T:
    asyncio: Any = sys.modules.get("asyncio")
    loop = asyncio._get_running_loop() if asyncio is not None else None  # noqa: SLF001 -- the public one raises
    if loop is None:
        trio: Any = sys.modules.get("trio")
        if trio is None or not trio.lowlevel.in_trio_run() or not is_large(values):
            return work()
        context = contextvars.copy_context()
        with trio.CancelScope(shield=True):  # a cancelled task ends its call all the same
            done: T = await trio.to_thread.run_sync(context.run, work)
        _take_over(context)
        return done
    if is_large(values):
        return await _on_thread(work, abandoned)
    share = _shares.get(loop)
    if share is None:
        share = _shares[loop] = _LoopShare(loop)
    if share.is_spent:
        try:
            await share.next_turn()
        except asyncio.CancelledError:
            if abandoned is None:
                with contextlib.suppress(BlockedError):  # the task is cancelled: nobody gets the answer anyway
                    work()
            raise
    started = time.perf_counter()
    try:
        return work()
    finally:
        share.spend(time.perf_counter() - started)


def is_large(values: object) -> bool:
    """Returns whether the text in an object, and in what it holds, has `LARGE` characters; reads no more of it."""
    size, nodes = 0, 0
    open_nodes: list[Any] = [values]
    while open_nodes and nodes < _MOST_NODES:
        node = open_nodes.pop()
        nodes += 1
        if isinstance(node, (str, bytes, bytearray)):
            size += len(node)
            if size >= LARGE:
                return True
        elif isinstance(node, dict):
            open_nodes.extend(node.values())
        elif isinstance(node, (list, tuple)):
            open_nodes.extend(node)
        elif not isinstance(node, (type, ModuleType, FunctionType)):
            open_nodes.extend(_fields(node))
    return bool(open_nodes)


def _fields(node: object) -> Iterable[object]:
    """Returns what an object holds by name; nothing where it hides that."""
    try:
        slots = getattr(type(node), "__slots__", ())
        if slots:
            return [getattr(node, name, None) for name in slots if isinstance(name, str)]
        fields = vars(node)
    except Exception:  # noqa: BLE001 -- a proxy of the application may raise anything
        return ()
    return fields.values() if type(fields) is dict else ()


async def _on_thread(work: Callable[[], T], abandoned: Callable[[T], None] | None) -> T:
    import asyncio  # noqa: PLC0415 -- the application has imported it

    context = contextvars.copy_context()
    running = _executor().submit(context.run, work)
    try:
        # Shielded: the work is done also where the task is cancelled before the thread has come to it.
        done = await asyncio.shield(asyncio.wrap_future(running))
    except asyncio.CancelledError:
        if abandoned is not None:
            running.add_done_callback(lambda done: _abandon(done, abandoned))
        raise
    _take_over(context)
    return done


def _take_over(context: contextvars.Context) -> None:
    """Sets the variables that the work has set in its copy of the context here, too."""
    for variable, value in context.items():
        if variable.get(_missing) is not value:
            variable.set(value)


def _abandon(done: Future[T], abandoned: Callable[[T], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        abandoned(done.result())


class _LoopShare:
    """The part of the current turn of one event loop that monitoring has used, and the calls that wait for the next."""

    __slots__ = ("__weakref__", "_count", "_is_scheduled", "_loop", "_total", "_used", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._is_scheduled = False
        self._used = 0.0
        self._total = 0.0
        self._count = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_spent(self) -> bool:
        """The share of this turn is used, or others have waited longer."""
        return self._used > SHARE_S or bool(self._waiting)

    def spend(self, seconds: float) -> None:
        """Notes time that was used in this turn."""
        self._schedule()
        self._used += seconds
        self._total += seconds
        self._count += 1

    async def next_turn(self) -> None:
        """Waits for a turn with time left, in the order of arrival."""
        loop = self._loop()
        if loop is None:
            return
        waiter = loop.create_future()
        self._waiting.append(waiter)
        await waiter

    def _begin(self) -> None:
        """Begins a turn: lets as many calls go on as usually fit into the share."""
        self._is_scheduled = False
        self._used = 0.0
        fitting = max(1, int(SHARE_S * self._count / self._total)) if self._total else 1
        while self._waiting and fitting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                fitting -= 1
        if self._waiting:
            self._schedule()

    def _schedule(self) -> None:
        """Has the next turn begun once, whoever asks for it."""
        loop = self._loop()
        if loop is not None and not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._begin)


_shares: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopShare] = weakref.WeakKeyDictionary()
_threads: list[ThreadPoolExecutor] = []


def _executor() -> ThreadPoolExecutor:
    """Returns the thread, started when the first large text comes: one, as the scan holds the interpreter anyway."""
    if not _threads:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- only where a text is large

        _threads.append(ThreadPoolExecutor(1, "cylestio-scan"))
    return _threads[0]


def _in_child() -> None:
    _threads.clear()
    _shares.clear()


forks.register("event loop", forks.Order.THREADS, in_child=_in_child)
