"""What of a call is scanned, as which surface, and what was scanned before.

An agent sends its whole history with every turn. What stands before the model's last words and was scanned in this
process is not reported again; what came after them is always scanned, also when the same text was seen elsewhere.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cylestio_monitor.detect import Asked, Detectors
    from cylestio_monitor.model import Call, Finding, Message, Part, Result, Subtype, Target, ToolDefinition
    from cylestio_monitor.scan import Scanner, TextStream
    from cylestio_monitor.scan.prompt_leak import PromptLeakDetector, PromptLeakStream

_STEP = 4096  # characters: streamed text is scanned in steps, as a scan has a fixed cost and a chunk is a few letters
_TOOL_CALLS = frozenset({"tool_call", "server_tool_call"})
_TOOL_RESULTS = frozenset({"tool_call_response", "server_tool_call_response"})
_NO_TEXT = frozenset({"blob", "file"})
_ASSISTANT = frozenset({"assistant", "model"})
_SYSTEM = frozenset({"system", "developer"})
_serial = itertools.count()


class Seen:
    """Which parts were scanned in this process, and whether they hold something to be masked.

    Two generations of a bounded mapping: what was not met during a whole generation is forgotten.
    """

    def __init__(self, size: int = 8192) -> None:
        """Keeps at most twice `size` parts, some 100 bytes each."""
        self._size = size
        self._young: dict[int, bool] = {}
        self._old: dict[int, bool] = {}
        self._lock = threading.Lock()

    def get(self, mark: int) -> bool | None:
        """Whether the part is to be masked; ``None`` where it was never scanned."""
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


class Reported:
    """Which findings were reported in each of the last traces.

    The span of an agent or a chain repeats what the calls inside it said: reported once, it is not reported again.
    """

    def __init__(self, traces: int = 1024) -> None:
        """Keeps the findings of at most so many traces."""
        self._traces = traces
        self._found: dict[int, set[tuple[str, str]]] = {}
        self._lock = threading.Lock()

    def add(self, trace_id: int, findings: Iterable[Finding]) -> None:
        """Remembers findings of a trace."""
        with self._lock:
            known = self._found.get(trace_id)
            if known is None:
                if len(self._found) >= self._traces:
                    del self._found[next(iter(self._found))]
                known = self._found[trace_id] = set()
            known.update((finding.rule_id, finding.match_hash) for finding in findings)

    def new(self, trace_id: int, findings: Iterable[Finding]) -> list[Finding]:
        """Those of the findings whose rule and match were not reported in the trace."""
        with self._lock:
            known = self._found.get(trace_id, set())
            return [finding for finding in findings if (finding.rule_id, finding.match_hash) not in known]


class Inspection:
    """The scan of one call: findings of each side, and which parts must be masked where content is recorded."""

    __slots__ = (
        "_asked",
        "_checked",
        "_detectors",
        "_marks",
        "_scanner",
        "_seen",
        "_streamed",
        "_watch",
        "_whole",
        "findings",
        "masked",
    )

    def __init__(
        self, scanner: Scanner, seen: Seen, *, whole: bool = False, detectors: Detectors | None = None
    ) -> None:
        """Starts with nothing found; `whole` has content recorded as it is, `detectors` are asked beside the rules."""
        self._scanner = scanner
        self._seen = seen
        self._marks: list[tuple[int, bool]] = []
        self._streamed: dict[str, StreamedText] = {}
        self._checked: dict[str, Part] = {}
        self._whole = whole
        self._detectors = detectors
        self._asked: Asked | None = None
        self._watch: PromptLeakDetector | None = None
        self.findings: list[Finding] = []
        self.masked: set[int] = set()

    def call(self, call: Call) -> None:
        """Scans what goes in: system, messages, content blocks, tool definitions, arguments."""
        history = _end_of_history(call.messages)
        self._watch = self._scanner.watch(_system_texts(call))
        for part in call.system:
            self._part(part, "input", "system", known=history > 0)
        for number, message in enumerate(call.messages):
            for part in message.parts:
                target, subtype = surface(part, message.role)
                self._part(part, target, subtype, known=number < history)
        for tool in call.tools:
            mark = hash((tool.name, tool.description, _encoded(tool.parameters), _encoded(tool.extra)))
            if history and self._seen.get(mark) is not None:
                continue
            found = self._tool(tool)
            self._marks.append((mark, found))
        if call.arguments is not None or call.tool_name:
            self._report(self._value(call.arguments, "output", "tool_call", "arguments", call.tool_name, id(call)))
        self._hear()

    def streamed(self, path: str, subtype: Subtype, told: Callable[[], None]) -> StreamedText:
        """Takes what arrives of a part of the answer; `told` is called when something new was found in it."""
        known = self._streamed.get(path)
        if known is None:
            watch = self._watch.stream(path) if self._watch is not None and subtype == "llm" else None
            stream = self._scanner.stream(target="output", subtype=subtype, path=path)
            known = self._streamed[path] = StreamedText(stream, watch, self._report, told)
        return known

    def parts(self, parts: Iterable[Part]) -> None:
        """Scans parts of the answer that are complete before the answer is; `result` does not scan them again."""
        for part in parts:
            checked = self._checked.get(part.path)
            if checked is None or _mark(checked) != _mark(part):
                target, subtype = surface(part, "assistant")
                self._part(part, target, subtype, known=False)
                self._checked[part.path] = part

    def result(self, result: Result | None) -> None:
        """Scans what came back; text that was scanned while it streamed is not scanned again."""
        masked = {path: text.finish() for path, text in self._streamed.items() if text.pieces}
        self._streamed.clear()
        if result is None:
            self._hear()
            return
        for message in result.messages:
            for part in message.parts:
                if (is_masked := masked.get(part.path)) is not None:
                    if is_masked:
                        self.masked.add(id(part))
                    self._marks.append((_mark(part), is_masked))
                    continue
                checked = self._checked.get(part.path)
                if checked is not None and _mark(checked) == _mark(part):
                    if id(checked) in self.masked:
                        self.masked.add(id(part))
                    continue
                target, subtype = surface(part, "assistant")
                self._part(part, target, subtype, known=False)
        for tool in result.tools:
            self._tool(tool)
        if result.response is not None:
            self._report(self._value(result.response, "input", "tool_result", "result", None, id(result)))
            self._ask(result.response, "input", "tool_result", "result")
        self._hear()

    def leave(self, later: Callable[[list[Finding]], None]) -> None:
        """Has what the detectors have not answered yet reported when they do."""
        if self._asked is not None:
            self._asked.leave(later)

    def _ask(self, content: object, target: Target, subtype: Subtype, path: str) -> None:
        """Leaves a text with the detectors."""
        if self._detectors is None or not self._detectors.wants(target, subtype):
            return
        if isinstance(content, str):
            text = content
        else:
            from cylestio_monitor.scan.walk import leaves  # noqa: PLC0415 -- who has detectors has the scanner

            text = "\n".join(leaf.text for leaf in leaves(content))
        if text.strip():
            self._asked = self._asked or self._detectors.asked(self._scanner.settle)
            self._detectors.ask(self._asked, text, target=target, subtype=subtype, path=path)

    def _hear(self) -> None:
        """Takes what the detectors have answered, and waits for it where the settings say so."""
        if self._asked is not None and self._detectors is not None:
            settings = self._detectors.settings
            self._report(self._asked.take(settings.budget_ms / 1000 if settings.wait else 0))

    def commit(self) -> None:
        """Remembers what was scanned, once the call has gone through."""
        for mark, masked in self._marks:
            self._seen.add(mark, masked=masked)

    def recorded(self, content: object, owner: object) -> object:
        """A content as it may be recorded; `owner` is the part, tool, call or result that it belongs to."""
        if self._whole or id(owner) not in self.masked:
            return content
        return self._scanner.mask(content) if isinstance(content, str) else self._scanner.mask_value(content)

    def _report(self, found: list[Finding]) -> None:
        """Keeps what is to be reported: what has no severity, such as an e-mail address, is only masked."""
        self.findings += [finding for finding in found if finding.severity != "none"]

    def _tool(self, tool: ToolDefinition) -> bool:
        found = self._scanner.tool_definition(tool, target="input")
        self._report(found)
        if masked := needs_mask(found):
            self.masked.add(id(tool))
        return masked

    def _part(self, part: Part, target: Target, subtype: Subtype, *, known: bool) -> None:
        if (part.content is None and not part.name) or part.type in _NO_TEXT:
            return
        mark = _mark(part)
        if known:
            masked = self._seen.get(mark)
            if masked is not None:
                if masked:
                    self.masked.add(id(part))
                return
        if isinstance(part.content, str) and subtype != "tool_call":
            found = self._scanner.text(part.content, target=target, subtype=subtype, path=part.path)
            if found:
                self._report(found)
                if needs_mask(found):
                    self.masked.add(id(part))
            if self._watch is not None and not known and target == "output" and subtype == "llm":
                self._report(self._watch.text(part.content, part.path))
        else:
            tool = part.name if subtype == "tool_call" else None
            self._report(self._value(part.content, target, subtype, part.path, tool, id(part)))
        if self._detectors is not None:
            self._ask(part.content, target, subtype, part.path)
        self._marks.append((mark, id(part) in self.masked))

    def _value(
        self, value: object, target: Target, subtype: Subtype, path: str, tool: str | None, owner: int
    ) -> list[Finding]:
        found = self._scanner.value(value, target=target, subtype=subtype, path=path, tool=tool)
        if found and needs_mask(found):
            self.masked.add(owner)
        return found


class StreamedText:
    """The text of one part of an answer as it arrives: kept whole, and scanned in steps, across their borders."""

    __slots__ = ("_left", "_masked", "_report", "_stream", "_taken", "_told", "_watch", "pieces")

    def __init__(
        self,
        stream: TextStream,
        watch: PromptLeakStream | None,
        report: Callable[[list[Finding]], None],
        told: Callable[[], None],
    ) -> None:
        """Begins empty; `Inspection.streamed` is the way to it."""
        self._stream = stream
        self._watch = watch
        self._report = report
        self._told = told
        self._masked = False
        self._left = _STEP
        self._taken = 0
        self.pieces: list[str] = []

    def add(self, piece: str) -> None:
        """Takes the next piece."""
        self.pieces.append(piece)
        self._left -= len(piece)
        if self._left <= 0:
            text = self._waiting()
            self._take([*self._stream.feed(text), *(self._watch.feed(text) if self._watch is not None else ())])

    def finish(self) -> bool:
        """Scans what is left, and the whole for what only that shows; tells whether there is something to be masked."""
        text = self._waiting()
        watched = [*self._watch.feed(text), *self._watch.finish()] if self._watch is not None else ()
        self._take([*self._stream.finish(text), *watched])
        return self._masked

    def _waiting(self) -> str:
        """The pieces that were not scanned yet, as one text."""
        text = "".join(self.pieces[self._taken :])
        self._taken, self._left = len(self.pieces), _STEP
        return text

    def _take(self, found: list[Finding]) -> None:
        if found:
            self._masked = self._masked or needs_mask(found)
            self._report(found)
            self._told()


def surface(part: Part, role: str) -> tuple[Target, Subtype]:
    """Where a part counts: which side of the model, and which kind of text."""
    if part.type in _TOOL_CALLS:
        return "output", "tool_call"
    if part.type in _TOOL_RESULTS or role in {"tool", "function"}:
        return "input", "tool_result"
    if role in _SYSTEM:
        return "input", "system"
    return ("output", "llm") if role in _ASSISTANT else ("input", "llm")


def _system_texts(call: Call) -> tuple[str, ...]:
    """The texts of the call's system prompt."""
    parts = [*call.system, *(part for message in call.messages if message.role in _SYSTEM for part in message.parts)]
    return tuple(part.content for part in parts if isinstance(part.content, str) and part.content)


def _end_of_history(messages: list[Message]) -> int:
    """How many messages stand up to and including the model's last words."""
    for number in range(len(messages), 0, -1):
        if messages[number - 1].role in _ASSISTANT:
            return number
    return 0


def needs_mask(found: Iterable[Finding]) -> bool:
    """Whether a text with these findings may be recorded only in part."""
    from cylestio_monitor.scan.results.redaction import MASKED_CATEGORIES  # noqa: PLC0415 -- who has findings has the scanner

    return any(finding.category in MASKED_CATEGORIES for finding in found)


def _mark(part: Part) -> int:
    content = part.content
    return hash((part.type, part.name, content if isinstance(content, str) else _encoded(content)))


def _encoded(value: object) -> bytes | int:
    """A value as bytes to be hashed; one that cannot be encoded is itself only."""
    try:
        return msgspec.json.encode(value)
    except Exception:  # noqa: BLE001 -- whatever an SDK holds: a value that cannot be encoded is scanned each time
        return next(_serial)
