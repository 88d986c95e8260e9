"""Model calls that are made with urllib3, also below `requests`."""

from __future__ import annotations

import functools
import inspect
import io
import weakref
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer
from cylestio_monitor.capture.http_client.sdk_client import outside_requests
from cylestio_monitor.capture.sdks.plain_http import exchange
from cylestio_monitor.errors import BlockedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.capture.sdks.plain_http.exchange import HttpCall

_LINE_END = b"\r\n"


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps `urlopen` of the connection pools."""
    patches.wrap(module.HTTPConnectionPool, "urlopen", outside_requests(_urlopen))


def _urlopen(original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def urlopen(*args: Any, **kwargs: Any) -> Any:
        found = _begin(signature, args, kwargs)
        if found is None:
            return original(*args, **kwargs)
        found.invocation.wait_durable()
        with found:
            try:
                response = original(*args, **kwargs)
            except BaseException as error:
                found.invocation.end(None, error)
                raise
        try:
            if _observe(response, found):
                found.invocation.wait_durable()
        except BlockedError:
            response.close()
            raise
        return response

    return urlopen


def _begin(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpCall | None:
    try:
        given = signature.bind_partial(*args, **kwargs).arguments
    except TypeError:  # wrong arguments: urllib3 raises an error that names them
        return None
    if str(given.get("method", "")).upper() != "POST":
        return None
    pool, url = given["self"], str(given.get("url", ""))
    if not url.startswith("http"):
        url = f"{pool.scheme}://{pool.host}:{pool.port or ''}{url}"
    headers = {str(name).lower(): value for name, value in (given.get("headers") or {}).items()}
    body = given.get("body")
    return exchange.begin("POST", url, headers, lambda: _text(body))


def _text(body: Any) -> Any:
    """A body in memory, or a file that is put back to its place; others are sent piece by piece and not read."""
    if hasattr(body, "seekable") and body.seekable():
        place = body.tell()
        text, file = body.read(), body
        file.seek(place)
        return text
    return body if isinstance(body, (bytes, bytearray, str)) else None


def _observe(response: Any, found: HttpCall) -> bool:
    """Ends the call with a body that is here, or has the reading of the body end it; returns whether it has ended."""
    if found.failed(response.status):
        return True
    inner = response._fp  # noqa: SLF001 -- the one object that every method of a response reads from
    if inner is None or getattr(response, "_body", None) is not None:
        found.answered(response.status, response.headers, response.data)
        return True
    fold = found.fold(response.headers)
    answer = ObservedAnswer(found.invocation, fold, is_stream=fold.is_stream)
    observed: Any
    if answer.can_block and not fold.is_incremental:
        data = inner.read()
        answer.observe(data)
        answer.finished()
        observed, response.chunked = _JudgedBody(data, inner), False
    else:
        observed = _ObservedConnectionBody(inner, answer, weakref.ref(response))
    if getattr(response, "_original_response", None) is inner:
        response._original_response = observed  # noqa: SLF001 -- closed at the end of a chunked body
    response._fp = observed  # noqa: SLF001 -- as above
    return False


class _JudgedBody(io.BytesIO):
    """A body that was read and judged as a whole."""

    def __init__(self, data: bytes, inner: Any) -> None:
        super().__init__(data)
        self._inner = inner

    def isclosed(self) -> bool:
        """Returns whether everything was read, as the response of `http.client` does."""
        return self.closed or self.tell() >= len(self.getbuffer())

    def close(self) -> None:
        """Closes the connection too."""
        self._inner.close()
        super().close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _ObservedConnectionBody:
    """Stands in a response for the body of `http.client`, and shows each piece before it is handed over."""

    def __init__(self, inner: Any, answer: ObservedAnswer, response: weakref.ref[Any]) -> None:
        self._inner = inner
        self._answer = answer
        self._response = response

    def _observed(self, read: Callable[[], bytes], amount: int | None) -> bytes:
        try:
            data = read()
        except BaseException as error:
            self._answer.failed(error)
            raise
        if data:
            self._judge(data)
        if (not data and amount != 0) or amount is None or self._inner.isclosed():
            self._answer.finished()
            self._answer.wait_durable()
        return data

    def read(self, amt: int | None = None) -> bytes:
        """Reads from the body."""
        return self._observed(lambda: self._inner.read(amt), amt)

    def read1(self, amt: int = -1) -> bytes:
        """Reads with one call of the connection."""
        return self._observed(lambda: self._inner.read1(amt), amt)

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer."""
        view = memoryview(buffer)
        data = self._observed(lambda: self._inner.read(len(view)), len(view))
        view[: len(data)] = data
        return len(data)

    def _safe_read(self, amt: int) -> bytes:
        """Reads a part of one chunk; the line end after a chunk is no part of the body."""
        data: bytes = self._inner._safe_read(amt)  # noqa: SLF001 -- urllib3 reads chunks this way
        if not (amt == len(_LINE_END) and data == _LINE_END):
            self._judge(data)
        return data

    def _judge(self, data: bytes) -> None:
        try:
            self._answer.observe(data)
        except BlockedError:
            response = self._response()
            if response is not None:  # nothing more of it is read
                response.close()
            raise

    def close(self) -> None:
        """Closes the body, which ends the call: with the whole answer where the last chunk was read."""
        self._inner.close()
        response = self._response()
        if response is not None and getattr(response, "chunk_left", None) == 0:
            self._answer.finished()
        else:
            self._answer.closed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        self._answer.dropped()
