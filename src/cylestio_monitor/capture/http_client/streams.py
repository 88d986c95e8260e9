"""Iterators that stand in an SDK's stream and show each event to an `ObservedAnswer` before the application gets it.

The application keeps the SDK's own stream object. Only the iterator inside it is replaced, and the body of its HTTP
response, whose close is observed. Nothing here refers back to the stream, so a stream that is dropped is freed, and
its span ended, as early as without observation.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from cylestio_monitor.errors import BlockedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer


class ObservedIterator:
    """Stands in a stream for the SDK's iterator of events."""

    __slots__ = ("_answer", "_inner", "_is_refused", "_next")

    def __init__(self, inner: Iterator[Any], answer: ObservedAnswer) -> None:
        """Wraps `inner` without reading from it."""
        self._inner = inner
        self._next = inner.__next__
        self._answer = answer
        self._is_refused = False

    def __iter__(self) -> ObservedIterator:
        return self

    def __next__(self) -> Any:
        if self._is_refused:
            raise StopIteration
        answer = self._answer
        try:
            event = self._next()
        except StopIteration:
            answer.finished()
            answer.wait_durable()
            raise
        except BaseException as error:
            answer.failed(error)
            raise
        try:
            answer.observe(event)
        except BlockedError:
            self._stop()
            raise
        return event

    def _stop(self) -> None:
        """Reads nothing more: the answer is refused."""
        self._is_refused = True
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()
        self._answer.wait_durable()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._answer.dropped()


class RedactedIterator(ObservedIterator):
    """Does the same, and hands over redacted events in place of those that came."""

    __slots__ = ("_is_over", "_ready")

    def __init__(self, inner: Iterator[Any], answer: ObservedAnswer) -> None:
        """Wraps `inner` without reading from it."""
        super().__init__(inner, answer)
        self._ready: deque[Any] = deque()
        self._is_over = False

    def __next__(self) -> Any:
        ready = self._ready
        while not ready:
            if self._is_over:
                raise StopIteration
            try:
                event = super().__next__()
            except StopIteration:
                self._is_over = True
                ready.extend(self._answer.take_rest())
                continue
            try:
                ready.extend(self._answer.passed(event))
            except BlockedError:
                self._stop()
                raise
        return ready.popleft()


class ObservedAsyncIterator:
    """Stands in an asynchronous stream for the SDK's iterator of events."""

    __slots__ = ("_answer", "_inner", "_is_refused", "_next")

    def __init__(self, inner: AsyncIterator[Any], answer: ObservedAnswer) -> None:
        """Wraps `inner` without reading from it."""
        self._inner = inner
        self._next = inner.__anext__
        self._answer = answer
        self._is_refused = False

    def __aiter__(self) -> ObservedAsyncIterator:
        return self

    async def __anext__(self) -> Any:
        if self._is_refused:
            raise StopAsyncIteration
        answer = self._answer
        try:
            event = await self._next()
        except StopAsyncIteration:
            answer.finished()
            await answer.wait_durable_async()
            raise
        except GeneratorExit:  # the coroutine that awaited this was closed: the application stopped reading
            answer.closed()
            raise
        except BaseException as error:
            answer.failed(error)
            raise
        try:
            answer.observe(event)
        except BlockedError:
            await self._stop()
            raise
        return event

    async def _stop(self) -> None:
        """Reads nothing more: the answer is refused."""
        self._is_refused = True
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            await close()
        await self._answer.wait_durable_async()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._answer.dropped()


class RedactedAsyncIterator(ObservedAsyncIterator):
    """Does the same, and hands over redacted events in place of those that came."""

    __slots__ = ("_is_over", "_ready")

    def __init__(self, inner: AsyncIterator[Any], answer: ObservedAnswer) -> None:
        """Wraps `inner` without reading from it."""
        super().__init__(inner, answer)
        self._ready: deque[Any] = deque()
        self._is_over = False

    async def __anext__(self) -> Any:
        ready = self._ready
        while not ready:
            if self._is_over:
                raise StopAsyncIteration
            try:
                event = await super().__anext__()
            except StopAsyncIteration:
                self._is_over = True
                ready.extend(self._answer.take_rest())
                continue
            try:
                ready.extend(self._answer.passed(event))
            except BlockedError:
                await self._stop()
                raise
        return ready.popleft()


def observed(inner: Any, answer: ObservedAnswer, *, is_redacted: bool) -> ObservedIterator | ObservedAsyncIterator:
    """Returns what stands in a stream for its iterator.

    Args:
        inner: The SDK's iterator of events.
        answer: Sees each event.
        is_redacted: What it hands over is redacted.
    """
    if hasattr(inner, "__anext__"):
        return RedactedAsyncIterator(inner, answer) if is_redacted else ObservedAsyncIterator(inner, answer)
    return RedactedIterator(inner, answer) if is_redacted else ObservedIterator(inner, answer)


def is_plain(stream_class: Any) -> bool:
    """Returns whether a stream gives the events of the server; helpers of old versions collect them inside."""
    name = getattr(getattr(stream_class, "__origin__", stream_class), "__name__", None)
    return stream_class is None or name in {"Stream", "AsyncStream"}
