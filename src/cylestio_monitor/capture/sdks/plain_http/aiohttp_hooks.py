"""Model calls that are made with aiohttp.

The body of a response is a `StreamReader` that the connection feeds. Each piece is judged when it arrives, before a
reader can get it; a refusal is the exception that every method of the reader then raises.
"""

from __future__ import annotations

import functools
import sys
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

_CLOSED = "Connection closed"

_bodies: dict[int, _ArrivingBody] = {}
"""The observed bodies by the identity of their reader, until they end; a reader cannot be referred to weakly."""


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the request method of the session, and the methods through which a connection feeds a body."""
    reader = sys.modules["aiohttp.streams"].StreamReader
    patches.wrap(module.ClientSession, "_request", outside_requests(_request))
    patches.wrap(reader, "feed_data", _feed_data)
    patches.wrap(reader, "feed_eof", _feed_eof)
    patches.wrap(reader, "set_exception", _set_exception)


class _ArrivingBody:
    """The body of one response, from its first byte to its end."""

    def __init__(self, reader: Any, answer: ObservedAnswer, *, withholds: bool) -> None:
        self.reader = reader
        self.answer = answer
        self.withholds = withholds
        self.kept: list[bytes] = []


def _request(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def request(*args: Any, **kwargs: Any) -> Any:
        given = _given(args, kwargs)
        found = None if given is None else await exchange.begin_async(*given)
        if found is None:
            return await original(*args, **kwargs)
        await found.invocation.wait_durable_async()
        with found:
            try:
                response = await original(*args, **kwargs)
            except BaseException as error:
                found.invocation.end(None, error)
                raise
        try:
            _observe(response, found)
        except BlockedError:
            response.close()
            await found.invocation.wait_durable_async()
            raise
        return response

    return request


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str, Any, Any] | None:
    """Returns what tells whether a request is a model call: method, URL, headers, body."""
    try:
        session, method, url = args[0], str(args[1]), str(args[2])
    except IndexError:
        return None
    if method.upper() != "POST":
        return None
    base = getattr(session, "_base_url", None)
    if base is not None and "://" not in url:
        url = str(base).rstrip("/") + "/" + url.lstrip("/")
    headers = {str(name).lower(): value for name, value in dict(kwargs.get("headers") or {}).items()}
    body = kwargs.get("json") if kwargs.get("json") is not None else kwargs.get("data")
    return method, url, headers, body if isinstance(body, (dict, bytes, bytearray, str)) else None


def _observe(response: Any, found: HttpCall) -> None:
    """Has the arrival of the body end the call; what has arrived is judged now."""
    if found.failed(response.status):
        return
    reader = response.content
    if not hasattr(reader, "_buffer"):  # a response without a body
        found.answered(response.status, response.headers, b"")
        return
    # aiohttp removes the content encoding before it feeds the reader.
    fold = found.fold({"content-type": response.headers.get("content-type", "")})
    answer = ObservedAnswer(found.invocation, fold, is_stream=fold.is_stream)
    body = _ArrivingBody(reader, answer, withholds=answer.can_block and not fold.is_incremental)
    for chunk in reader._buffer:  # noqa: SLF001 -- what arrived with the headers
        answer.observe(bytes(chunk))
    if reader.is_eof():
        answer.finished()
        return
    if body.withholds:
        body.kept = list(reader._buffer)  # noqa: SLF001 -- given back at the end
        reader._buffer.clear()  # noqa: SLF001 -- as above
        reader._size = 0  # noqa: SLF001 -- as above
    _bodies[id(reader)] = body


def _feed_data(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def feed_data(*args: Any, **kwargs: Any) -> Any:
        if not _bodies or len(args) < 2:  # a wrong call gets the error of the original
            return original(*args, **kwargs)
        self, data = args[:2]
        body = _bodies.get(id(self))
        if body is None or not data:
            return original(*args, **kwargs)
        try:
            body.answer.observe(bytes(data))
        except BlockedError as error:
            del _bodies[id(self)]
            self.set_exception(error)
            return False
        if body.withholds:
            body.kept.append(bytes(data))
            return False
        return original(*args, **kwargs)

    return feed_data


def _feed_eof(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def feed_eof(*args: Any, **kwargs: Any) -> Any:
        body = _bodies.pop(id(args[0]), None) if _bodies and args else None
        if body is not None:
            self = args[0]
            try:
                body.answer.finished()
            except BlockedError as error:
                self.set_exception(error)
                return original(*args, **kwargs)
            for data in body.kept:
                self.feed_data(data)
        return original(*args, **kwargs)

    return feed_eof


def _set_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def set_exception(*args: Any, **kwargs: Any) -> Any:
        body = _bodies.pop(id(args[0]), None) if _bodies and len(args) > 1 else None
        if body is not None:
            if str(args[1]) == _CLOSED:
                body.answer.closed()
            else:
                body.answer.failed(args[1])
        return original(*args, **kwargs)

    return set_exception
