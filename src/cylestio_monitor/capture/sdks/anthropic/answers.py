"""Answers of the Anthropic Messages API: whole messages and the events of a stream.

An answer is an object of the SDK, or parsed JSON with attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.parsing.conversations import Conversations
from cylestio_monitor.capture.parsing.fields import (
    Fields,
    arguments,
    as_dict,
    as_list,
    contained,
    count,
    label,
    members,
    number,
    place_of,
    plain_text,
    read_items,
    text_or_none,
)
from cylestio_monitor.capture.parsing.json_progress import JsonProgress
from cylestio_monitor.capture.sdks.anthropic.content_blocks import blocks
from cylestio_monitor.capture.sdks.anthropic.messages import THREAD_TYPE
from cylestio_monitor.model import Message, Part, Result, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.model import Call
    from cylestio_monitor.pipeline import Invocation

COUNTED_TOKENS = "anthropic.message.count_tokens.input_tokens"
"""The tokens that a request would cost, by the name in the SDK's own span: no tokens were used."""

_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_TOOL_CALLS = frozenset({"tool_call", "server_tool_call"})
_SILENT = ("ping", "message_stop")
"""Events that say nothing."""

conversations = Conversations()


def conversation(body: dict[str, Any]) -> str | None:
    """Returns the conversation that a request continues, where the API keeps the thread."""
    thread = body.get("thread")
    return conversations.of(text_or_none(as_dict(thread).get("previous_message_id"))) if thread else None


def answer_blocks(item: Any, path: str) -> list[Part]:
    """Returns the parts of one content block of an answer; the usual ones are read without making a mapping."""
    kind = getattr(item, "type", None)
    if kind == "text" and type(item.text) is str and not getattr(item, "citations", None):
        return [Part("text", item.text, path=path)]
    if kind == "tool_use":
        return [Part("tool_call", item.input, text_or_none(item.name), text_or_none(item.id), f"{path}.input")]
    if kind == "thinking":
        return [Part("reasoning", item.thinking, path=path)]
    return blocks(item, path)


def answer(message: Any, call: Call, prefix: str = "") -> Result:
    """Reads a whole message of the model."""
    get = members(message)
    parts = read_items(answer_blocks, get("content"), f"{prefix}content")
    return _result(parts, get("id"), get("model"), get("stop_reason"), usage(get("usage"), {}), call)


def _result(parts: list[Part], id_: Any, model: Any, stop_reason: Any, counts: dict[str, Any], call: Call) -> Result:
    reason = text_or_none(stop_reason)
    out = Result(
        messages=[Message("assistant", parts, reason or "error")] if parts else [],
        response_id=text_or_none(id_),
        model=text_or_none(model),
        finish_reasons=[reason] if reason else [],
        usage=total(counts) if counts else None,
    )
    if THREAD_TYPE in call.attributes:
        conversations.add(out, call)
    return out


def usage(given: Any, counts: dict[str, Any]) -> dict[str, Any]:
    """Returns the counts of a usage object over the known ones: a stream reports running totals, not additions."""
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
    """Returns the token counts by the conventions: Anthropic counts reads and writes of its cache separately."""
    read, written = counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens")
    return Usage(
        input_tokens=count(counts.get("input_tokens"), read, written),
        output_tokens=number(counts.get("output_tokens")),
        cache_read=number(read),
        cache_write=number(written),
        reasoning=number(counts.get("thinking_tokens")),
    )


class _MessageBlock:
    """One content block of a streamed answer: its beginning, and its text or the JSON of its arguments."""

    __slots__ = ("add", "path", "pieces", "progress", "start")

    def __init__(self, start: Any, path: str, invocation: Invocation) -> None:
        self.start = start
        self.path = path
        self.progress = JsonProgress()
        self.pieces: list[str]
        self.add: Callable[[str], None]
        kind = getattr(start, "type", None)
        if kind in ("text", "thinking"):
            text = invocation.streamed(self.path)
            self.pieces, self.add = text.pieces, text.add
            if first := plain_text(getattr(start, kind, None)):
                self.add(first)
        else:
            self.pieces = []
            self.add = self.pieces.append

    def parts(self) -> list[Part]:
        parts = contained(answer_blocks, self.start, self.path)
        if self.pieces:
            text = "".join(self.pieces)
            if parts and parts[0].type in _TOOL_CALLS:
                parts[0].content = arguments(text)
            elif parts and parts[0].type in {"text", "reasoning"}:
                parts[0].content = text
            else:
                parts.append(Part("json", arguments(text), path=self.path))
        return parts


class MessageFold:
    """Collects the events of a streamed message.

    Attributes:
        complete: Tool calls whose arguments have all arrived, until the reader of the stream takes them; collected
            only where an answer can be refused.
    """

    __slots__ = (
        "_blocks",
        "_counts",
        "_error",
        "_id",
        "_invocation",
        "_judges",
        "_model",
        "_others",
        "_stop",
        "complete",
    )

    def __init__(self, invocation: Invocation) -> None:
        """Feeds the texts to the invocation as they come."""
        self.complete: list[Part] = []
        self._invocation = invocation
        self._judges = invocation.can_block
        self._blocks: dict[Any, _MessageBlock] = {}
        self._others: list[Part] = []
        self._counts: dict[str, Any] = {}
        self._id: Any = None
        self._model: Any = None
        self._stop: Any = None
        self._error: str | None = None

    def event(self, event: Any) -> None:
        """Takes the next event. The branches stand in the order of how often they come."""
        kind = getattr(event, "type", None)
        if kind == "content_block_delta":
            self._delta(event)
        elif kind == "content_block_start":
            start = getattr(event, "content_block", None)
            block = self._begin(place_of(getattr(event, "index", None)), start)
            if getattr(start, "input", None):
                self._judge(block)
        elif kind == "content_block_stop":
            index = place_of(getattr(event, "index", None))
            if index in self._blocks:
                self._judge(self._blocks[index])
        elif kind == "message_start":
            self._start(members(getattr(event, "message", None)))
        elif kind == "message_delta":
            self._stop = members(getattr(event, "delta", None))("stop_reason")
            usage(getattr(event, "usage", None), self._counts)
            for block in self._blocks.values():
                self._judge(block)
        elif kind == "error":
            self._error = label(members(getattr(event, "error", None))("type")) or "error"
        elif kind not in _SILENT and (told := as_dict(event)):
            self._others.append(Part(label(kind) or "unknown", told, path="stream"))

    def _delta(self, event: Any) -> None:
        delta: Any = getattr(event, "delta", None)
        index = place_of(getattr(event, "index", None))
        kind = getattr(delta, "type", None)
        if kind == "text_delta":
            self._add(index, "text", delta.text)
        elif kind == "input_json_delta":
            block = self._add(index, "tool_use", delta.partial_json)
            if self._judges and block.progress.feed(plain_text(delta.partial_json) or ""):
                self._judge(block)
        elif kind == "thinking_delta":
            self._add(index, "thinking", delta.thinking)
        elif kind != "signature_delta" and (told := as_dict(delta)):
            self._others.append(Part(label(kind) or "unknown", told, path=f"content[{index}]"))

    def _start(self, get: Callable[[str], Any]) -> None:
        self._id, self._model = get("id"), get("model")
        usage(get("usage"), self._counts)
        self._counts.pop("output_tokens", None)  # a first guess; the count comes with the last events
        for place, item in enumerate(as_list(get("content"))):  # empty in the streams of the provider itself
            self._blocks[("start", place)] = _MessageBlock(item, f"content[{place}]", self._invocation)

    def _begin(self, index: Any, start: Any) -> _MessageBlock:
        """Begins a block; one that was begun at the same index before stays beside it."""
        path = f"content[{index}]"
        if index in self._blocks:
            path = f"content[{len(self._blocks)}]"
            self._blocks[("earlier", len(self._blocks))] = self._blocks.pop(index)
        found = self._blocks[index] = _MessageBlock(start, path, self._invocation)
        return found

    def _add(self, index: Any, kind: str, piece: Any) -> _MessageBlock:
        """Adds a piece to the block of a delta; one that was never begun is begun here."""
        found = self._blocks.get(index)
        if found is None:
            found = self._begin(index, Fields(type=kind, input={}))
        text = piece if type(piece) is str else text_or_none(piece)
        if text is not None:
            found.add(text)
        return found

    def _judge(self, block: _MessageBlock) -> None:
        if self._judges:
            self.complete += [part for part in block.parts() if part.type in _TOOL_CALLS]

    def result(self) -> Result:
        """Returns the message as far as it has come."""
        parts = [part for block in self._blocks.values() for part in block.parts()]
        result = _result(
            [*parts, *self._others], self._id, self._model, self._stop, self._counts, self._invocation.call
        )
        result.error_type = self._error
        return result
