"""Streamed answers, observed where the SDK hands over each event, and ended exactly once.

The SDK's own stream object stays what the application gets. Only the iterator inside it is replaced, by one that
folds each event on its way, and the body of its HTTP response, by one that tells when it is closed. Nothing here
refers back to the stream, so a stream that is dropped is freed, and its span ended, as early as before.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import FrameType

    from cylestio_monitor.model import Result
    from cylestio_monitor.pipeline import Invocation

log = logging.getLogger(__name__)


class Fold(Protocol):
    """What a provider's module knows of a streamed answer so far."""

    def event(self, event: Any, /) -> None:
        """Takes the next event, an object of the SDK or the same as parsed JSON with attributes."""

    def result(self) -> Result:
        """The answer as far as it has come."""


class Reading:
    """One answer that the application reads piece by piece. However the reading ends, the invocation ends once."""

    __slots__ = ("__weakref__", "_begun", "_ended", "_fold", "_generator", "_invocation", "_pid")

    def __init__(self, invocation: Invocation, fold: Fold, generator: object = None, *, is_stream: bool = True) -> None:
        """Begins before the first event.

        Args:
            invocation: What is to be ended.
            fold: What collects the events.
            generator: The SDK's generator that reads the body, where there is one: it closes the body itself.
            is_stream: Whether the model streams the answer, so that the time of its first piece means something.
        """
        self._invocation = invocation
        self._fold = fold
        self._generator = generator
        self._begun = not is_stream
        self._ended = False
        self._pid = os.getpid()
        _open.add(self)

    def observe(self, event: Any) -> None:
        """Takes the next event on its way to the application."""
        if not self._begun:
            self._begun = True
            self._invocation.first_chunk()
        try:
            self._fold.event(event)
        except Exception:
            log.debug("Could not read an event of a stream", exc_info=True)

    def read(self) -> None:
        """The answer was read to its end.

        Raises:
            BlockedError: The answer asks for a tool call that is refused.
        """
        if not self._ended:
            self._ended = True
            self._invocation.end(self._result(), enforce=True)

    def closed(self) -> None:
        """The application stopped reading, which is no error."""
        if not self._ended:
            self._ended = True
            self._invocation.end(self._result())

    def failed(self, error: BaseException) -> None:
        """Reading raised: a broken connection, an error that the provider reports, a cancelled task."""
        generator = self._generator
        if getattr(generator, "gi_running", False) or getattr(generator, "ag_running", False):
            return  # it runs in another thread or task, and this error says only that it may not be entered twice
        if not self._ended:
            self._ended = True
            self._invocation.end(self._result(), error)

    def dropped(self) -> None:
        """The stream was freed without being read to its end. Called by a finaliser, also while Python shuts down."""
        if self._ended or sys.is_finalizing() or self._pid != os.getpid():  # a forked child frees its parent's streams
            return
        self._ended = True
        self._invocation.abandon(self._result())

    def left_open(self) -> None:
        """The process ends, and the stream was neither read to its end nor closed."""
        if self._pid == os.getpid():
            self.closed()

    def body_closed(self) -> None:
        """The body was closed: by the application, or by the SDK's own generator, which then also says why."""
        if not self._ended and not self._within_generator():
            self.closed()

    def settle(self) -> None:
        """Waits until a grave finding of the answer is on disk."""
        self._invocation.settle()

    async def settle_async(self) -> None:
        """Waits until a grave finding of the answer is on disk."""
        await self._invocation.settle_async()

    def _within_generator(self) -> bool:
        generator = self._generator
        inner = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
        frame: FrameType | None = sys._getframe(1) if inner is not None else None  # noqa: SLF001 -- there is no other
        while frame is not None and frame is not inner:
            frame = frame.f_back
        return frame is not None

    def _result(self) -> Result | None:
        try:
            return self._fold.result()
        except Exception:
            log.debug("Could not read a streamed answer", exc_info=True)
            return None


_open: weakref.WeakSet[Reading] = weakref.WeakSet()


def end_open_at_exit() -> None:
    """Has streams that are left open ended when the process ends, before what is set up by now is shut down."""
    atexit.unregister(_end_open)
    atexit.register(_end_open)


def _end_open() -> None:
    for reading in list(_open):
        reading.left_open()


class ObservedIterator:
    """Stands in a stream for the SDK's iterator of events, and shows each to a `Reading`."""

    __slots__ = ("_inner", "_next", "_reading")

    def __init__(self, inner: Iterator[Any], reading: Reading) -> None:
        """Wraps `inner`, and reads nothing of it yet."""
        self._inner = inner
        self._next = inner.__next__
        self._reading = reading

    def __iter__(self) -> ObservedIterator:
        return self

    def __next__(self) -> Any:
        try:
            event = self._next()
        except StopIteration:
            self._reading.read()
            self._reading.settle()
            raise
        except BaseException as error:
            self._reading.failed(error)
            raise
        self._reading.observe(event)
        return event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._reading.dropped()


class ObservedAsyncIterator:
    """Stands in an asynchronous stream for the SDK's iterator of events, and shows each to a `Reading`."""

    __slots__ = ("_inner", "_next", "_reading")

    def __init__(self, inner: AsyncIterator[Any], reading: Reading) -> None:
        """Wraps `inner`, and reads nothing of it yet."""
        self._inner = inner
        self._next = inner.__anext__
        self._reading = reading

    def __aiter__(self) -> ObservedAsyncIterator:
        return self

    async def __anext__(self) -> Any:
        try:
            event = await self._next()
        except StopAsyncIteration:
            self._reading.read()
            await self._reading.settle_async()
            raise
        except GeneratorExit:  # whoever awaited this was closed: the application stopped reading
            self._reading.closed()
            raise
        except BaseException as error:
            self._reading.failed(error)
            raise
        self._reading.observe(event)
        return event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._reading.dropped()
