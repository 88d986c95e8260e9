"""Observation of the one method through which a generated SDK makes every request.

The SDKs that Stainless generates (Anthropic, OpenAI and others) are built alike: each endpoint, helper, raw response,
batch and stream goes through the method `request` of `_base_client.SyncAPIClient` or `AsyncAPIClient`. It is wrapped on
the class, so clients that exist already are covered. The endpoint follows from the method and the path of the request,
the content from its JSON body.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from cylestio_monitor import semconv
from cylestio_monitor.capture import event_loop
from cylestio_monitor.capture.http_client import offered_tools, response_body, streams
from cylestio_monitor.capture.http_client.body_fold import BodyFold, decoded_by
from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer
from cylestio_monitor.capture.parsing.fields import parse_json
from cylestio_monitor.capture.parsing.reading import read_call, read_result, unread_result
from cylestio_monitor.model import Call, Result
from cylestio_monitor.pipeline import current

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.http_client.endpoint import Endpoint
    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.govern.redaction.values import ContentKeys
    from cylestio_monitor.pipeline import Invocation, Pipeline

log = logging.getLogger(__name__)

_sending: ContextVar[Invocation | None] = ContextVar("cylestio_sending", default=None)
"""The invocation whose request is under way in this thread or task."""

_RAW_HEADER = "X-Stainless-Raw-Response"

_MAX_CONTENT = 64 * 1024 * 1024
"""Bytes of a request's raw content that are read."""


class SDKClients(Protocol):
    """The knowledge of a provider's module about the clients of its SDK.

    Attributes:
        provider: The provider whose format the SDK speaks, for requests that cannot be read.
        keys: The keys of its requests and answers whose values are no plain text.
    """

    provider: str
    keys: ContentKeys

    def endpoint(self, method: str, url: str) -> Endpoint | None:
        """Returns the endpoint of a request; ``None`` for one that is not observed."""

    def own_trace(self, client: Any, invocation: Invocation) -> dict[str, Any] | None:
        """Returns what replaces the SDK's own span of a request, as arguments of its `_request` method.

        ``None`` where the SDK makes no span, or where it shall make its own.
        """


def is_sending() -> bool:
    """Tells whether a request of an observed SDK is under way in this thread or task."""
    return _sending.get() is not None


def outside_requests(wrap: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a hook below the SDKs pass on the requests that an observed SDK makes.

    Args:
        wrap: Makes the replacement of a method, as `Patches.wrap` takes it.
    """

    def wrap_outside(original: Callable[..., Any]) -> Callable[..., Any]:
        hooked = wrap(original)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            return original(*args, **kwargs) if _sending.get() is not None else hooked(*args, **kwargs)

        if not inspect.iscoroutinefunction(original):
            return call
        mark: Callable[..., Any] | None = getattr(inspect, "markcoroutinefunction", None)  # from Python 3.12 on
        marked: Callable[..., Any] = hooked if mark is None else mark(call)
        return marked

    return wrap_outside


def patch(module: ModuleType, patches: Patches, sdk: SDKClients) -> None:
    """Wraps the request methods of an SDK's `_base_client` module."""
    patches.wrap(module.SyncAPIClient, "request", functools.partial(_observe_sync, sdk))
    patches.wrap(module.AsyncAPIClient, "request", functools.partial(_observe_async, sdk))
    for client in (module.SyncAPIClient, module.AsyncAPIClient):
        if "_sleep_for_retry" in vars(client):
            patches.wrap(client, "_sleep_for_retry", _count_retries)


def _count_retries(original: Callable[..., Any]) -> Callable[..., Any]:
    def count(kwargs: dict[str, Any]) -> None:
        invocation = _sending.get()
        if invocation is not None:
            invocation.span.set_attribute(semconv.HTTP_RESEND_COUNT, kwargs.get("retries_taken", 0) + 1)

    @functools.wraps(original)
    def sleep_for_retry(*args: Any, **kwargs: Any) -> Any:
        count(kwargs)
        return original(*args, **kwargs)

    @functools.wraps(original)
    async def sleep_for_retry_async(*args: Any, **kwargs: Any) -> Any:
        count(kwargs)
        return await original(*args, **kwargs)

    return sleep_for_retry_async if inspect.iscoroutinefunction(original) else sleep_for_retry


def _observe_sync(sdk: SDKClients, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def request(*args: Any, **kwargs: Any) -> Any:
        attempt = _Attempt.of(sdk, args[0], args[1:], kwargs) if args else None
        if attempt is None:
            return original(*args, **kwargs)
        if attempt.prepares:
            attempt.prepared(args[0]._copy_and_prepare(attempt.options))  # noqa: SLF001 -- the SDK's
        invocation = attempt.begin()
        before = _sending.get()
        _sending.set(invocation)
        try:
            invocation.wait_durable()
            with invocation.attached():
                answer = attempt.send(original, invocation)
        except BaseException as error:
            attempt.failed(invocation, error)
            raise
        finally:
            _sending.set(before)
        answer, has_ended = attempt.observe(answer, invocation)
        if has_ended:
            invocation.wait_durable()
        return answer

    return request


def _observe_async(sdk: SDKClients, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def request(*args: Any, **kwargs: Any) -> Any:
        attempt = _Attempt.of(sdk, args[0], args[1:], kwargs) if args else None
        if attempt is None:
            return await original(*args, **kwargs)
        if attempt.prepares:
            attempt.prepared(await args[0]._copy_and_prepare(attempt.options))  # noqa: SLF001 -- the SDK's
        body = attempt.options.json_data
        invocation = await event_loop.begun(attempt.begin, body, abandoned=event_loop.end_cancelled)
        before = _sending.get()
        _sending.set(invocation)
        try:
            await invocation.wait_durable_async()
            with invocation.attached():
                answer = await attempt.send(original, invocation)
        except BaseException as error:
            attempt.failed(invocation, error)
            raise
        finally:
            _sending.set(before)
        whole = () if kwargs.get("stream") else (answer,)
        answer, has_ended = await event_loop.ended(lambda: attempt.observe(answer, invocation), *whole)
        if has_ended:
            await invocation.wait_durable_async()
        return answer

    return request


class _Attempt:
    """One observed request: its endpoint, its sending, and the reading of its answer."""

    __slots__ = ("_client", "_endpoint", "_pipeline", "_sdk", "args", "kwargs", "options", "prepares")

    def __init__(
        self,
        sdk: SDKClients,
        pipeline: Pipeline,
        endpoint: Endpoint,
        client: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._sdk = sdk
        self._pipeline = pipeline
        self._endpoint = endpoint
        self._client = client
        self.args = args
        self.kwargs = kwargs
        self.options = args[1] if len(args) > 1 else kwargs["options"]
        # Where the SDK prepares the body inside `request`, the body may hold iterators and files that can be read only
        # once: it is prepared here as the SDK does it, and passed on to the method that `request` would call.
        self.prepares = hasattr(client, "_copy_and_prepare")

    @classmethod
    def of(cls, sdk: SDKClients, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Attempt | None:
        """Returns the request, where it is one to be observed."""
        pipeline = current()
        if pipeline is None:
            return None
        try:
            options = args[1] if len(args) > 1 else kwargs["options"]
            endpoint = sdk.endpoint(options.method, options.url)
            return None if endpoint is None else cls(sdk, pipeline, endpoint, client, args, kwargs)
        except Exception:  # wrong arguments: the SDK raises an error that names them
            log.debug("Could not find the endpoint of a request", exc_info=True)
            return None

    def prepared(self, options: Any) -> None:
        """Uses other options in place of the given ones."""
        self.options = options
        if len(self.args) > 1:
            self.args = (self.args[0], options, *self.args[2:])
        else:
            self.kwargs = {**self.kwargs, "options": options}

    def begin(self) -> Invocation:
        """Starts the span and scans what goes in.

        Raises:
            BlockedError: The call is refused.
        """
        call = read_call(
            lambda: self._endpoint.call(self._client, _body(self.options), bool(self.kwargs.get("stream"))),
            self.options.json_data,
            lambda: Call("chat", "chat", provider=self._sdk.provider),
        )
        denied = self._pipeline.denied_tools(call)
        if denied and isinstance(self.options.json_data, dict):
            changes = offered_tools.withhold(call, _body(self.options), denied)
            if changes:
                self.prepared(offered_tools.replaced(self.options, changes))
        is_held_back = not self.kwargs.get("stream") and _raw_kind(self.options) != "stream"
        call.withholds, call.changes = is_held_back, self._changes(is_held_back)
        invocation = self._pipeline.begin(call)
        if invocation.redacts:
            self._pass_prompt(invocation)
        return invocation

    def _changes(self, is_held_back: bool) -> frozenset[str]:
        """The surfaces of the request that can be replaced."""
        body = self.options.json_data
        found = set() if getattr(self.options, "content", None) is not None else {"prompts"}
        repeats = isinstance(body, dict) and any(body.get(name) for name in self._sdk.keys.repeating)
        if not repeats and not _raw_kind(self.options):
            if is_held_back:
                found.add("answers")
            elif self._endpoint.redacted is not None and streams.is_plain(self.kwargs.get("stream_cls")):
                found.add("streamed_answers")
        return frozenset(found)

    def _pass_prompt(self, invocation: Invocation) -> None:
        """Puts the body that may be sent in place of the given one.

        Raises:
            BlockedError: It has to be redacted, and cannot be.
        """
        options = self.options
        given = (options.json_data, getattr(options, "extra_json", None))
        passed = invocation.passed_prompt(given, self._sdk.keys)
        if passed is given:
            return
        changed = copy.copy(options)
        for name, old, new in zip(("json_data", "extra_json"), given, passed, strict=True):
            if new is not old:
                setattr(changed, name, new)
        self.prepared(changed)

    def send(self, original: Callable[..., Any], invocation: Invocation) -> Any:
        """Makes the request, without the SDK's own span where it makes one."""
        own_trace = self._sdk.own_trace(self._client, invocation) if self.prepares else None
        if own_trace is None:
            return original(self._client, *self.args, **self.kwargs)
        cast_to = self.args[0] if self.args else self.kwargs["cast_to"]
        streaming = {name: self.kwargs[name] for name in ("stream", "stream_cls") if name in self.kwargs}
        # The SDK's own `request` calls this method once its span has begun.
        return self._client._request(cast_to, self.options, **streaming, **own_trace)  # noqa: SLF001 -- as above

    @staticmethod
    def failed(invocation: Invocation, error: BaseException) -> None:
        """Ends the span of a request that raised."""
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            invocation.span.set_attribute(semconv.HTTP_STATUS_CODE, status)
        invocation.end(None, error)

    def observe(self, answer: Any, invocation: Invocation) -> tuple[Any, bool]:
        """Ends the span with the answer, or has the reading of the answer end it.

        Returns:
            The answer as it may be handed over, and whether the span has ended.

        Raises:
            BlockedError: The answer asks for a tool call that is refused.
        """
        result: Result | None = None
        kind = ""
        try:
            kind = _kind(answer.__class__)
            if kind == "stream":
                self._observe_stream(answer, invocation)
                return answer, False
            if kind == "raw" and not (result := self._observe_raw(answer, invocation)):
                return answer, False
            if kind == "object":
                result = read_result(self._endpoint.result, answer, invocation.call)
        except Exception as error:  # noqa: BLE001 -- an answer of any form: it is recorded as unreadable
            result = unread_result(error, answer)
            if kind == "stream":
                invocation.refuse_stream()
        if invocation.redacts and kind == "object":
            return invocation.finish_with(answer, result, self._sdk.keys), True
        invocation.end(result, enforce=True)
        return answer, True

    def _observe_stream(self, stream: Any, invocation: Invocation) -> None:
        generator = stream._iterator  # noqa: SLF001 -- the one attribute that every version's stream reads from
        redaction = invocation.streamed_redaction(self._sdk.keys)
        events = self._endpoint.redacted(redaction) if redaction is not None and self._endpoint.redacted else None
        answer = ObservedAnswer(invocation, self._endpoint.fold(invocation), generator, events=events)
        stream.__dict__["_iterator"] = streams.observed(generator, answer, is_redacted=events is not None)
        response = getattr(stream, "response", None) or getattr(stream, "http_response", None)
        if response is not None:
            response_body.observe_close(response, answer)

    def _observe_raw(self, answer: Any, invocation: Invocation) -> Result | None:
        """Reads a body that is here already; one that is not is read while the application reads it."""
        response = getattr(answer, "http_response", answer)
        if hasattr(response, "_content"):
            fold = BodyFold(response.headers, self._endpoint, invocation, decoded_by(response))
            return fold.whole(response.content)
        response_body.observe_bytes(response, self._endpoint, invocation)
        return None


def _raw_kind(options: Any) -> str:
    """Returns how the application asks for the HTTP response: ``true``, ``raw``, ``stream``; empty without one."""
    headers = getattr(options, "headers", None)
    found = headers.get(_RAW_HEADER) if isinstance(headers, Mapping) else None
    return found if isinstance(found, str) else ""


def _body(options: Any) -> Any:
    """Returns the JSON body as it will be sent, with what the caller added through `extra_body`."""
    body, extra = options.json_data, getattr(options, "extra_json", None)
    content = getattr(options, "content", None)
    if body is None and content is not None:
        body = _content(content)
    return {**body, **extra} if extra and isinstance(body, dict) else body


def _content(content: Any) -> Any:
    """Returns the JSON of a raw body: bytes, or a file, which is put back to its place.

    Raises:
        TypeError: The content can be read only once, by the request itself.
        ValueError: It is no JSON, or too long.
    """
    if hasattr(content, "seekable") and content.seekable():
        place = content.tell()
        content, file = content.read(_MAX_CONTENT + 1), content
        file.seek(place)
    if isinstance(content, memoryview):
        content = bytes(content)
    if not isinstance(content, (bytes, bytearray, str)):
        raise TypeError(f"content of type {type(content).__name__}")
    if len(content) > _MAX_CONTENT:
        raise ValueError("the content is too long")
    return parse_json(bytes(content) if isinstance(content, bytearray) else content)


@functools.lru_cache(maxsize=512)
def _kind(answer: Callable[..., Any]) -> str:
    """Returns the kind of an answer: ``stream``, ``raw`` response, ``binary`` content, or ``object`` of the SDK."""
    if hasattr(answer, "__next__") or hasattr(answer, "__anext__"):
        return "stream"
    if hasattr(answer, "http_request"):
        return "raw"
    if hasattr(answer, "stream_to_file"):
        return "binary"
    return "raw" if hasattr(answer, "iter_bytes") else "object"
