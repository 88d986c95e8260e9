"""Chunks of a streamed OpenAI chat completion or completion.

Servers that imitate this API send deltas of many forms: tool calls without an index, arguments as an object, content
as a list, reasoning under other names. Each is read as far as it can be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    as_list,
    as_object,
    label,
    members,
    plain_text,
    read_items,
    text_or_none,
)
from cylestio_monitor.capture.parsing.json_progress import JsonProgress
from cylestio_monitor.capture.sdks.openai.chat import (
    REASONING,
    add_choice,
    annotated,
    answered_parts,
    reasoning,
    result_of,
    usage,
)
from cylestio_monitor.capture.sdks.openai.content_blocks import blocks
from cylestio_monitor.model import Part, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.pipeline import Invocation


class _StreamedToolCall:
    """One tool call of a choice: its name, and its arguments as far as they have come."""

    __slots__ = ("id", "is_judged", "name", "path", "pieces", "progress", "value")

    def __init__(self, path: str) -> None:
        self.path = path
        self.id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []
        self.value: Any = None
        self.progress = JsonProgress()
        self.is_judged = False

    def part(self) -> Part:
        text = "".join(self.pieces)
        content = arguments(text) if self.value is None else [arguments(text), self.value] if text else self.value
        return Part("tool_call", content, self.name, self.id, self.path)


class _Choice:
    """One choice of a streamed answer."""

    __slots__ = ("_by_index", "_invocation", "calls", "content", "finish", "others", "path", "texts")

    def __init__(self, path: str, invocation: Invocation) -> None:
        self.path = path
        self.texts: dict[str, StreamedText] = {}
        self.calls: list[_StreamedToolCall] = []
        self.others: list[Part] = []
        self.finish: Any = None
        self.content: Callable[[str], None] | None = None
        self._by_index: dict[Any, _StreamedToolCall] = {}
        self._invocation = invocation

    def text(self, field: str) -> Callable[[str], None]:
        """Returns the function that takes the pieces of one of its texts."""
        found = self.texts.get(field)
        if found is None:
            found = self.texts[field] = self._invocation.streamed(f"{self.path}.{field}")
        return found.add

    def call(self, index: Any, id_: str | None, name: str | None, place: str) -> _StreamedToolCall:
        """Returns the call that a delta belongs to; a delta with a name and a new id begins another one."""
        if type(index) is int:
            found = self._by_index.get(index)
        else:
            index, found = len(self.calls), self.calls[-1] if self.calls else None
        if found is None or (id_ and name and found.id and found.id != id_):
            found = self._by_index[index] = _StreamedToolCall(place.format(number=len(self.calls)))
            self.calls.append(found)
        found.id = found.id or id_
        found.name = found.name or name
        return found

    def parts(self) -> list[Part]:
        out = [
            Part(
                "reasoning" if field in REASONING else "text",
                "".join(text.pieces),
                path=f"{self.path}.{field}",
            )
            for field, text in self.texts.items()
        ]
        return [*out, *self.others, *(call.part() for call in self.calls)]


class ChunkFold:
    """Collects the chunks of a streamed chat completion or completion.

    Attributes:
        complete: Tool calls whose arguments have all arrived, until the reader of the stream takes them; collected
            only where an answer can be refused.
    """

    __slots__ = ("_choices", "_error", "_invocation", "_judges", "_last", "_usage", "complete")

    def __init__(self, invocation: Invocation) -> None:
        """Feeds the texts to the invocation as they come."""
        self.complete: list[Part] = []
        self._invocation = invocation
        self._judges = invocation.can_block
        self._choices: dict[int, _Choice] = {}
        self._last: Any = None
        self._usage: Any = None
        self._error: str | None = None

    def event(self, chunk: Any) -> None:
        """Takes the next chunk.

        Raises:
            Exception: A choice could not be read; the other choices have been.
        """
        chunk = as_object(chunk)
        choices = getattr(chunk, "choices", None)
        if not choices and (error := getattr(chunk, "error", None)) is not None:
            self._error = label(members(error)("code")) or "error"
            return
        self._last = chunk
        if (usage_ := getattr(chunk, "usage", None)) is not None:
            self._usage = usage_
        failed: Exception | None = None
        for place, choice in enumerate(as_list(choices)):
            try:
                self._choice(as_object(choice), place)
            except Exception as error:  # noqa: BLE001 -- a choice of any form; raised again after the other choices
                failed = error
        if failed is not None:
            raise failed

    def _choice(self, choice: Any, place: int) -> None:
        index = getattr(choice, "index", None)
        index = index if type(index) is int else place
        delta = getattr(choice, "delta", None)
        delta = as_object(delta) if delta is not None else None
        found = self._choices.get(index)
        if found is None:
            is_chat = delta is not None or getattr(choice, "text", None) is None
            path = f"choices[{index}].message" if is_chat else f"choices[{index}]"
            found = self._choices[index] = _Choice(path, self._invocation)
        if delta is not None:
            content = getattr(delta, "content", None)
            if type(content) is str and content:
                if found.content is None:
                    found.content = found.text("content")
                found.content(content)
            if not content or type(content) is not str or not _is_plain(delta):
                self._others(found, members(delta))
        elif (text := text_or_none(getattr(choice, "text", None))) is not None:
            found.text("text")(text)
        elif (message := members(choice)("message")) is not None:
            found.others += answered_parts(message, found.path)
            if self._judges:
                self.complete += found.others
        if (finish := getattr(choice, "finish_reason", None)) is not None:
            found.finish = finish
            self._judge(found.calls)

    def _others(self, choice: _Choice, get: Callable[[str], Any]) -> None:
        """Reads what a delta holds beside a text."""
        content = get("content")
        if content and type(content) is not str:
            _content_list(choice, content)
        for field in REASONING:
            if value := get(field):
                for part in reasoning(value, field):
                    if isinstance(part.content, str):
                        choice.text(field)(part.content)
                    else:
                        choice.others.append(part)
        if text := text_or_none(get("refusal")):
            choice.text("refusal")(text)
        if transcript := text_or_none(as_dict(get("audio")).get("transcript")):
            choice.text("audio.transcript")(transcript)
        if annotations := get("annotations"):
            choice.others.append(annotated(annotations, f"{choice.path}.annotations"))
        for call in as_list(get("tool_calls")):
            self._tool_call(choice, members(call))
        if (function := get("function_call")) is not None:
            given = members(function)
            call = choice.call(-1, None, text_or_none(given("name")), f"{choice.path}.function_call.arguments")
            self._arguments(call, given("arguments"))

    def _tool_call(self, choice: _Choice, get: Callable[[str], Any]) -> None:
        custom = get("custom")
        given = members(get("function") if custom is None else custom)
        field = "function.arguments" if custom is None else "custom.input"
        place = f"{choice.path}.tool_calls[{{number}}].{field}"
        before = len(choice.calls)
        call = choice.call(get("index"), text_or_none(get("id")), text_or_none(given("name")), place)
        if len(choice.calls) > before:
            self._judge(choice.calls[:-1])
        self._arguments(call, given("arguments") if custom is None else given("input"))

    def _arguments(self, call: _StreamedToolCall, value: Any) -> None:
        text = plain_text(value)
        if text is not None:
            call.pieces.append(text)
            if self._judges and call.progress.feed(text):
                call.is_judged = False
                self._judge([call])
        elif value is not None and not isinstance(value, (bool, int, float)):
            earlier = call.value if isinstance(call.value, dict) else {}
            call.value = {**earlier, **as_dict(value)} or value
            call.is_judged = False
            self._judge([call])

    def _judge(self, calls: list[_StreamedToolCall]) -> None:
        if self._judges:
            waiting = [call for call in calls if not call.is_judged]
            self.complete += [call.part() for call in waiting]
            for call in waiting:
                call.is_judged = True

    def result(self) -> Result:
        """Returns the answer as far as it has come."""
        out = result_of(members(self._last))
        for index in sorted(self._choices):
            choice = self._choices[index]
            add_choice(out, choice.parts(), choice.finish)
        out.usage = usage(self._usage)
        out.error_type = self._error
        return out


def _is_plain(delta: Any) -> bool:
    """Tells a delta of the SDK with text and nothing else; parsed JSON is always looked through."""
    if isinstance(delta, dict) or getattr(delta, "tool_calls", None):
        return False
    return not getattr(delta, "__pydantic_extra__", None)


def _content_list(choice: _Choice, content: Any) -> None:
    """Reads a content that is a list of blocks."""
    for part in read_items(blocks, content, f"{choice.path}.content"):
        if part.type == "text" and isinstance(part.content, str):
            choice.text("content")(part.content)
        else:
            choice.others.append(part)
