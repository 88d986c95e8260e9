"""One HTTP exchange that calls a model: the start of the call, and its end with a body or a status."""

from __future__ import annotations

import functools
import logging
import zlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from cylestio_monitor import semconv
from cylestio_monitor.capture import event_loop
from cylestio_monitor.capture.enclosing_calls import hosting_call
from cylestio_monitor.capture.http_client import sdk_client
from cylestio_monitor.capture.http_client.body_fold import BodyFold
from cylestio_monitor.capture.http_client.provider_names import provider_of
from cylestio_monitor.capture.parsing.fields import parse_json
from cylestio_monitor.capture.parsing.reading import read_call, read_result, unread
from cylestio_monitor.capture.sdks.plain_http import formats
from cylestio_monitor.model import Call, Message, Result
from cylestio_monitor.pipeline import current

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from cylestio_monitor.capture.http_client.endpoint import Endpoint
    from cylestio_monitor.pipeline import Invocation, Pipeline

log = logging.getLogger(__name__)

_MAX_BODY = 64 * 1024 * 1024
_FAILED = 400
_GZIP_OR_ZLIB = 47
_active: ContextVar[bool] = ContextVar("cylestio_http_exchange", default=False)
"""A request of a plain client is under way: clients that are built on each other are observed once."""


class _Url(NamedTuple):
    """The parts of a base URL that name the server."""

    scheme: str
    host: str
    port: int | None


class PlainClient:
    """Stands for the client of an SDK where a request is made without one.

    Attributes:
        base_url: The server.
        path: The path of the request.
    """

    def __init__(self, url: str) -> None:
        """Splits the URL of a request."""
        parts = urlsplit(url)
        self.base_url = _Url(parts.scheme, parts.hostname or "", parts.port)
        self.path = parts.path


class HttpCall:
    """A request that is a model call. It is started by `begin` and ended exactly once.

    Attributes:
        invocation: The call.
        endpoint: The readers of its answer.
    """

    def __init__(self, invocation: Invocation, endpoint: Endpoint) -> None:
        """Takes the started call."""
        self.invocation = invocation
        self.endpoint = endpoint

    def __enter__(self) -> None:
        self._token = _active.set(True)
        self._attached = self.invocation.attached()
        self._attached.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._attached.__exit__(kind, error, tb)
        _active.reset(self._token)

    def fold(self, headers: Mapping[str, str]) -> BodyFold:
        """Returns the collector of a body that is read in pieces."""
        return BodyFold(headers, self.endpoint, self.invocation, decode)

    def failed(self, status: int) -> bool:
        """Ends the call where the status is an error; returns whether it is."""
        if status < _FAILED:
            return False
        self.invocation.end(Result(error_type=str(status), attributes={semconv.HTTP_STATUS_CODE: status}))
        return True

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Ends the call with a whole body whose content encoding is removed.

        Raises:
            BlockedError: The answer asks for a tool call that is refused.
        """
        if self.failed(status):
            return
        plain = {"content-type": headers.get("content-type") or ""}
        fold = self.fold(plain)

        def read(given: bytes) -> Result:
            fold.event(given)
            return fold.result()

        self.invocation.end(read_result(read, body), enforce=True)


def begin(method: str, url: str, headers: Mapping[str, str], body: Any) -> HttpCall | None:
    """Starts the call of a request; ``None`` for a request that is no model call or is observed elsewhere.

    Args:
        method: The HTTP method.
        url: The URL.
        headers: The headers, in any form with a case-insensitive `get`.
        body: The bytes or text of the body, parsed JSON, or a function that returns one of these.

    Raises:
        BlockedError: The call is refused.
    """
    found = _found(method, url, headers, body)
    if found is None:
        return None
    pipeline, (call, endpoint) = found
    return HttpCall(pipeline.begin(call), endpoint)


async def begin_async(method: str, url: str, headers: Mapping[str, str], body: Any) -> HttpCall | None:
    """Does the same without holding up the event loop."""
    found = _found(method, url, headers, body)
    if found is None:
        return None
    pipeline, (call, endpoint) = found
    start = functools.partial(pipeline.begin, call)
    invocation = await event_loop.begun(start, call, abandoned=event_loop.end_cancelled)
    return HttpCall(invocation, endpoint)


def _found(method: str, url: str, headers: Mapping[str, str], body: Any) -> tuple[Pipeline, _Recognised] | None:
    """Returns the call of a request and who observes it; ``None`` as in `begin`."""
    if method.upper() != "POST" or _active.get():
        return None
    pipeline = current()
    if pipeline is None or sdk_client.is_sending() or hosting_call.get() is not None:
        return None
    try:
        found = _recognised(pipeline, url, headers, body)
    except Exception:  # the request is the application's own, and may have any form
        log.debug("Could not read a request", exc_info=True)
        return None
    return None if found is None else (pipeline, found)


class _Recognised(NamedTuple):
    """A request that calls a model.

    Attributes:
        call: The call.
        endpoint: The readers of its answer.
    """

    call: Call
    endpoint: Endpoint


def _recognised(pipeline: Pipeline, url: str, headers: Mapping[str, str], body: Any) -> _Recognised | None:
    client = PlainClient(url)
    is_named = _is_named(client.base_url, pipeline.settings.llm_hosts)
    if not is_named and not formats.may_be_model_call(client.path):
        return None
    value = body() if callable(body) else body
    if not isinstance(value, (dict, list)):
        try:
            value = _parsed(value)
        except (TypeError, ValueError, RecursionError) as error:
            if "json" not in str(headers.get("content-type") or ""):
                return None
            call = _blank(client)
            call.messages = [Message("user", unread(error, value, ""))]
            return _Recognised(call, formats.UNKNOWN)
    names = {"anthropic-version": ""} if headers.get("anthropic-version") else {}
    endpoint = formats.find(client.path, value, names, is_named=is_named)
    if endpoint is None:
        return None
    call = read_call(lambda: endpoint.call(client, value, bool(value.get("stream"))), value, lambda: _blank(client))
    if provider_of(client.base_url.host, client.base_url.port) is None:
        call.provider = formats.provider_by_agent(str(headers.get("user-agent") or "")) or call.provider
    return _Recognised(call, endpoint)


def _parsed(value: Any) -> Any:
    """Returns the JSON of a body.

    Raises:
        TypeError: The body is sent piece by piece and cannot be read here.
        ValueError: It is no JSON, or too long.
        RecursionError: It is nested too deep.
    """
    if not isinstance(value, (bytes, bytearray, str)):
        raise TypeError(f"a body of type {type(value).__name__}")
    if len(value) > _MAX_BODY:
        raise ValueError("the body is too long")
    return parse_json(bytes(value) if isinstance(value, bytearray) else value)


def _blank(client: PlainClient) -> Call:
    """Returns the call of a request to the path of a model that cannot be read."""
    there = client.base_url
    call = Call("chat", "chat")
    call.provider = provider_of(there.host, there.port)
    call.server_address, call.server_port = there.host or None, there.port
    return call


def _is_named(url: _Url, hosts: tuple[str, ...]) -> bool:
    return bool(hosts) and (url.host in hosts or f"{url.host}:{url.port}" in hosts)


def decode(body: bytes, encoding: str) -> bytes:
    """Removes a content encoding.

    Raises:
        ValueError: The encoding is not known.
        zlib.error: The body is not in that encoding.
    """
    if encoding in {"identity", ""}:
        return body
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body)
    raise ValueError(f"content encoding {encoding}")
