"""The Google Gen AI SDK, for Gemini and for Vertex AI: one span for each request to a model."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers, event_loop
from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer
from cylestio_monitor.capture.parsing.reading import read_result
from cylestio_monitor.capture.sdks.google_genai import content, function_calls
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Message, Part, Result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation

_NOT_TEXT = frozenset(
    {
        *("httpOptions", "shouldReturnHttpResponse", "systemInstruction", "tools", "stopSequences", "responseMimeType"),
        *("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "responseLogprobs", "logprobs", "seed"),
        *("presencePenalty", "frequencyPenalty", "responseModalities", "safetySettings", "toolConfig", "labels"),
        *("cachedContent", "mediaResolution", "speechConfig", "automaticFunctionCalling", "thinkingConfig"),
        *("imageConfig", "serviceTier", "store", "outputDimensionality", "taskType", "modelArmorConfig"),
        *("routingConfig", "modelSelectionConfig", "audioTimestamp", "continuationToken", "automaticContinuation"),
    }
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the methods that make one request each, the loop around them, and the calls of functions."""
    patches.wrap(module.Models, "_generate_content", _whole)
    patches.wrap(module.AsyncModels, "_generate_content", _whole_async)
    patches.wrap(module.Models, "_generate_content_stream", _stream)
    patches.wrap(module.AsyncModels, "_generate_content_stream", _stream_async)
    for models, wrap in ((module.Models, _embeddings), (module.AsyncModels, _embeddings_async)):
        patches.wrap(models, "_embed_content" if "_embed_content" in vars(models) else "embed_content", wrap)
    patches.wrap(module.Models, "generate_content", call_wrappers.around(_loop))
    patches.wrap(module.AsyncModels, "generate_content", call_wrappers.around_async(_loop))
    patches.wrap(module.Models, "generate_content_stream", call_wrappers.around_steps(_loop))
    patches.wrap(module.AsyncModels, "generate_content_stream", _loop_stream_async)
    function_calls.patch(patches)


def _call(models: Any, operation: str, kwargs: dict[str, Any], *, stream: bool = False) -> Call:
    """Reads a request."""
    model = str(kwargs.get("model") or "").removeprefix("models/")
    client = models._api_client  # noqa: SLF001 -- the SDK shows the endpoint nowhere else
    provider = "gcp.vertex_ai" if getattr(client, "vertexai", None) else "gcp.gemini"
    call = Call(operation, f"{operation} {model}", provider=provider, model=model)
    base_url = getattr(getattr(client, "_http_options", None), "base_url", None)
    place = urlsplit(str(base_url or ""))
    call.server_address, call.server_port = place.hostname, place.port or (443 if place.hostname else None)
    config = content.fields(_without_functions(kwargs.get("config")))
    call.messages = content.messages(kwargs.get("contents"), "contents")
    if rest := {name: value for name, value in config.items() if name not in _NOT_TEXT and not isinstance(value, bool)}:
        call.messages.insert(0, Message("user", [Part("json", rest, path="config")]))
    for message in content.messages(config.get("systemInstruction"), "config.system_instruction", "system"):
        call.system += message.parts
    call.tools = content.tools(_tools_of(kwargs.get("config")), "config.tools")
    call.attributes = content.parameters(config)
    if stream:
        call.attributes[semconv.REQUEST_STREAM] = True
    return call


def _tools_of(config: Any) -> Any:
    return config.get("tools") if isinstance(config, dict) else getattr(config, "tools", None)


def _without_functions(config: Any) -> Any:
    """A configuration as fields; its tools, which may be functions and sessions, are read from the original."""
    if isinstance(config, dict):
        return {name: value for name, value in config.items() if name != "tools"}
    if not hasattr(config, "model_dump"):
        return {}
    given = config.model_dump(exclude_none=True, exclude={"tools", "response_schema", "http_options"})
    schema = getattr(config, "response_schema", None)
    return {**given, "response_schema": schema} if isinstance(schema, dict) else given


def _begin(args: tuple[Any, ...], operation: str, kwargs: dict[str, Any], *, stream: bool = False) -> Invocation | None:
    return call_wrappers.begin(lambda: _call(args[0], operation, kwargs, stream=stream)) if args else None


async def _begin_async(
    args: tuple[Any, ...], operation: str, kwargs: dict[str, Any], *, stream: bool = False
) -> Invocation | None:
    start = functools.partial(_begin, args, operation, kwargs, stream=stream)
    return await event_loop.begun(start, args[1:], kwargs, abandoned=event_loop.end_cancelled)


def _failed(invocation: Invocation, error: BaseException) -> None:
    """Ends a request that raised, with the HTTP status of an error of the service."""
    status = getattr(error, "code", None)
    if isinstance(status, int):
        invocation.span.set_attribute(semconv.HTTP_STATUS_CODE, status)
    invocation.end(None, error)


def _wrap_whole(original: Callable[..., Any], operation: str, read: Callable[[Any], Result]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        invocation = _begin(args, operation, kwargs)
        if invocation is None:
            return original(*args, **kwargs)
        invocation.wait_durable()
        with call_wrappers.Inside(invocation):
            try:
                answer = original(*args, **kwargs)
            except BaseException as error:
                _failed(invocation, error)
                raise
        invocation.end(read_result(read, answer), enforce=True)
        invocation.wait_durable()
        return answer

    return call


def _wrap_whole_async(
    original: Callable[..., Any], operation: str, read: Callable[[Any], Result]
) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        invocation = await _begin_async(args, operation, kwargs)
        if invocation is None:
            return await original(*args, **kwargs)
        await invocation.wait_durable_async()
        with call_wrappers.Inside(invocation):
            try:
                answer = await original(*args, **kwargs)
            except BaseException as error:
                _failed(invocation, error)
                raise
        await event_loop.ended(lambda: invocation.end(read_result(read, answer), enforce=True), answer)
        await invocation.wait_durable_async()
        return answer

    return call


def _whole(original: Callable[..., Any]) -> Callable[..., Any]:
    return _wrap_whole(original, "generate_content", content.answer)


def _whole_async(original: Callable[..., Any]) -> Callable[..., Any]:
    return _wrap_whole_async(original, "generate_content", content.answer)


def _embeddings(original: Callable[..., Any]) -> Callable[..., Any]:
    return _wrap_whole(original, "embeddings", content.embedded)


def _embeddings_async(original: Callable[..., Any]) -> Callable[..., Any]:
    return _wrap_whole_async(original, "embeddings", content.embedded)


def _stream(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Iterator[Any]:
        invocation = _begin(args, "generate_content", kwargs, stream=True)
        if invocation is None:
            yield from original(*args, **kwargs)
            return
        invocation.wait_durable()
        items = original(*args, **kwargs)
        answer = ObservedAnswer(invocation, content.AnswerFold(invocation), items)
        try:
            while True:
                with call_wrappers.Inside(invocation):
                    try:
                        item = next(items)
                    except StopIteration:
                        break
                answer.observe(item)
                yield item
        except GeneratorExit:
            items.close()
            answer.dropped()
            raise
        except BlockedError:
            items.close()
            answer.wait_durable()
            raise
        except BaseException as error:
            answer.failed(error)
            raise
        answer.finished()
        answer.wait_durable()

    return call


def _stream_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        invocation = await _begin_async(args, "generate_content", kwargs, stream=True)
        if invocation is None:
            return await original(*args, **kwargs)
        await invocation.wait_durable_async()
        with call_wrappers.Inside(invocation):
            try:
                items = await original(*args, **kwargs)
            except BaseException as error:
                _failed(invocation, error)
                raise
        answer = ObservedAnswer(invocation, content.AnswerFold(invocation), items)
        return _AsyncItems(_items(invocation, answer, items), answer)

    return call


class _AsyncItems:
    """An asynchronous iterator that also ends the call where it is dropped before its first item."""

    def __init__(self, items: AsyncIterator[Any], answer: ObservedAnswer) -> None:
        self._items = items
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await self._items.__anext__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._items, name)

    def __del__(self) -> None:
        self._answer.dropped()


async def _items(invocation: Invocation, answer: ObservedAnswer, items: Any) -> AsyncIterator[Any]:
    try:
        while True:
            with call_wrappers.Inside(invocation):
                try:
                    item = await items.__anext__()
                except StopAsyncIteration:
                    break
            answer.observe(item)
            yield item
    except GeneratorExit:
        answer.dropped()
        raise
    except BlockedError:
        with contextlib.suppress(AttributeError):
            await items.aclose()
        await answer.wait_durable_async()
        raise
    except BaseException as error:
        answer.failed(error)
        raise
    answer.finished()
    await answer.wait_durable_async()


def _loop(models: Any, _: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Returns the frame of the requests and function calls of one run, where the SDK calls functions by itself."""
    config = kwargs.get("config")
    given = _tools_of(config)
    if not isinstance(given, (list, tuple)) or not any(callable(tool) or hasattr(tool, "call_tool") for tool in given):
        return None
    options = content.fields(content.fields(_without_functions(config)).get("automaticFunctionCalling"))
    if options.get("disable"):
        return None
    call = _call(models, "invoke_agent", {"model": kwargs.get("model")})
    call.name = "invoke_agent"
    return call


def _loop_stream_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        invocation = call_wrappers.begin(lambda: _loop(args[0], args, kwargs)) if args else None
        if invocation is None:
            return await original(*args, **kwargs)
        with call_wrappers.Inside(invocation):
            try:
                items = await original(*args, **kwargs)
            except BaseException as error:
                invocation.end(None, error)
                raise
        return call_wrappers.rest_async(invocation, items)

    return call
