"""The Google Gen AI SDK, for Gemini and for Vertex AI: one span for every request to a model."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.model import Call, Message, Part, Result, ToolDefinition, Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_PARAMETERS = {
    "max_output_tokens": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "top_p": semconv.REQUEST_TOP_P,
    "top_k": semconv.REQUEST_TOP_K,
    "seed": semconv.REQUEST_SEED,
}


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the methods that make one request each."""
    patches.wrap(module.Models, "_generate_content", call_wrappers.around(_whole, _answer))
    patches.wrap(module.AsyncModels, "_generate_content", call_wrappers.around_async(_whole, _answer))
    patches.wrap(module.Models, "_generate_content_stream", call_wrappers.around_steps(_streamed, _chunks))
    patches.wrap(module.AsyncModels, "_generate_content_stream", _stream_async)
    for models, around in ((module.Models, call_wrappers.around), (module.AsyncModels, call_wrappers.around_async)):
        name = "_embed_content" if "_embed_content" in vars(models) else "embed_content"
        patches.wrap(models, name, around(_embeddings))


def _stream_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        invocation = (
            call_wrappers.begin(lambda: _call(args[0], "generate_content", kwargs, stream=True)) if args else None
        )
        if invocation is None:
            return await original(*args, **kwargs)
        await invocation.wait_durable_async()
        with call_wrappers.Inside(invocation):
            try:
                items = await original(*args, **kwargs)
            except BaseException as error:
                invocation.end(None, error)
                raise
        return call_wrappers.rest_async(invocation, items, _chunks)

    return call


def _whole(models: Any, _: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    return _call(models, "generate_content", kwargs)


def _streamed(models: Any, _: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    return _call(models, "generate_content", kwargs, stream=True)


def _embeddings(models: Any, _: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    return _call(models, "embeddings", kwargs)


def _call(models: Any, operation: str, kwargs: dict[str, Any], *, stream: bool = False) -> Call:
    model = str(kwargs.get("model") or "").removeprefix("models/")
    client = models._api_client  # noqa: SLF001 -- the SDK shows the endpoint nowhere else
    provider = "gcp.vertex_ai" if getattr(client, "vertexai", None) else "gcp.gemini"
    call = Call(operation, f"{operation} {model}", provider=provider, model=model)
    base_url = getattr(getattr(client, "_http_options", None), "base_url", None)
    place = urlsplit(str(base_url or ""))
    call.server_address, call.server_port = place.hostname, place.port or (443 if place.hostname else None)
    call.messages = message_parts.messages(_plain(kwargs.get("contents")), "contents", "user")
    config = _plain(kwargs.get("config"))
    config = config if isinstance(config, dict) else {}
    instruction = config.get("system_instruction")
    for message in message_parts.messages(instruction, "config.system_instruction", "system"):
        call.system += message.parts
    call.tools = _tools(config.get("tools"))
    call.attributes = {name: config[key] for key, name in _PARAMETERS.items() if config.get(key) is not None}
    if stream:
        call.attributes[semconv.REQUEST_STREAM] = True
    return call


def _tools(tools: Any) -> list[ToolDefinition]:
    """Declared functions, and the Python functions that the SDK calls by itself."""
    out: list[ToolDefinition] = []
    for number, tool in enumerate(tools if isinstance(tools, (list, tuple)) else ()):
        path = f"config.tools[{number}]"
        if callable(tool):
            out.append(ToolDefinition(getattr(tool, "__name__", "tool"), inspect.getdoc(tool), path=path))
        else:
            out += message_parts.tool_definitions([_plain(tool)], path)
    return out


def _plain(value: Any) -> Any:
    """Objects of the SDK as the JSON they stand for."""
    if hasattr(value, "model_dump"):
        return value.model_dump(exclude_none=True)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _answer(answer: Any) -> Result:
    return _chunks([answer])


def _chunks(chunks: list[Any]) -> Result:
    """One answer, or the pieces of a streamed one; texts that follow each other are one part."""
    result = Result()
    messages: dict[int, Message] = {}
    for chunk in chunks:
        for number, candidate in enumerate(chunk.candidates or ()):
            message = messages.setdefault(number, Message("assistant", []))
            path = f"candidates[{number}].content"
            for piece in getattr(candidate.content, "parts", None) or ():
                _add(message.parts, message_parts.part(_plain(piece), f"{path}.parts[{len(message.parts)}]"))
            reason = getattr(candidate.finish_reason, "value", candidate.finish_reason)
            message.finish_reason = str(reason) if reason else message.finish_reason
        result.response_id = getattr(chunk, "response_id", None) or result.response_id
        result.model = getattr(chunk, "model_version", None) or result.model
        result.usage = _usage(chunk.usage_metadata) or result.usage
    result.messages = list(messages.values())
    result.finish_reasons = [message.finish_reason for message in result.messages if message.finish_reason]
    return result


def _add(parts: list[Part], new: Part) -> None:
    last = parts[-1] if parts else None
    if last is not None and last.type == new.type == "text":
        last.content = f"{last.content}{new.content}"
    else:
        parts.append(new)


def _usage(used: Any) -> Usage | None:
    if used is None:
        return None
    thoughts = used.thoughts_token_count
    answered = used.candidates_token_count
    return Usage(
        used.prompt_token_count,
        None if answered is None and thoughts is None else (answered or 0) + (thoughts or 0),
        used.cached_content_token_count,
        None,
        thoughts,
    )
