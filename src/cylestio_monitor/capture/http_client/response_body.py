"""The body of an HTTP response, observed: when it is closed, and what it says where the application reads the bytes.

A body is replaced by one of the same kind, which passes everything on. The kind is looked up in the HTTP library the
response came from, httpx or httpx2.
"""

from __future__ import annotations

import functools
import json
import logging
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from cylestio_monitor.capture.http_client.sdk_client import Endpoint
    from cylestio_monitor.capture.http_client.streams import Reading
    from cylestio_monitor.model import Result
    from cylestio_monitor.pipeline import Invocation

log = logging.getLogger(__name__)

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a body that are kept where it can be read only as a whole."""


class Fields(dict[str, Any]):
    """A JSON object whose members are attributes too, as on the SDK's own objects; absent ones are ``None``."""

    __getattr__ = dict.get


def parse(text: str | bytes) -> Any:
    """JSON as the SDK's objects are read: by attribute."""
    return json.loads(text, object_hook=Fields)


class WholeBody:
    """Folds a body that the application reads as bytes: JSON as a whole, server-sent events as they come.

    It is fed the bytes on the wire; compressed ones are kept up to `MAX_BODY` and decoded at the end.
    """

    def __init__(self, response: Any, endpoint: Endpoint, invocation: Invocation) -> None:
        """Looks at the response's headers and its class, and at nothing else of it."""
        headers = response.headers
        encoding = headers.get("content-encoding", "identity").lower()
        self.is_stream = "event-stream" in headers.get("content-type", "")
        self._incremental = self.is_stream and encoding == "identity"
        self._response_class: Callable[..., Any] = type(response)
        self._encoding = encoding
        self._fold = endpoint.fold(invocation)
        self._read = endpoint.result
        self._call = invocation.call
        self._rest = b""
        self._kept: list[bytes] = []
        self._size = 0

    def event(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        if self._incremental:
            self._lines(chunk)
            return
        self._size += len(chunk)
        if self._size <= MAX_BODY:
            self._kept.append(chunk)

    def result(self) -> Result:
        """The answer, as far as it has come."""
        if self._incremental:
            return self._fold.result()
        if not self._kept or self._size > MAX_BODY:
            return self._fold.result()
        headers = {"content-encoding": self._encoding}
        body: bytes = self._response_class(200, headers=headers, content=b"".join(self._kept)).content
        if not self.is_stream:
            return self._read(parse(body), self._call)
        self._lines(body + b"\n")
        return self._fold.result()

    def _lines(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                payload = line[5:].strip()
                if payload.startswith(b"{"):
                    self._fold.event(parse(payload))


def observe_close(response: Any, reading: Reading) -> None:
    """Has `reading` told when the body is closed, without keeping it alive."""
    body = response.stream
    response.stream = _classes(response.__class__, _is_async(body))[0](body, weakref.ref(reading))


def observe_bytes(response: Any, reading: Reading) -> None:
    """Shows `reading` the bytes of the body as the application reads them, and how that ends."""
    body = response.stream
    response.stream = _classes(response.__class__, _is_async(body))[1](body, reading)


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


class _Closing(_Body):
    def __init__(self, body: Any, reading: Callable[[], Reading | None]) -> None:
        super().__init__(body)
        self._reading = reading

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            if (reading := self._reading()) is not None:
                reading.body_closed()


class _AsyncClosing(_Body):
    def __init__(self, body: Any, reading: Callable[[], Reading | None]) -> None:
        super().__init__(body)
        self._reading = reading

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            if (reading := self._reading()) is not None:
                reading.body_closed()


class _Reading(_Body):
    def __init__(self, body: Any, reading: Reading) -> None:
        super().__init__(body)
        self._reading = reading

    def __iter__(self) -> Iterator[bytes]:
        reading = self._reading
        try:
            for chunk in self._body:
                reading.observe(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            reading.failed(error)
            raise
        reading.read()
        reading.settle()

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            self._reading.closed()

    def __del__(self) -> None:
        self._reading.dropped()


class _AsyncReading(_Body):
    def __init__(self, body: Any, reading: Reading) -> None:
        super().__init__(body)
        self._reading = reading

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reading = self._reading
        try:
            async for chunk in self._body:
                reading.observe(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            reading.failed(error)
            raise
        reading.read()
        await reading.settle_async()

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._reading.closed()

    def __del__(self) -> None:
        self._reading.dropped()


@functools.lru_cache(maxsize=8)
def _classes(response: Callable[..., Any], is_async: bool) -> tuple[Any, Any]:
    """The two observing bodies as classes of the HTTP library that made the response."""
    library = __import__(response.__module__.partition(".")[0])
    base = library.AsyncByteStream if is_async else library.SyncByteStream
    kinds = (_AsyncClosing, _AsyncReading) if is_async else (_Closing, _Reading)
    return tuple(type(kind.__name__, (kind, base), {}) for kind in kinds)  # type: ignore[return-value]
