"""LiteLLM: one span a call, whichever provider it goes to and whether or not an SDK of ours is below it."""

from __future__ import annotations

import functools
import logging
import weakref
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers, event_loop
from cylestio_monitor.capture.frameworks.litellm import otel_callback
from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer
from cylestio_monitor.capture.parsing.fields import label, text_or_none
from cylestio_monitor.capture.parsing.reading import read_result
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.capture.sdks.openai import chat, request_fields
from cylestio_monitor.capture.sdks.openai.chat_stream import ChunkFold
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.model import Result
    from cylestio_monitor.pipeline import Invocation

log = logging.getLogger(__name__)

_PARAMETERS = {
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "top_p": semconv.REQUEST_TOP_P,
    "seed": semconv.REQUEST_SEED,
}
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
_TEXTS = ("prediction", "response_format", "suffix")
"""Fields of a request beside messages and tools that hold text for the model; others are settings of LiteLLM."""

_INNER = ("acompletion", "aembedding")

_NO_CALL = Call("chat", "chat")
"""The reader of an answer does not look at its call."""


class _ObservedStream:
    """A stream that is open: its call, and what has been read of it."""

    __slots__ = ("answer", "invocation", "is_refused")

    def __init__(self, invocation: Invocation, answer: ObservedAnswer) -> None:
        self.invocation = invocation
        self.answer = answer
        self.is_refused = False

    def observe(self, chunk: Any) -> None:
        """Takes the next chunk before the application gets it; raises `BlockedError` where that is refused."""
        try:
            self.answer.observe(_plain(chunk))
        except BlockedError:
            self.is_refused = True
            raise


_streams: weakref.WeakKeyDictionary[Any, _ObservedStream] = weakref.WeakKeyDictionary()


def _sync(operation: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        # The asynchronous function calls the synchronous one, in a thread, for a coroutine.
        inner = any(kwargs.get(name) for name in _INNER)
        invocation = None if inner else otel_callback.begin(lambda: _call(operation, args, kwargs))
        if invocation is None:
            return original(*args, **kwargs)
        invocation.wait_durable()
        with call_wrappers.Inside(invocation):
            try:
                answer = original(*args, **kwargs)
            except BaseException as error:
                invocation.end(None, error)
                raise
        return _observe(answer, invocation)

    return call


def _async(operation: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        start = functools.partial(otel_callback.begin, lambda: _call(operation, args, kwargs))
        invocation = await event_loop.begun(start, args, kwargs, abandoned=event_loop.end_cancelled)
        if invocation is None:
            return await original(*args, **kwargs)
        await invocation.wait_durable_async()
        with call_wrappers.Inside(invocation):
            try:
                answer = await original(*args, **kwargs)
            except BaseException as error:
                invocation.end(None, error)
                raise
        return await event_loop.ended(functools.partial(_observe, answer, invocation), answer)

    return call


def _call(operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    given = dict(zip(("model", "messages" if operation == "chat" else "input"), args, strict=False)) | kwargs
    whole = label(given.get("model"))
    provider, _, model = whole.rpartition("/")
    provider = label(given.get("custom_llm_provider")) or provider.partition("/")[0]
    call = Call(operation, f"{operation} {model}", provider=_PROVIDERS.get(provider, provider) or None, model=model)
    texts = {name: given[name] for name in _TEXTS if name in given}
    call.messages = [
        *request_fields.other_text(texts),
        *chat.messages(given),
        *request_fields.prompts(given.get("input"), "input"),
    ]
    call.tools = request_fields.tools(given)
    call.user_id = text_or_none(given.get("user"))
    call.attributes = {name: given[key] for key, name in _PARAMETERS.items() if given.get(key) is not None}
    if given.get("stream"):
        call.attributes[semconv.REQUEST_STREAM] = True
    return call


def _observe(answer: Any, invocation: Invocation) -> Any:
    if not hasattr(answer, "__anext__"):
        invocation.end(read_result(_answer, answer), enforce=True)
        return answer
    try:
        observed = _ObservedStream(invocation, ObservedAnswer(invocation, ChunkFold(invocation)))
        _streams[answer] = observed
        weakref.finalize(answer, observed.answer.dropped).atexit = False
        otel_callback.remember(answer, invocation)
    except TypeError:  # a stream of a kind that has no weak references or no hash
        log.debug("Could not observe a stream", exc_info=True)
        invocation.end(None)
    return answer


def _next(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def following(self: Any) -> Any:
        stream = _streams.get(self)
        if stream is None:
            return original(self)
        if stream.is_refused:
            raise StopIteration
        try:
            with call_wrappers.Inside(stream.invocation):
                chunk = original(self)
        except StopIteration:
            stream.answer.finished()
            stream.answer.wait_durable()
            raise
        except BaseException as error:
            stream.answer.failed(error)
            raise
        stream.observe(chunk)
        return chunk

    return following


def _next_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def following(self: Any) -> Any:
        stream = _streams.get(self)
        if stream is None:
            return await original(self)
        if stream.is_refused:
            raise StopAsyncIteration
        try:
            with call_wrappers.Inside(stream.invocation):
                chunk = await original(self)
        except StopAsyncIteration:
            stream.answer.finished()
            await stream.answer.wait_durable_async()
            raise
        except BaseException as error:
            stream.answer.failed(error)
            raise
        stream.observe(chunk)
        return chunk

    return following


def _answer(answer: Any) -> Result:
    """Reads a whole answer, which LiteLLM gives in OpenAI's format whoever answers."""
    return chat.answer(_plain(answer), _NO_CALL)


def _plain(answer: Any) -> Any:
    dump = getattr(answer, "model_dump", None)
    return dump(exclude_none=True) if dump is not None else answer


_STREAMS = "litellm.litellm_core_utils.streaming_handler"

TARGETS = (
    Target("litellm.main", "", "completion", functools.partial(_sync, "chat"), is_imported_by_name=True),
    Target("litellm.main", "", "acompletion", functools.partial(_async, "chat"), is_imported_by_name=True),
    Target("litellm.main", "", "embedding", functools.partial(_sync, "embeddings"), is_imported_by_name=True),
    Target("litellm.main", "", "aembedding", functools.partial(_async, "embeddings"), is_imported_by_name=True),
    Target(_STREAMS, "CustomStreamWrapper", "__next__", _next),
    Target(_STREAMS, "CustomStreamWrapper", "__anext__", _next_async),
    *otel_callback.TARGETS,
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of LiteLLM."""
    patches.apply(TARGETS, module)
