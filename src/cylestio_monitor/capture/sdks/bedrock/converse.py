"""The Converse API of Amazon Bedrock: requests, whole answers and the events of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.parsing.binary import blob
from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    contained,
    is_empty,
    label,
    other_fields,
    place_of,
    plain_text,
    read_items,
    role_of,
    text_or_none,
)
from cylestio_monitor.capture.parsing.json_progress import JsonProgress
from cylestio_monitor.capture.parsing.reading import unread, unread_tool
from cylestio_monitor.capture.sdks.bedrock import facts
from cylestio_monitor.model import Message, Part, Result, ToolDefinition

if TYPE_CHECKING:
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.pipeline import Invocation

_MEDIA = ("image", "document", "video", "audio")
_READ = frozenset({"text", "toolUse", "toolResult", "reasoningContent", "cachePoint", "signature", *_MEDIA})
_MAX_DEPTH = 32
"""Levels of nested blocks in which bytes are looked for; what lies deeper is kept as it is."""


def blocks(item: Any, path: str) -> list[Part]:
    """Returns the parts of one content block; the bytes of images and documents are left out."""
    if (text := plain_text(item)) is not None:
        return [Part("text", text, path=path)]
    entry = as_dict(item)
    if not entry:
        return [] if is_empty(item) else [Part("json", item, path=path)]
    parts: list[Part] = []
    if "text" in entry:
        text = plain_text(entry["text"])
        parts.append(Part("text", entry["text"] if text is None else text, path=f"{path}.text"))
    if use := as_dict(entry.get("toolUse")):
        name, id_ = text_or_none(use.get("name")), text_or_none(use.get("toolUseId"))
        kind = "server_tool_call" if use.get("type") == "server_tool_use" else "tool_call"
        parts.append(Part(kind, use.get("input"), name, id_, f"{path}.toolUse.input"))
    if result := as_dict(entry.get("toolResult")):
        content, id_ = without_bytes(result.get("content")), text_or_none(result.get("toolUseId"))
        parts.append(Part("tool_call_response", content, None, id_, f"{path}.toolResult.content"))
    if reasoning := as_dict(entry.get("reasoningContent")):
        given = as_dict(reasoning.get("reasoningText")) or reasoning
        parts.append(Part("reasoning", given.get("text"), path=f"{path}.reasoningContent"))
    for name in _MEDIA:
        if media := as_dict(entry.get(name)):
            parts += _media(media, f"{path}.{name}")
    rest = without_bytes({name: value for name, value in entry.items() if name not in _READ})
    return parts + other_fields(rest, _READ, path)


def _media(entry: dict[str, Any], path: str) -> list[Part]:
    source, form = as_dict(entry.get("source")), text_or_none(entry.get("format"))
    parts: list[Part] = []
    if "text" in source:
        parts.append(Part("text", source["text"], path=f"{path}.source.text"))
    elif "content" in source:
        parts += read_items(blocks, source["content"], f"{path}.source.content")
    elif location := as_dict(source.get("s3Location")):
        parts.append(Part("uri", location.get("uri"), path=f"{path}.source.s3Location.uri"))
    elif "document" in path.rpartition(".")[2]:
        parts.append(blob(source.get("bytes"), path, form=form))
    else:
        parts.append(Part("blob", None, path=path))
    texts = {name: entry[name] for name in ("name", "context", "title") if text_or_none(entry.get(name))}
    return parts + [Part("text", text, path=f"{path}.{name}") for name, text in texts.items()]


def without_bytes(value: Any, depth: int = 0) -> Any:
    """Returns nested blocks without bytes; text among the bytes of a document is decoded."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return blob(value, "").content
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, (list, tuple)):
        return [without_bytes(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without_bytes(item, depth + 1) for name, item in as_dict(value).items()}


def messages(given: Any, path: str = "messages") -> list[Message]:
    """Returns the conversation."""
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        return [_contained(given, path)]
    return [_contained(item, f"{path}[{turn}]") for turn, item in enumerate(given)]


def _contained(item: Any, path: str) -> Message:
    try:
        entry = as_dict(item)
        if not entry:
            return Message("user", [Part("json", item, path=path)])
        parts = read_items(blocks, entry.get("content"), f"{path}.content")
        return Message(role_of(entry), parts + other_fields(entry, frozenset({"role", "content"}), path))
    except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; other messages are still read
        return Message("user", unread(error, item, path))


def system(body: dict[str, Any]) -> list[Part]:
    """Returns the system prompt."""
    return read_items(blocks, body.get("system"), "system")


def tools(config: Any) -> list[ToolDefinition]:
    """Returns the tools of a tool configuration."""
    given = as_dict(config).get("tools")
    items = given if isinstance(given, (list, tuple)) else [given] if given else []
    return [_tool(item, f"toolConfig.tools[{place}]") for place, item in enumerate(items)]


def _tool(item: Any, path: str) -> ToolDefinition:
    try:
        entry = as_dict(item)
        spec = as_dict(entry.get("toolSpec"))
        schema = as_dict(spec.get("inputSchema"))
        known = {"toolSpec", "cachePoint"}
        rest = {name: value for name, value in entry.items() if name not in known}
        rest |= {name: spec[name] for name in spec if name not in {"name", "description", "inputSchema", "strict"}}
        return ToolDefinition(
            label(spec.get("name")) or label(next(iter(entry), "")),
            text_or_none(spec.get("description")),
            schema.get("json", schema or None),
            path=path,
            extra=rest or None,
        )
    except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; the other tools are still read
        return unread_tool(error, item, path)


def answer(given: Any) -> Result:
    """Reads a whole answer."""
    body = as_dict(given)
    message = as_dict(as_dict(body.get("output")).get("message"))
    reasons = facts.finish_reasons(body)
    parts = read_items(blocks, message.get("content"), "output.message.content")
    said = [Message("assistant", parts, reasons[0] if reasons else "error")] if parts else []
    return Result(messages=said, usage=facts.usage(body), finish_reasons=reasons)


class _ConverseBlock:
    __slots__ = ("pieces", "progress", "start", "text")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.pieces: list[str] = []
        self.progress = JsonProgress()
        self.text: tuple[str, StreamedText] | None = None


class ConverseFold:
    """Collects the events of `converse_stream`, and of models whose own stream has the same form.

    Attributes:
        complete: Tool calls whose arguments have all arrived; see `Fold`.
    """

    def __init__(self, invocation: Invocation, headers: Any = None) -> None:
        """Feeds the texts to the invocation as they come."""
        self.complete: list[Part] = []
        self._invocation = invocation
        self._judges = invocation.can_block
        self._blocks: dict[Any, _ConverseBlock] = {}
        self._others: list[Part] = []
        self._reason: str | None = None
        self._usage = facts.usage({}, headers)

    def event(self, event: Any) -> None:
        """Takes the next event."""
        event = as_dict(event)
        if start := as_dict(event.get("contentBlockStart")):
            self._begin(place_of(start.get("contentBlockIndex")), as_dict(start.get("start")))
        if delta := as_dict(event.get("contentBlockDelta")):
            self._delta(place_of(delta.get("contentBlockIndex")), as_dict(delta.get("delta")))
        if stop := as_dict(event.get("contentBlockStop")):
            self._judge(place_of(stop.get("contentBlockIndex")))
        if stop := as_dict(event.get("messageStop")):
            self._reason = text_or_none(stop.get("stopReason")) or self._reason
            for index in self._blocks:
                self._judge(index)
        for counts in (as_dict(event.get("metadata")), event):
            self._usage = facts.merged(self._usage, facts.usage(counts))

    def _begin(self, index: Any, start: dict[str, Any]) -> None:
        """Begins a block; one that was begun at the same index before stays beside it."""
        if index in self._blocks:
            self._blocks[f"{index}, earlier {len(self._blocks)}"] = self._blocks.pop(index)
        self._blocks[index] = _ConverseBlock(start)

    def _delta(self, index: Any, delta: dict[str, Any]) -> None:
        block = self._blocks.setdefault(index, _ConverseBlock({}))
        reasoning = as_dict(delta.get("reasoningContent"))
        for kind, given in (("text", delta.get("text")), ("reasoning", reasoning.get("text"))):
            if (text := text_or_none(given)) is not None:
                if block.text is None:
                    block.text = (kind, self._invocation.streamed(f"content[{index}]"))
                block.text[1].add(text)
        if (piece := text_or_none(as_dict(delta.get("toolUse")).get("input"))) is not None:
            block.pieces.append(piece)
            if self._judges and block.progress.feed(piece):
                self._judge(index)
        rest = {name: value for name, value in delta.items() if name not in {"text", "reasoningContent", "toolUse"}}
        if rest:
            self._others.append(Part("json", rest, path=f"content[{index}]"))

    def _judge(self, index: Any) -> None:
        if self._judges and index in self._blocks:
            self.complete += [part for part in self._parts(index) if part.type in {"tool_call", "server_tool_call"}]

    def _parts(self, index: Any) -> list[Part]:
        block, path = self._blocks[index], f"content[{index}]"
        said = [Part(block.text[0], "".join(block.text[1].pieces), path=path)] if block.text is not None else []
        parts = contained(blocks, block.start, path)
        if block.pieces:
            content = arguments("".join(block.pieces))
            if parts and parts[0].type in {"tool_call", "server_tool_call"}:
                parts[0].content = content
            else:
                parts.append(Part("tool_call", content, path=path))
        return said + parts

    def result(self) -> Result:
        """Returns the answer as far as it has come."""
        parts = [part for index in self._blocks for part in self._parts(index)] + self._others
        message = Message("assistant", parts, self._reason or "error")
        reasons = [self._reason] if self._reason else []
        return Result(messages=[message] if parts else [], usage=self._usage, finish_reasons=reasons)
