"""LiteLLM: one span a call, whichever provider it goes to and whether or not an SDK of ours is below it."""

from __future__ import annotations

import functools
import logging
import weakref
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers, event_loop, observed_items
from cylestio_monitor.capture.frameworks.litellm import otel_callback
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call, Message, Part, Result, Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
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
_INNER = ("acompletion", "aembedding")

_streams: weakref.WeakKeyDictionary[Any, tuple[Invocation, list[Any]]] = weakref.WeakKeyDictionary()
"""The call and the chunks read so far of each stream that is open."""


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
    whole = str(given.get("model") or "")
    provider, _, model = whole.rpartition("/")
    provider = str(given.get("custom_llm_provider") or provider.partition("/")[0] or "")
    call = Call(operation, f"{operation} {model}", provider=_PROVIDERS.get(provider, provider) or None, model=model)
    call.messages = message_parts.messages(given.get("messages") or given.get("input"), "messages", "user")
    call.tools = message_parts.tool_definitions(given.get("tools"), "tools")
    call.user_id = str(given["user"]) if given.get("user") else None
    call.attributes = {name: given[key] for key, name in _PARAMETERS.items() if given.get(key) is not None}
    if given.get("stream"):
        call.attributes[semconv.REQUEST_STREAM] = True
    return call


def _observe(answer: Any, invocation: Invocation) -> Any:
    if not hasattr(answer, "__anext__"):
        invocation.end(observed_items.read(_answer, answer), enforce=True)
        return answer
    seen: list[Any] = []
    try:
        _streams[answer] = (invocation, seen)
        weakref.finalize(answer, _abandon, invocation, seen).atexit = False
        otel_callback.remember(answer, invocation)
    except TypeError:  # a stream of a kind that has no weak references or no hash
        log.debug("Could not observe a stream", exc_info=True)
        invocation.end(None)
    return answer


def _abandon(invocation: Invocation, seen: list[Any]) -> None:
    invocation.abandon(observed_items.read(_chunks, seen))


def _next(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def following(self: Any) -> Any:
        invocation, seen = _streams.get(self, (None, []))
        if invocation is None:
            return original(self)
        try:
            with call_wrappers.Inside(invocation):
                chunk = original(self)
        except StopIteration:
            invocation.end(observed_items.read(_chunks, seen))
            raise
        except BaseException as error:
            invocation.end(observed_items.read(_chunks, seen), error)
            raise
        invocation.first_chunk()
        seen.append(chunk)
        return chunk

    return following


def _next_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def following(self: Any) -> Any:
        invocation, seen = _streams.get(self, (None, []))
        if invocation is None:
            return await original(self)
        try:
            with call_wrappers.Inside(invocation):
                chunk = await original(self)
        except StopAsyncIteration:
            invocation.end(observed_items.read(_chunks, seen))
            raise
        except BaseException as error:
            invocation.end(observed_items.read(_chunks, seen), error)
            raise
        invocation.first_chunk()
        seen.append(chunk)
        return chunk

    return following


def _answer(answer: Any) -> Result:
    body = answer.model_dump(exclude_none=True)
    result = Result(response_id=body.get("id"), model=body.get("model"), usage=_usage(body.get("usage")))
    for number, choice in enumerate(body.get("choices") or ()):
        result.messages += message_parts.messages([choice], f"choices[{number}]", "assistant")
        result.finish_reasons += [str(choice["finish_reason"])] if choice.get("finish_reason") else []
    return result


def _chunks(chunks: list[Any]) -> Result:
    texts: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    result = Result()
    for chunk in chunks:
        body = chunk.model_dump(exclude_none=True)
        result.response_id, result.model = body.get("id"), body.get("model")
        result.usage = _usage(body.get("usage")) or result.usage
        for choice in (body.get("choices") or ())[:1]:
            delta = choice.get("delta") or {}
            texts.append(delta.get("content") or "")
            for piece in delta.get("tool_calls") or ():
                call = calls.setdefault(piece.get("index", 0), {"id": piece.get("id"), "name": "", "arguments": ""})
                function = piece.get("function") or {}
                call["name"] += function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
            result.finish_reasons = (
                [str(choice["finish_reason"])] if choice.get("finish_reason") else result.finish_reasons
            )
    found = [Part("text", "".join(texts), path="choices[0].message.content")] if any(texts) else []
    for number, call in calls.items():
        path = f"choices[0].message.tool_calls[{number}]"
        found.append(Part("tool_call", message_parts.decoded(call["arguments"]), call["name"], call["id"], path))
    result.messages = [Message("assistant", found)]
    return result


def _usage(used: Any) -> Usage | None:
    if not isinstance(used, dict):
        return None
    return Usage(used.get("prompt_tokens"), used.get("completion_tokens"))


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
