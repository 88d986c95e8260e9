"""Anthropic messages as `Call` and `Result`: requests, answers, and the events of a stream.

A request is the JSON that goes over the wire. An answer is an object of the SDK, or the same as parsed JSON with
attributes. Paths name places in that JSON: ``messages[2].content[0]``, ``system[1]``, ``content[0]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.conversations import Conversations
from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    as_list,
    count,
    members,
    number,
    numbers_and_texts,
    text_or_none,
    texts,
)
from cylestio_monitor.model import Message, Part, Result, ToolDefinition, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.model import AttributeValue, Call
    from cylestio_monitor.pipeline import Invocation

COUNTED_TOKENS = "anthropic.message.count_tokens.input_tokens"
"""What a request would cost, as the SDK's own span calls it: no tokens were used."""

_PARAMETERS = {
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "max_tokens_to_sample": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "top_p": semconv.REQUEST_TOP_P,
    "top_k": semconv.REQUEST_TOP_K,
}


THREAD_TYPE = "anthropic.thread.type"
"""Whether a request begins a thread that the API keeps, or continues one."""

conversations = Conversations()


def conversation(body: dict[str, Any]) -> str | None:
    """The conversation that a request continues, where the API keeps the thread."""
    thread = body.get("thread")
    return conversations.of(text_or_none(as_dict(thread).get("previous_message_id"))) if thread else None


def parameters(body: dict[str, Any]) -> dict[str, AttributeValue]:
    """What a request asks of the model, as span attributes."""
    out = numbers_and_texts(body, _PARAMETERS)
    if "stop_sequences" in body and (stop := texts(body["stop_sequences"])):
        out[semconv.REQUEST_STOP_SEQUENCES] = stop
    output = body.get("output_config")
    if isinstance(output, dict):
        if effort := text_or_none(output.get("effort")):
            out[semconv.REQUEST_REASONING_LEVEL] = effort
        if output.get("format"):
            out[semconv.OUTPUT_TYPE] = "json"
    if body.get("output_format"):
        out[semconv.OUTPUT_TYPE] = "json"
    if "thread" in body and (thread := text_or_none(as_dict(body["thread"]).get("type"))):
        out[THREAD_TYPE] = thread
    return out


def system(body: dict[str, Any], prefix: str = "") -> list[Part]:
    """The system prompt: one text, or a list of blocks."""
    given = body.get("system")
    if given is None:
        return []
    if isinstance(given, str):
        return [Part("text", given, path=f"{prefix}system")]
    return [block(item, f"{prefix}system[{place}]") for place, item in enumerate(as_list(given))]


def messages(body: dict[str, Any], prefix: str = "") -> list[Message]:
    """The conversation."""
    out: list[Message] = []
    for turn, item in enumerate(as_list(body.get("messages"))):
        entry = item if type(item) is dict else as_dict(item)
        content, path = entry.get("content"), f"{prefix}messages[{turn}].content"
        if isinstance(content, str):
            parts = [Part("text", content, path=path)]
        else:
            parts = [block(piece, f"{path}[{place}]") for place, piece in enumerate(as_list(content))]
        out.append(Message(entry.get("role") or "user", parts))
    return out


def tools(body: dict[str, Any], prefix: str = "") -> list[ToolDefinition]:
    """The tools on offer: the application's own, and the provider's, which have a type and no schema."""
    out: list[ToolDefinition] = []
    for place, item in enumerate(as_list(body.get("tools"))):
        tool = as_dict(item)
        kind = tool.get("type")
        out.append(
            ToolDefinition(
                name=str(tool.get("name") or tool.get("mcp_server_name") or kind or ""),
                description=text_or_none(tool.get("description")),
                parameters=tool.get("input_schema"),
                type="function" if kind in {None, "custom"} else str(kind),
                path=f"{prefix}tools[{place}]",
            )
        )
    return out


def block(item: Any, path: str) -> Part:
    """One content block of a request."""
    if isinstance(item, str):
        return Part("text", item, path=path)
    entry = as_dict(item)
    kind = entry.get("type")
    if kind == "text":
        return Part("text", entry.get("text"), path=path)
    if kind == "tool_use":
        return Part("tool_call", entry.get("input"), entry.get("name"), entry.get("id"), f"{path}.input")
    if kind == "tool_result":
        content = entry.get("content")
        place = path if isinstance(content, str) else f"{path}.content"
        return Part("tool_call_response", _without_bytes(content), None, entry.get("tool_use_id"), place)
    if kind in {"thinking", "redacted_thinking"}:
        return Part("reasoning", entry.get("thinking"), path=path)
    if kind in {"image", "document"}:
        return _media(entry, path)
    if kind in {"server_tool_use", "mcp_tool_use"}:
        return Part("server_tool_call", entry.get("input"), entry.get("name"), entry.get("id"), f"{path}.input")
    if "tool_use_id" in entry:
        content = _without_bytes(entry.get("content"))
        return Part("server_tool_call_response", content, None, entry.get("tool_use_id"), f"{path}.content")
    rest = {name: value for name, value in entry.items() if name != "type"}
    return Part(str(kind or "unknown"), _without_bytes(rest), path=path)


def _media(entry: dict[str, Any], path: str) -> Part:
    source = entry.get("source")
    source = source if isinstance(source, dict) else {}
    kind, mime = source.get("type"), source.get("media_type")
    if kind == "url":
        return Part("uri", source.get("url"), path=f"{path}.source.url", mime_type=mime)
    if kind == "file":
        return Part("file", source.get("file_id"), path=path, mime_type=mime)
    if kind == "text":
        return Part("text", source.get("data"), path=f"{path}.source.data", mime_type=mime)
    if kind == "content":
        return Part("document", _without_bytes(source.get("content")), path=f"{path}.source.content")
    return Part("blob", None, path=path, mime_type=mime)


def _without_bytes(value: Any) -> Any:
    """Content blocks without the bytes of images and documents, which are neither text nor to be kept."""
    if isinstance(value, list):
        return [_without_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "base64":
        return {name: item for name, item in value.items() if name != "data"}
    return {name: _without_bytes(item) for name, item in value.items() if name != "cache_control"}


def answer_block(item: Any, path: str) -> Part:
    """One content block of an answer."""
    kind = item.type
    if kind == "text":
        return Part("text", item.text, path=path)
    if kind == "tool_use":
        return Part("tool_call", item.input, item.name, item.id, f"{path}.input")
    if kind == "thinking":
        return Part("reasoning", item.thinking, path=path)
    return block(item, path)


def answer(message: Any, call: Call, prefix: str = "") -> Result:
    """A whole message of the model."""
    get = members(message)
    parts = [answer_block(item, f"{prefix}content[{place}]") for place, item in enumerate(as_list(get("content")))]
    return _result(parts, get("id"), get("model"), get("stop_reason"), usage(get("usage"), {}), call)


def _result(parts: list[Part], id_: Any, model: Any, stop_reason: Any, counts: dict[str, Any], call: Call) -> Result:
    reason = text_or_none(stop_reason)
    out = Result(
        messages=[Message("assistant", parts, reason)] if parts else [],
        response_id=text_or_none(id_),
        model=text_or_none(model),
        finish_reasons=[reason] if reason else [],
        usage=total(counts) if counts else None,
    )
    if THREAD_TYPE in call.attributes:
        conversations.add(out, call)
    return out


_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def usage(given: Any, counts: dict[str, Any]) -> dict[str, Any]:
    """The counts of a usage object over the ones known before: a stream reports running totals, not additions."""
    get = members(given)
    for name in _COUNTS:
        value = get(name)
        if value is not None:
            counts[name] = value
    details = get("output_tokens_details")
    if details is not None and (thinking := members(details)("thinking_tokens")) is not None:
        counts["thinking_tokens"] = thinking
    return counts


def total(counts: dict[str, Any]) -> Usage:
    """Token counts by the conventions: Anthropic reports what came from and went to its cache apart."""
    read, written = counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens")
    return Usage(
        input_tokens=count(counts.get("input_tokens"), read, written),
        output_tokens=number(counts.get("output_tokens")),
        cache_read=number(read),
        cache_write=number(written),
        reasoning=number(counts.get("thinking_tokens")),
    )


class _Block:
    """One content block of a streamed answer: how it began, and its text or the JSON of its arguments."""

    __slots__ = ("add", "path", "pieces", "start")

    def __init__(self, start: Any, index: int, invocation: Invocation) -> None:
        self.start = start
        self.path = f"content[{index}]"
        self.pieces: list[str]
        self.add: Callable[[str], None]
        if start.type in {"text", "thinking"}:
            text = invocation.streamed(self.path)
            self.pieces, self.add = text.pieces, text.add
            if first := getattr(start, start.type, None):
                self.add(first)
        else:
            self.pieces = []
            self.add = self.pieces.append

    def part(self) -> Part:
        part = answer_block(self.start, self.path)
        if self.pieces:
            text = "".join(self.pieces)
            if part.type in {"tool_call", "server_tool_call"}:
                part.content = arguments(text)
            elif part.type in {"text", "reasoning"}:
                part.content = text
        return part


class MessageFold:
    """Collects the events of a streamed message."""

    __slots__ = ("_blocks", "_counts", "_error", "_id", "_invocation", "_model", "_stop")

    def __init__(self, invocation: Invocation) -> None:
        """Feeds the texts to the invocation as they come."""
        self._invocation = invocation
        self._blocks: dict[int, _Block] = {}
        self._counts: dict[str, Any] = {}
        self._id: Any = None
        self._model: Any = None
        self._stop: Any = None
        self._error: str | None = None

    def event(self, event: Any) -> None:
        """Takes the next event. The branches stand in the order of how often they come."""
        kind = event.type
        if kind == "content_block_delta":
            delta = event.delta
            kind = delta.type
            if kind == "text_delta":
                self._blocks[event.index].add(delta.text)
            elif kind == "input_json_delta":
                self._blocks[event.index].add(delta.partial_json)
            elif kind == "thinking_delta":
                self._blocks[event.index].add(delta.thinking)
        elif kind == "content_block_start":
            self._blocks[event.index] = _Block(event.content_block, event.index, self._invocation)
        elif kind == "message_start":
            message = event.message
            self._id, self._model = message.id, message.model
            usage(message.usage, self._counts)
            self._counts.pop("output_tokens", None)  # a first guess; the count comes with the last events
        elif kind == "message_delta":
            self._stop = event.delta.stop_reason
            usage(event.usage, self._counts)
        elif kind == "error":
            self._error = str(getattr(getattr(event, "error", None), "type", None) or "error")

    def result(self) -> Result:
        """The message, as far as it has come."""
        parts = [self._blocks[index].part() for index in sorted(self._blocks)]
        result = _result(parts, self._id, self._model, self._stop, self._counts, self._invocation.call)
        result.error_type = self._error
        return result
