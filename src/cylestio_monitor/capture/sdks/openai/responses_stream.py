"""The events of a streamed answer of the OpenAI Responses API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.parsing.fields import as_dict, members, plain_text
from cylestio_monitor.capture.parsing.json_progress import JsonProgress
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
        self._arguments: dict[int, tuple[list[str], JsonProgress]] = {}
        self._items: dict[int, Any] = {}
        self._done: set[int] = set()

    def event(self, event: Any) -> None:
        """Takes the next event. The branches stand in the order of how often they come."""
        kind = event.type
        if kind in _TEXT_DELTAS:
            self._text("text", f"output[{event.output_index}].content[{event.content_index}]", event.delta)
        elif kind in _REASONING_DELTAS:
            field, place = _REASONING_DELTAS[kind]
            self._text("reasoning", f"output[{event.output_index}].{field}[{getattr(event, place)}]", event.delta)
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            self._items[event.output_index] = event.item
            if kind.endswith("done"):
                self._done.add(event.output_index)
                self._judge(event.item, event.output_index)
        elif kind == "response.created":
            self._begun = event.response
        elif kind in _LAST:
            self._whole = event.response
            if self._judges:
                self.complete += _calls(responses.answer(self._whole, self._invocation.call).messages)
        elif kind == "error":
            self._error = str(getattr(event, "code", None) or "error")
        else:
            name, _, phase = str(kind).rpartition(".")
            if name in _ARGUMENTS:
                self._argument(event, _ARGUMENTS[name], is_done=phase == "done")

    def _text(self, kind: str, path: str, text: Any) -> None:
        found = self._texts.get(path)
        if found is None:
            found = self._texts[path] = (kind, self._invocation.streamed(path))
        found[1].add(text if type(text) is str else plain_text(text) or "")

    def _argument(self, event: Any, field: str, *, is_done: bool) -> None:
        """Takes a piece of the arguments of a call, or all of them."""
        index = event.output_index
        pieces, progress = self._arguments.setdefault(index, ([], JsonProgress()))
        if is_done:
            text = plain_text(getattr(event, field, None))
            pieces[:] = [text] if text is not None else pieces
        elif (piece := plain_text(event.delta)) is not None:
            pieces.append(piece)
            if not self._judges or not progress.feed(piece):
                return
        if self._judges and index in self._items:
            self._judge({**as_dict(self._items[index]), field: "".join(pieces)}, index)

    def _judge(self, item: Any, index: int) -> None:
        if self._judges:
            self.complete += _calls([responses.item(item, f"output[{index}]")])

    def result(self) -> Result:
        """Returns the response as far as it has come."""
        if self._whole is not None:
            return responses.answer(self._whole, self._invocation.call)
        parts = [Part(kind, "".join(text.pieces), path=path) for path, (kind, text) in self._texts.items()]
        for index in sorted(self._items):
            item = self._items[index]
            if members(item)("type") in {"message", "reasoning"}:
                continue
            if index in self._done:
                parts += responses.item_parts(item, f"output[{index}]")
            elif index in self._arguments:
                field = "input" if members(item)("type") == "custom_tool_call" else "arguments"
                begun = {**as_dict(item), field: "".join(self._arguments[index][0])}
                parts += responses.item_parts(begun, f"output[{index}]")
        out = responses.result_of(self._begun, parts, self._invocation.call, is_whole=False)
        out.error_type = self._error or out.error_type
        return out


def _calls(messages: list[Any]) -> list[Part]:
    return [part for message in messages for part in message.parts if part.type in _TOOL_CALLS]
