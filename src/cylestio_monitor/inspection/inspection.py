"""The scan of one call: which parts are scanned, as which surface, and which were scanned before.

An agent sends its whole history with every turn. Parts up to the last message of the model that were scanned in this
process are not reported again; parts after it are always scanned, even if the same text was seen elsewhere.

An error in one part is contained to that part: it becomes a finding of the rule ``scan.incomplete``, the part is masked
where content is recorded, and the rest of the call is scanned.
"""

from __future__ import annotations

import itertools
import logging
import threading
from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor.inspection.collected import CollectedFindings
from cylestio_monitor.inspection.excerpts import Excerpts
from cylestio_monitor.inspection.streamed_text import StreamedText, needs_mask
from cylestio_monitor.model import (
    ASSISTANT_ROLES,
    MASKED_CATEGORIES,
    SYSTEM_ROLES,
    TOOL_CALLS,
    incomplete,
    speaker_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cylestio_monitor.inspection.questions import Questions
    from cylestio_monitor.model import Call, Finding, Message, Part, Result, Subtype, Target, ToolDefinition
    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.scan.prompt_leak import PromptLeakDetector
    from cylestio_monitor.scan.results.redaction import MaskedText

log = logging.getLogger(__name__)

_NO_TEXT = ("blob", "file")
_STREAMED = ("text", "reasoning")
_UNREADABLE = "unreadable"
_serial = itertools.count()


class SeenParts:
    """The parts that were scanned in this process, and whether they must be masked.

    Two generations of a bounded mapping: a part that is not met during a whole generation is forgotten.
    """

    def __init__(self, size: int = 8192) -> None:
        """Keeps at most twice `size` parts, some 100 bytes each."""
        self._size = size
        self._young: dict[int, bool] = {}
        self._old: dict[int, bool] = {}
        self._lock = threading.Lock()

    def get(self, mark: int) -> bool | None:
        """Returns whether the part must be masked; `None` for a part that was never scanned."""
        found = self._young.get(mark)
        if found is None:
            found = self._old.get(mark)
            if found is not None:
                self.add(mark, masked=found)
        return found

    def add(self, mark: int, *, masked: bool) -> None:
        """Remembers a scanned part."""
        with self._lock:
            if len(self._young) >= self._size:
                self._old, self._young = self._young, {}
            self._young[mark] = masked


class Inspection:
    """The scan of one call: findings of both sides, and the parts that must be masked where content is recorded.

    Attributes:
        found: The findings so far; `None` where there are none.
        masked: Identities of the parts, tools, calls and results that must be masked.
        masked_paths: Places of the texts that were scanned in this call and hold something to be masked.
    """

    __slots__ = (
        "_checked",
        "_contents",
        "_is_full",
        "_keeper",
        "_leaks",
        "_marks",
        "_masked_texts",
        "_only_new",
        "_questions",
        "_redact",
        "_scanner",
        "_seen",
        "_streamed",
        "found",
        "masked",
        "masked_paths",
    )

    def __init__(
        self,
        scanner: Scanner,
        seen: SeenParts,
        *,
        redact: Callable[[str], str],
        is_full: bool = False,
        keeps_excerpts: bool = False,
        questions: Questions | None = None,
        only_new: Callable[[list[Finding]], list[Finding]] | None = None,
    ) -> None:
        """Starts without findings.

        Args:
            scanner: The rules.
            seen: The parts that were scanned before.
            redact: Makes the path of a finding safe: keys of the application's data are part of it.
            is_full: Content is recorded as it is.
            keeps_excerpts: Each finding keeps the masked words around it.
            questions: What detectors and moderators are asked beside the rules.
            only_new: Drops findings that another call has reported.
        """
        self._scanner = scanner
        self._seen = seen
        self._is_full = is_full
        self._questions = questions
        self._marks: list[tuple[int, bool]] = []
        self._streamed: dict[str, StreamedText] = {}
        self._checked: dict[str, Part] = {}
        self._leaks: PromptLeakDetector | None = None
        self._masked_texts: dict[int, tuple[str, MaskedText]] = {}
        self._redact = redact
        self._only_new = only_new
        self._keeper = scanner if keeps_excerpts else None
        self._contents: list[tuple[str, object]] = []
        self.found: CollectedFindings | None = None
        self.masked: set[int] = set()
        self.masked_paths: set[str] = set()

    def call(self, call: Call) -> None:
        """Scans the input: system, messages, content blocks, tool definitions, arguments."""
        history = history_length(call.messages)
        try:
            self._leaks = self._scanner.watch(_system_texts(call))
        except Exception as error:  # noqa: BLE001 -- the other rules still apply to the call
            self.add_incomplete(error, "input", "system", "system")
        for part in call.system:
            self._part(part, "input", "system", known=history > 0)
        for number, message in enumerate(call.messages):
            for part in message.parts:
                target, subtype = surface(part, message.role)
                self._part(part, target, subtype, known=number < history)
        for tool in call.tools:
            self._tool(tool, known=history > 0)
        if call.arguments is not None or call.tool_name:
            self._value(call.arguments, "output", "tool_call", "arguments", call.tool_name, id(call))
        self._take_answers("input")

    def streamed(self, path: str, subtype: Subtype, on_found: Callable[[], None]) -> StreamedText:
        """Returns the collector of one streamed part of the answer; `on_found` is called for each new finding."""
        known = self._streamed.get(path)
        if self._questions is not None:
            self._questions.is_streamed = True
        if known is None:
            leaks = self._leaks.stream(path) if self._leaks is not None and subtype == "llm" else None
            stream = self._scanner.stream(target="output", subtype=subtype, path=path, silenced=True)
            known = self._streamed[path] = StreamedText(stream, leaks, self._report, on_found)
            self._contents.append((path, known))
        return known

    def parts(self, parts: Iterable[Part]) -> None:
        """Scans parts of the answer that are complete before the answer is; `result` does not scan them again."""
        if self._questions is not None:
            self._questions.is_streamed = True
        for part in parts:
            checked = self._checked.get(part.path)
            if checked is None or _mark(checked) != _mark(part):
                target, subtype = surface(part, "assistant")
                self._part(part, target, subtype, known=False)
                self._checked[part.path] = part

    def result(self, result: Result | None) -> None:
        """Scans the answer; text that was scanned while it streamed is not scanned again."""
        streamed = {path: text.finish() for path, text in self._streamed.items() if text.pieces}
        self._streamed.clear()
        if result is not None:
            for message in result.messages:
                for part in message.parts:
                    # Only the streamed text itself was scanned: citations, say, stand at the same place.
                    is_text = part.type in _STREAMED and isinstance(part.content, str)
                    was_streamed = is_text or part.type in TOOL_CALLS
                    self._answer_part(part, streamed.pop(part.path, None) if was_streamed else None)
            for tool in result.tools:
                self._tool(tool, known=False)
            if result.response is not None:
                self._value(result.response, "input", "tool_result", "result", None, id(result))
                self._ask(result.response, "input", "tool_result", "result")
        self._take_answers("output")

    def on_later(self, later: Callable[[list[Finding]], None]) -> None:
        """Passes findings that the detectors deliver after the call to `later`."""
        if self._questions is not None:
            self._questions.leave(later)

    def add(self, found: list[Finding]) -> None:
        """Adds findings that did not come from the scanner, but for those that a silence covers."""
        self._report(self._scanner.without_silenced(found))

    def add_incomplete(self, error: Exception, target: Target, subtype: Subtype, path: str) -> None:
        """Reports a part that could not be scanned."""
        log.debug("A part of a call could not be scanned", exc_info=error)
        self._report([incomplete(type(error).__name__, target=target, subtype=subtype, path=path)])

    def commit(self) -> None:
        """Remembers the scanned parts, once the call has succeeded."""
        for mark, masked in self._marks:
            self._seen.add(mark, masked=masked)

    def is_masked(self, owner: object) -> bool:
        """Returns whether the content of a part, tool, call or result is recorded with masks."""
        return not self._is_full and id(owner) in self.masked

    def recorded(self, content: object, owner: object) -> object:
        """Returns a content as it may be recorded; `owner` is the part, tool, call or result that it belongs to."""
        if not self.is_masked(owner):
            return content
        if isinstance(content, str):
            return self.masked_text(content, "", owner).text
        return self._scanner.mask_value(content)

    def masked_text(self, text: str, key: str, owner: object) -> MaskedText:
        """Returns a text of a part, tool, call or result as it is recorded, with the ranges that are masked.

        Args:
            text: The text.
            key: The nearest key above it.
            owner: The part, tool, call or result.
        """
        known = self._masked_texts.get(id(owner))
        if known is None or known[0] is not text:
            known = self._masked_texts[id(owner)] = (text, self._scanner.masked(text, key))
        return known[1]

    @property
    def holds_secrets(self) -> bool:
        """Something was found that must not be recorded as it is."""
        return bool(self.masked) or (self.found is not None and needs_mask(self.found.kept))

    def _answer_part(self, part: Part, is_masked: bool | None) -> None:
        """Scans a part of the answer, unless it was scanned while it streamed or before the answer was complete."""
        target, subtype = surface(part, "assistant")
        if is_masked is not None:
            self._mark(part, is_masked=is_masked)
            self._ask(part.content, target, subtype, part.path)
            return
        checked = self._checked.get(part.path)
        if checked is not None and _mark(checked) == _mark(part):
            if id(checked) in self.masked:
                self.masked.add(id(part))
            return
        self._part(part, target, subtype, known=False)

    def _part(self, part: Part, target: Target, subtype: Subtype, *, known: bool) -> None:
        try:
            self._scan_part(part, target, subtype, known=known)
        except Exception as error:  # noqa: BLE001 -- whatever an SDK or a model put there: the other parts are scanned
            self.masked.add(id(part))
            self.add_incomplete(error, target, subtype, part.path)

    def _scan_part(self, part: Part, target: Target, subtype: Subtype, *, known: bool) -> None:
        content = part.content
        if (content is None and not part.name) or part.type in _NO_TEXT:
            return
        if isinstance(content, str) and type(content) is not str:
            content = part.content = str.__str__(content)  # the text itself, without the code of a subclass
        mark = _mark(part)
        if known:
            masked = self._seen.get(mark)
            if masked is not None:
                if masked:
                    self.masked.add(id(part))
                return
        self._contents.append((part.path, content))
        if part.type == _UNREADABLE:
            self._report([incomplete(str(content), target=target, subtype=subtype, path=part.path)])
        elif isinstance(content, str) and subtype != "tool_call":
            found = self._scanner.text(content, target=target, subtype=subtype, path=part.path, silenced=True)
            self._report(found)
            if found and needs_mask(found):
                self.masked.add(id(part))
            if self._leaks is not None and not known and target == "output" and subtype == "llm":
                self._report(self._leaks.text(content, part.path))
        else:
            tool = part.name if subtype == "tool_call" else None
            self._scan(content, target, subtype, part.path, tool, id(part))
        self._ask(content, target, subtype, part.path)
        self._marks.append((mark, id(part) in self.masked))

    def _tool(self, tool: ToolDefinition, *, known: bool) -> None:
        try:
            mark = hash((tool.name, tool.description, _encoded(tool.parameters), _encoded(tool.extra)))
            masked = self._seen.get(mark) if known else None
            if masked is None:
                found = self._scanner.tool_definition(tool, target="input", silenced=True)
                if tool.type == _UNREADABLE:
                    reason = str(tool.description or tool.name)
                    found.append(incomplete(reason, target="input", subtype="tool_definition", path=tool.path))
                self._contents.append((tool.path, tool))
                self._report(found)
                masked = bool(found) and needs_mask(found)
                self._marks.append((mark, masked))
            if masked:
                self.masked.add(id(tool))
        except Exception as error:  # noqa: BLE001 -- as for a part
            self.masked.add(id(tool))
            self.add_incomplete(error, "input", "tool_definition", tool.path)

    def _value(self, value: object, target: Target, subtype: Subtype, path: str, tool: str | None, owner: int) -> None:
        self._contents.append((path, value))
        try:
            self._scan(value, target, subtype, path, tool, owner)
        except Exception as error:  # noqa: BLE001 -- as for a part
            self.masked.add(owner)
            self.add_incomplete(error, target, subtype, path)

    def _scan(self, value: object, target: Target, subtype: Subtype, path: str, tool: str | None, owner: int) -> None:
        found = self._scanner.value(value, target=target, subtype=subtype, path=path, tool=tool, silenced=True)
        self._report(found)
        if found and needs_mask(found):
            self.masked.add(owner)

    def _mark(self, part: Part, *, is_masked: bool) -> None:
        if is_masked:
            self.masked.add(id(part))
        self._marks.append((_mark(part), is_masked))

    def _report(self, found: list[Finding]) -> None:
        if found:
            if self.found is None:
                self.found = CollectedFindings(self._redact, self._only_new, Excerpts(self._keeper, self._contents))
            self.found.add(found)
            self.masked_paths.update(finding.path for finding in found if finding.category in MASKED_CATEGORIES)

    def _ask(self, content: object, target: Target, subtype: Subtype, path: str) -> None:
        """Passes a text to detectors and moderators."""
        if self._questions is not None:
            self._questions.ask(content, target, subtype, path)

    def _take_answers(self, target: Target) -> None:
        if self._questions is not None:
            self._report(self._questions.take(target))


def history_length(messages: list[Message]) -> int:
    """Returns the number of messages up to and including the last one of the model."""
    return next((n for n in range(len(messages), 0, -1) if messages[n - 1].role in ASSISTANT_ROLES), 0)


def last_turn(messages: list[Message]) -> list[Message]:
    """Returns the messages after the last one of the model: all of them where the model has not answered yet."""
    return messages[history_length(messages) :]


def surface(part: Part, role: str) -> tuple[Target, Subtype]:
    """Returns the side of the model that a part is on, and the kind of its text."""
    if part.type in TOOL_CALLS:
        return "output", "tool_call"
    speaker = speaker_of(part, role)
    if speaker == "tool":
        return "input", "tool_result"
    if speaker == "system":
        return "input", "system"
    return ("output", "llm") if speaker == "model" else ("input", "llm")


def _system_texts(call: Call) -> tuple[str, ...]:
    """Returns the texts of the system prompt of the call."""
    parts = [
        *call.system,
        *(part for message in call.messages if message.role in SYSTEM_ROLES for part in message.parts),
    ]
    return tuple(part.content for part in parts if type(part.content) is str and part.content)


def _mark(part: Part) -> int:
    content = part.content
    return hash((part.type, part.name, content if isinstance(content, str) else _encoded(content)))


def _encoded(value: object) -> bytes | int:
    """Returns a value as bytes to be hashed; a value that cannot be encoded equals only itself."""
    try:
        return msgspec.json.encode(value)
    except Exception:  # noqa: BLE001 -- whatever an SDK holds: a value that cannot be encoded is scanned each time
        return next(_serial)
