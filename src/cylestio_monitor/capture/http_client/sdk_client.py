"""The one place where the Anthropic and OpenAI SDKs make every request, and what is observed there.

Both SDKs are generated alike: each endpoint, helper, raw response, batch and stream goes through the method `request`
of `_base_client.SyncAPIClient` or `AsyncAPIClient`. It is wrapped on the class, so clients that exist already are
covered. What the endpoint is follows from the method and the path of the request, what is sent from its JSON body.
"""

from __future__ import annotations

import functools
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cylestio_monitor import semconv
from cylestio_monitor.capture.http_client import response_body, streams
from cylestio_monitor.capture.http_client.streams import Fold, ObservedAsyncIterator, ObservedIterator, Reading
from cylestio_monitor.pipeline import current

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.model import Call, Result
    from cylestio_monitor.pipeline import Invocation, Pipeline

log = logging.getLogger(__name__)

_sending: ContextVar[Invocation | None] = ContextVar("cylestio_sending", default=None)
"""The invocation whose request is under way in this thread or task."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to read one endpoint.

    Attributes:
        call: Reads a request: the client, the JSON body, and whether the answer is streamed.
        result: Reads a whole answer to a call: an object of the SDK, or the same as parsed JSON with attributes.
        fold: Makes what collects the events of a streamed answer.
    """

    call: Callable[[Any, Any, bool], Call]
    result: Callable[[Any, Call], Result]
    fold: Callable[[Invocation], Fold]


class SDK(Protocol):
    """What a provider's module knows of its SDK."""

    def endpoint(self, method: str, url: str) -> Endpoint | None:
        """The endpoint of a request; ``None`` for one that is not observed."""

    def own_trace(self, client: Any, invocation: Invocation) -> dict[str, Any] | None:
        """What stands in for the SDK's own span of a request, as arguments of its `_request` method.

        ``None`` where the SDK makes no span, or shall make its own.
        """


def patch(module: ModuleType, patches: Patches, sdk: SDK) -> None:
    """Wraps the request methods of an SDK's `_base_client` module."""
    streams.end_open_at_exit()
    patches.wrap(module.SyncAPIClient, "request", functools.partial(_observe_sync, sdk))
    patches.wrap(module.AsyncAPIClient, "request", functools.partial(_observe_async, sdk))
    for client in (module.SyncAPIClient, module.AsyncAPIClient):
        if "_sleep_for_retry" in vars(client):
            patches.wrap(client, "_sleep_for_retry", _count_retries)


def _count_retries(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def sleep_for_retry(*args: Any, **kwargs: Any) -> Any:
        invocation = _sending.get()
        if invocation is not None:
            invocation.span.set_attribute(semconv.HTTP_RESEND_COUNT, kwargs.get("retries_taken", 0) + 1)
        return original(*args, **kwargs)

    return sleep_for_retry


def _observe_sync(sdk: SDK, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        attempt = _Attempt.of(sdk, self, args, kwargs)
        if attempt is None:
            return original(self, *args, **kwargs)
        if attempt.prepares:
            attempt.prepared(self._copy_and_prepare(attempt.options))
        invocation = attempt.begin()
        if invocation is None:
            return original(self, *attempt.args, **attempt.kwargs)
        before = _sending.get()
        _sending.set(invocation)
        try:
            invocation.settle()
            with invocation.attached():
                answer = attempt.send(original, invocation)
        except BaseException as error:
            attempt.failed(invocation, error)
            raise
        finally:
            _sending.set(before)
        if attempt.observe(answer, invocation):
            invocation.settle()
        return answer

    return request


def _observe_async(sdk: SDK, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        attempt = _Attempt.of(sdk, self, args, kwargs)
        if attempt is None:
            return await original(self, *args, **kwargs)
        if attempt.prepares:
            attempt.prepared(await self._copy_and_prepare(attempt.options))
        invocation = attempt.begin()
        if invocation is None:
            return await original(self, *attempt.args, **attempt.kwargs)
        before = _sending.get()
        _sending.set(invocation)
        try:
            await invocation.settle_async()
            with invocation.attached():
                answer = await attempt.send(original, invocation)
        except BaseException as error:
            attempt.failed(invocation, error)
            raise
        finally:
            _sending.set(before)
        if attempt.observe(answer, invocation):
            await invocation.settle_async()
        return answer

    return request


class _Attempt:
    """One request that is observed: what it is, how it is sent, and what becomes of its answer."""

    __slots__ = ("_client", "_endpoint", "_pipeline", "_sdk", "args", "kwargs", "options", "prepares")

    def __init__(
        self,
        sdk: SDK,
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
        # Where the SDK prepares the body inside `request`, it may hold iterators and files that can be read only once:
        # it is prepared here as the SDK does it, and given to what `request` would give it to.
        self.prepares = hasattr(client, "_copy_and_prepare")

    @classmethod
    def of(cls, sdk: SDK, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Attempt | None:
        """The request, where it is one to be observed."""
        pipeline = current()
        if pipeline is None:
            return None
        try:
            options = args[1] if len(args) > 1 else kwargs["options"]
            endpoint = sdk.endpoint(options.method, options.url)
            return None if endpoint is None else cls(sdk, pipeline, endpoint, client, args, kwargs)
        except Exception:  # wrong arguments: the SDK says what is wrong with them
            log.debug("Could not tell what a request is", exc_info=True)
            return None

    def prepared(self, options: Any) -> None:
        """Takes the options as the SDK has prepared them, in place of the ones given."""
        self.options = options
        if len(self.args) > 1:
            self.args = (self.args[0], options, *self.args[2:])
        else:
            self.kwargs = {**self.kwargs, "options": options}

    def begin(self) -> Invocation | None:
        """Starts the span and scans what goes in.

        Raises:
            BlockedError: The call is refused.
        """
        try:
            call = self._endpoint.call(self._client, _body(self.options), bool(self.kwargs.get("stream")))
        except Exception:
            log.debug("Could not read a request", exc_info=True)
            return None
        return self._pipeline.begin(call)

    def send(self, original: Callable[..., Any], invocation: Invocation) -> Any:
        """Makes the request, without the SDK's own span where it makes one."""
        own_trace = self._sdk.own_trace(self._client, invocation) if self.prepares else None
        if own_trace is None:
            return original(self._client, *self.args, **self.kwargs)
        cast_to = self.args[0] if self.args else self.kwargs["cast_to"]
        streaming = {name: self.kwargs[name] for name in ("stream", "stream_cls") if name in self.kwargs}
        # This is where the SDK's own `request` goes on, once its span has begun.
        return self._client._request(cast_to, self.options, **streaming, **own_trace)  # noqa: SLF001

    @staticmethod
    def failed(invocation: Invocation, error: BaseException) -> None:
        """Ends the span of a request that raised."""
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            invocation.span.set_attribute(semconv.HTTP_STATUS_CODE, status)
        invocation.end(None, error)

    def observe(self, answer: Any, invocation: Invocation) -> bool:
        """Ends the span with the answer, or sees to it that reading the answer will.

        Returns:
            Whether the span has ended.

        Raises:
            BlockedError: The answer asks for a tool call that is refused.
        """
        result: Result | None = None
        try:
            kind = _kind(answer.__class__)
            if kind == "stream":
                self._observe_stream(answer, invocation)
                return False
            if kind == "raw" and not (result := self._observe_raw(answer, invocation)):
                return False
            if kind == "object":
                result = self._endpoint.result(answer, invocation.call)
        except Exception:
            log.debug("Could not read an answer", exc_info=True)
        invocation.end(result, enforce=True)
        return True

    def _observe_stream(self, stream: Any, invocation: Invocation) -> None:
        generator = stream._iterator  # noqa: SLF001 -- the one attribute that every version's stream reads from
        reading = Reading(invocation, self._endpoint.fold(invocation), generator)
        observed = ObservedAsyncIterator if hasattr(generator, "__anext__") else ObservedIterator
        stream.__dict__["_iterator"] = observed(generator, reading)
        response = getattr(stream, "response", None) or getattr(stream, "http_response", None)
        if response is not None:
            response_body.observe_close(response, reading)

    def _observe_raw(self, answer: Any, invocation: Invocation) -> Result | None:
        """Reads a body that is here already; one that is not is observed while the application reads it."""
        response = getattr(answer, "http_response", answer)
        if hasattr(response, "_content"):
            return self._endpoint.result(response_body.parse(response.content), invocation.call)
        whole = response_body.WholeBody(response, self._endpoint, invocation)
        response_body.observe_bytes(response, Reading(invocation, whole, is_stream=whole.is_stream))
        return None


def _body(options: Any) -> Any:
    """The JSON body as it will be sent: with what the caller added through `extra_body`."""
    body, extra = options.json_data, getattr(options, "extra_json", None)
    return {**body, **extra} if extra and isinstance(body, dict) else body


@functools.lru_cache(maxsize=512)
def _kind(answer: Callable[..., Any]) -> str:
    """What the SDK returned: a ``stream``, a ``raw`` response, or the ``object`` of an answer."""
    if hasattr(answer, "__next__") or hasattr(answer, "__anext__"):
        return "stream"
    return "raw" if hasattr(answer, "http_request") or hasattr(answer, "iter_bytes") else "object"
