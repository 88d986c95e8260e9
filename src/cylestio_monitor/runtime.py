"""The pipeline of this process: created on the first call, or ahead of time when an SDK is imported.

A program that imports no SDK makes no call and pays for no rules and no store. When an SDK is imported, a thread
creates the pipeline while the import goes on, so the first call seldom waits.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from cylestio_monitor import forks

if TYPE_CHECKING:
    from collections.abc import Callable

    Pipeline: TypeAlias = Any  # the class is defined above this module

log = logging.getLogger("cylestio_monitor")

FORK_S = 2.0
"""Longest time in seconds that a fork waits for the thread that creates the pipeline."""

UNMONITORED = "cylestio_unmonitored"
"""OpenTelemetry context key of calls that the product itself makes, such as those of a detector."""

T = TypeVar("T")


class Lazy(Generic[T]):
    """A part that is created once, by the first thread that needs it; other threads wait for it."""

    def __init__(self, create: Callable[[], T]) -> None:
        """Keeps `create` for the first call of `get`."""
        self._create = create
        self._is_created = False
        self._is_creating = False
        self._lock = threading.RLock()
        self.created: T | None = None
        """The part, if it exists already."""
        _lazy_parts.add(self)

    def get(self) -> T | None:
        """Returns the part; `None` where the creation itself asks for it, such as a library that it uses.

        Raises:
            Exception: Any error of the creation. The next caller tries again.
        """
        if not self._is_created:
            with self._lock:
                if not self._is_created and not self._is_creating:
                    self._is_creating = True
                    try:
                        self.created = self._create()
                        self._is_created = True
                    finally:
                        self._is_creating = False
        return self.created

    def reset_lock(self) -> None:
        """Replaces the lock in a forked child: the thread that held it does not exist there."""
        self._lock = threading.RLock()
        self._is_creating = False


class EndableCall(Protocol):
    """A call whose answer the application reads piece by piece."""

    def left_open(self) -> None:
        """Ends the call with the answer as far as it has come: the process ends."""


open_calls: weakref.WeakSet[EndableCall] = weakref.WeakSet()
"""Calls to be ended when the process ends, before the store and the exporters close."""

pipeline: Pipeline | None = None
"""The pipeline, once it exists. Other modules read it and change it only through the functions below."""

_pending: Lazy[Pipeline] | None = None
_create: Callable[[], Pipeline] | None = None
_creator: threading.Thread | None = None
_lock = threading.RLock()
_lazy_parts: weakref.WeakSet[Lazy[Any]] = weakref.WeakSet()


def turn_on(create: Callable[[], Pipeline]) -> None:
    """Enables monitoring: `create` makes the pipeline when the first call needs it."""
    global pipeline, _pending, _create
    with _lock:
        pipeline, _create, _pending = None, create, Lazy(create)


def install(made: Pipeline) -> None:
    """Enables monitoring with a pipeline that exists already."""
    global pipeline, _pending, _create
    with _lock:
        pipeline, _create, _pending = made, None, None


def turn_off() -> None:
    """Disables monitoring; waits for a pipeline that is being created."""
    global pipeline, _pending, _create
    with _lock:
        pipeline, _create, _pending = None, None, None


def is_on(create: Callable[[], Pipeline] | None = None) -> bool:
    """Returns whether monitoring is enabled; given `create`, whether with exactly that function."""
    if create is not None:
        return _create is create
    return pipeline is not None or _pending is not None


def get_or_create() -> Pipeline | None:
    """Returns the pipeline and creates it if it does not exist yet; `None` while monitoring is disabled."""
    if pipeline is None and _pending is not None:
        with _lock:
            _create_pending()
    return pipeline


def _create_pending() -> None:
    global pipeline, _pending, _create
    pending = _pending
    if pending is None:
        return
    try:
        made = pending.get()
        if made is not None:
            pipeline, _pending = made, None
    except Exception:  # the application must run on without monitoring, whatever the settings or the disk did
        _pending, _create = None, None
        log.warning("Monitoring could not start; the application continues without it", exc_info=True)


def prewarm() -> None:
    """Creates the pipeline in a thread: an SDK was imported, so a call is likely."""
    global _creator  # noqa: PLW0603 -- one thread for the process
    if pipeline is None and _pending is not None and (_creator is None or not _creator.is_alive()):
        creator = threading.Thread(target=get_or_create, name="cylestio-start", daemon=True)
        try:
            creator.start()
        except RuntimeError:  # no thread can start at interpreter shutdown: the first call creates the pipeline
            return
        _creator = creator


def end_open_calls() -> None:
    """Ends the calls whose answers are neither read to their end nor closed, and those that were dropped."""
    for call in list(open_calls):
        try:
            call.left_open()
        except Exception:  # one call must not keep the others from being stored
            log.debug("A call could not be ended", exc_info=True)
    if pipeline is not None:
        pipeline.flush()


def wait(timeout_s: float) -> None:
    """Waits at most `timeout_s` seconds for a pipeline that is being created."""
    if _creator is not None and _creator is not threading.current_thread():
        _creator.join(timeout_s)


def _before_fork() -> None:
    wait(FORK_S)


def _in_child() -> None:
    global _lock, _creator  # noqa: PLW0603 -- the child's own
    _lock = threading.RLock()
    _creator = None
    for part in list(_lazy_parts):
        part.reset_lock()


forks.register("runtime", forks.Order.RUNTIME, before=_before_fork, in_child=_in_child)
