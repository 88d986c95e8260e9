"""The body of an httpx response, observed: its close, and its bytes where the application reads them.

A body is replaced by one of the same kind, which passes everything on. The kind is looked up in the HTTP library that
made the response, httpx or httpx2.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.http_client.body_fold import BodyFold, decoded_by
from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from cylestio_monitor.capture.http_client.endpoint import Endpoint
    from cylestio_monitor.pipeline import Invocation


def observe_close(response: Any, answer: ObservedAnswer) -> None:
    """Reports the close of the body to `answer` without keeping it alive."""
    body = response.stream
    response.stream = _classes(response.__class__, _is_async(body))[0](body, weakref.ref(answer))


def observe_bytes(response: Any, endpoint: Endpoint, invocation: Invocation) -> None:
    """Reads the answer from the bytes of the body as the application reads them."""
    body = response.stream
    fold = BodyFold(response.headers, endpoint, invocation, decoded_by(response))
    answer = ObservedAnswer(invocation, fold, is_stream=fold.is_stream)
    withholds = answer.can_block and not fold.is_incremental
    response.stream = _classes(response.__class__, _is_async(body))[1](body, answer, withholds=withholds)


def _is_async(body: Any) -> bool:
    return hasattr(body, "__aiter__") and not hasattr(body, "__iter__")


class _Body:
    """A body that passes on what it does not do itself."""

    def __init__(self, body: Any) -> None:
        self._body = body
        # A stream of the SDK may look this up for every event: found here it costs nothing.
        self.stream_observer = getattr(body, "stream_observer", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


class _CloseReporter(_Body):
    def __init__(self, body: Any, answer: Callable[[], ObservedAnswer | None]) -> None:
        super().__init__(body)
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            if (answer := self._answer()) is not None:
                answer.body_closed()


class _AsyncCloseReporter(_Body):
    def __init__(self, body: Any, answer: Callable[[], ObservedAnswer | None]) -> None:
        super().__init__(body)
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            if (answer := self._answer()) is not None:
                answer.body_closed()


class _ObservedBody(_Body):
    """A body whose chunks are judged before they are handed over.

    A refusal is raised to the reader of the body. A body that can be judged only as a whole is withheld until its end
    where it can be refused.
    """

    def __init__(self, body: Any, answer: ObservedAnswer, *, withholds: bool) -> None:
        super().__init__(body)
        self._answer = answer
        self._withholds = withholds

    def __iter__(self) -> Iterator[bytes]:
        answer = self._answer
        kept: list[bytes] = []
        try:
            for chunk in self._body:
                answer.observe(chunk)
                if self._withholds:
                    kept.append(chunk)
                else:
                    yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            answer.failed(error)
            raise
        answer.finished()
        answer.wait_durable()
        yield from kept

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            self._answer.closed()

    def __del__(self) -> None:
        self._answer.dropped()


class _ObservedAsyncBody(_Body):
    """The same for an asynchronous body."""

    def __init__(self, body: Any, answer: ObservedAnswer, *, withholds: bool) -> None:
        super().__init__(body)
        self._answer = answer
        self._withholds = withholds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        answer = self._answer
        kept: list[bytes] = []
        try:
            async for chunk in self._body:
                answer.observe(chunk)
                if self._withholds:
                    kept.append(chunk)
                else:
                    yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            answer.failed(error)
            raise
        answer.finished()
        await answer.wait_durable_async()
        for chunk in kept:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._answer.closed()

    def __del__(self) -> None:
        self._answer.dropped()


@functools.lru_cache(maxsize=8)
def _classes(response: Callable[..., Any], is_async: bool) -> tuple[Any, Any]:
    """The two observing bodies as classes of the HTTP library that made the response."""
    library = __import__(response.__module__.partition(".")[0])
    base = library.AsyncByteStream if is_async else library.SyncByteStream
    kinds = (_AsyncCloseReporter, _ObservedAsyncBody) if is_async else (_CloseReporter, _ObservedBody)
    return tuple(type(kind.__name__, (kind, base), {}) for kind in kinds)  # type: ignore[return-value]
