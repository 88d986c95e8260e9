"""The events of a streamed answer of the OpenAI Responses API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.parsing.fields import (
    as_dict,
    as_object,
    contained,
    label,
    members,
    place_of,
    text_or_none,
)
from cylestio_monitor.capture.parsing.json_progress import JsonProgress
from cylestio_monitor.capture.parsing.reading import add_parts
from cylestio_monitor.capture.sdks.openai import responses
from cylestio_monitor.model import Part, Result

if TYPE_CHECKING:
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.pipeline import Invocation

_TEXT_DELTAS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING_DELTAS = {
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.reasoning_text.delta": ("content", "content_index"),
}
_ARGUMENTS = {
    "response.function_call_arguments": "arguments",
    "response.mcp_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.code_interpreter_call_code": "code",
}
"""From the beginning of an event's type to the field of the item that it completes."""

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TOOL_CALLS = frozenset({"tool_call", "server_tool_call"})


class ResponseEventFold:
    """Collects the events of a streamed response. The last one holds the whole; the others count if it is missing.

    Attributes:
        complete: Tool calls whose arguments have all arrived, until the reader of the stream takes them; collected
            only where an answer can be refused.
    """

    __slots__ = (
        "_arguments",
        "_begun",
        "_done",
        "_error",
        "_invocation",
        "_items",
        "_judges",
        "_others",
        "_texts",
        "_whole",
        "complete",
    )

    def __init__(self, invocation: Invocation) -> None:
        """Feeds the texts to the invocation as they come."""
        self.complete: list[Part] = []
        self._invocation = invocation
        self._judges = invocation.can_block
        self._begun: Any = None
        self._whole: Any = None
        self._error: str | None = None
        self._texts: dict[str, tuple[str, StreamedText]] = {}
        self._arguments: dict[int | str, tuple[list[str], JsonProgress]] = {}
        self._items: dict[int | str, Any] = {}
        self._done: set[int | str] = set()
        self._others: list[Part] = []

    def event(self, event: Any) -> None:
        """Takes the next event. The branches stand in the order of how often they come."""
        event = as_object(event)
        kind, index = getattr(event, "type", None), place_of(getattr(event, "output_index", None))
        if type(kind) is not str:
            self._unknown(kind, event)
        elif kind in _TEXT_DELTAS:
            self._text("text", f"output[{index}].content[{getattr(event, 'content_index', None)}]", event.delta)
        elif kind in _REASONING_DELTAS:
            field, place = _REASONING_DELTAS[kind]
            self._text("reasoning", f"output[{index}].{field}[{getattr(event, place, None)}]", event.delta)
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            self._items[index] = event.item
            if kind.endswith("done"):
                self._done.add(index)
                self._judge(event.item, index)
        elif kind == "response.created":
            self._begun = event.response
        elif kind in _LAST:
            self._whole = as_object(event.response)
            if self._judges:
                self.complete += _calls(responses.answer(self._whole, self._invocation.call).messages)
        elif kind == "error":
            self._error = label(getattr(event, "code", None)) or "error"
        else:
            name, _, phase = kind.rpartition(".")
            if name in _ARGUMENTS:
                self._argument(event, index, _ARGUMENTS[name], is_done=phase == "done")
            elif not kind.startswith("response."):
                self._unknown(kind, event)

    def _unknown(self, kind: Any, event: Any) -> None:
        if told := as_dict(event):
            self._others.append(Part(label(kind) or "unknown", told, path="stream"))

    def _text(self, kind: str, path: str, piece: Any) -> None:
        found = self._texts.get(path)
        if found is None:
            found = self._texts[path] = (kind, self._invocation.streamed(path))
        text = piece if type(piece) is str else text_or_none(piece)
        if text:
            found[1].add(text)

    def _argument(self, event: Any, index: int | str, field: str, *, is_done: bool) -> None:
        """Takes a piece of the arguments of a call, or all of them."""
        pieces, progress = self._arguments.setdefault(index, ([], JsonProgress()))
        if is_done:
            text = text_or_none(getattr(event, field, None))
            pieces[:] = [text] if text is not None else pieces
        elif (piece := text_or_none(getattr(event, "delta", None))) is not None:
            pieces.append(piece)
            if not self._judges or not progress.feed(piece):
                return
        if self._judges and index in self._items:
            self._judge({**as_dict(self._items[index]), field: "".join(pieces)}, index)

    def _judge(self, item: Any, index: int | str) -> None:
        if self._judges:
            self.complete += _calls([responses.item(item, f"output[{index}]")])

    def result(self) -> Result:
        """Returns the response as far as it has come."""
        if isinstance(members(self._whole)("output"), list):
            out = responses.answer(self._whole, self._invocation.call)
            add_parts(out, self._others)
            return out
        parts = [Part(kind, "".join(text.pieces), path=path) for path, (kind, text) in self._texts.items()]
        for index in sorted({*self._items, *self._arguments}, key=str):
            path = f"output[{index}]"
            if members(self._items.get(index))("type") in ("message", "reasoning"):
                if any(known.startswith(path) for known in self._texts):
                    continue  # its text has come in pieces
            elif index not in self._done and index not in self._arguments:
                continue
            parts += contained(responses.item_parts, self._item(index), path)
        is_whole = self._whole is not None
        begun = self._whole if is_whole else self._begun
        out = responses.result_of(begun, parts, self._invocation.call, is_whole=is_whole)
        out.error_type = self._error or out.error_type
        add_parts(out, self._others)
        return out

    def _item(self, index: int | str) -> Any:
        """Returns an item, with the arguments that have come in pieces where it has none itself."""
        item = self._items.get(index)
        if index not in self._arguments:
            return item
        given = as_dict(item) or {"type": "function_call"}
        field = next((name for name in _ARGUMENTS.values() if name in given), "arguments")
        field = "input" if given.get("type") == "custom_tool_call" else field
        return given if given.get(field) else {**given, field: "".join(self._arguments[index][0])}


def _calls(messages: list[Any]) -> list[Part]:
    return [part for message in messages for part in message.parts if part.type in _TOOL_CALLS]
