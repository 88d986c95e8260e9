"""The places of the texts of a call in its recorded content: attribute, JSON pointer, first speaker, and masks.

A finding names the place of its text in the SDK's request or answer, with offsets of the original. What is recorded has
another form, and masks shift the offsets. Both are known when the call is recorded, and only then.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.model import (
    TOOL_CALLS,
    Finding,
    LocatedFinding,
    RecordedText,
    speaker_of,
)
from cylestio_monitor.sanitize import pointer_token
from cylestio_monitor.scan.walk import LONG_KEY, MAX_DEPTH, MAX_NAME, as_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cylestio_monitor.emit.call_parts import CallParts
    from cylestio_monitor.emit.span_sink import SpanSink
    from cylestio_monitor.inspection import Inspection
    from cylestio_monitor.model import Call, Message, Result

log = logging.getLogger(__name__)

MAX_TEXTS: Final = 200
"""Texts of one call whose place is recorded."""

_INDEX: Final = re.compile(r"\[(\d{1,9})\]")
_ROOT: Final = re.compile(r"[^.\[]*")
_SHORTEST_MASKED: Final = 6  # code points of the shortest secret


class CallText(NamedTuple):
    """One content of a call, or one text inside it.

    Attributes:
        content: The text, or the JSON-like value.
        attribute: The content attribute.
        pointer: JSON pointer in that attribute.
        source: Who said it.
        owner: The part, tool, call or result that it belongs to.
        key: The nearest key above the text.
        is_key: Whether the text is itself a key: no pointer leads to it.
    """

    content: object
    attribute: str
    pointer: str
    source: str
    owner: object
    key: str = ""
    is_key: bool = False


class RecordedTexts:
    """The places of the flagged and the masked texts of one call."""

    def __init__(self, call: Call, sink: SpanSink, parts: CallParts, inspection: Inspection) -> None:
        """Reads nothing yet.

        Args:
            call: The call.
            sink: Its span.
            parts: The parts of the pipeline.
            inspection: The scan of the call.
        """
        self._call = call
        self._sink = sink
        self._parts = parts
        self._inspection = inspection
        self._texts: dict[tuple[str, str], CallText] = {}

    def place(self, result: Result | None) -> None:
        """Gives the findings of the call their place, as far as it is known by now. Never raises.

        Args:
            result: The answer, where it has come.
        """
        found = self._inspection.found
        if found is None:
            return
        try:
            contents = functools.cache(lambda: self._contents(result))  # read only where a finding has no place yet
            found.place(lambda one: self._placed(one, found.original_paths.get(one.path, one.path), contents()))
        except Exception:  # whatever an SDK put into the call: the findings count without their place
            log.debug("The places of findings are not known", exc_info=True)

    def store(self, result: Result | None) -> None:
        """Stores the places of the flagged and the masked texts of the call, once it is recorded. Never raises.

        Args:
            result: The answer, as far as it came.
        """
        store, found = self._parts.store, self._inspection.found
        is_stored = found is not None and (bool(found.kept) or self._sink.span.is_recording())
        if store is None or self._parts.content == "none" or not is_stored:
            return
        try:
            known = {path for path, _ in self._texts}
            missing = [path for path in self._inspection.masked_paths if path and path not in known]
            contents = self._contents(result) if missing else {}
            for path in missing[:MAX_TEXTS]:
                text = next(_texts_at(path, contents), None)
                if text is not None and not text.is_key and (text := self._as_recorded(path, text)).attribute:
                    self._texts[path, text.pointer] = text
            rows = [self._row(path, text) for (path, _), text in list(self._texts.items())[:MAX_TEXTS]]
            place = self._sink.span.get_span_context()
            if rows:
                store.add_texts(place.trace_id, place.span_id, rows)
        except Exception:  # as above
            log.debug("The places of texts could not be stored", exc_info=True)

    def _contents(self, result: Result | None) -> dict[str, list[CallText]]:
        contents: dict[str, list[CallText]] = {}
        for path, content in _contents(self._call, result, self._parts.redact):
            contents.setdefault(path, []).append(content)
        return contents

    def _placed(self, finding: Finding, path: str, contents: dict[str, list[CallText]]) -> Finding:
        texts = list(_texts_at(path, contents))
        text = next((one for one in texts if self._is_match(finding, one)), texts[0] if len(texts) == 1 else None)
        if text is None or not isinstance(text.content, str):
            is_model = finding.target == "output" and finding.subtype in {"llm", "tool_call"}
            return _with_place(finding, source="model") if is_model else finding
        part_id = self._parts.scanner.text_hash(text.content)
        trace_id = self._sink.span.get_span_context().trace_id
        source = self._parts.speakers.of(trace_id, part_id, text.source)
        if self._parts.content != "none" and not text.is_key:
            text = self._as_recorded(path, text)
        else:
            text = text._replace(attribute="", pointer="")
        if text.attribute:
            self._texts[path, text.pointer] = text._replace(source=source)
        return _with_place(finding, text.attribute, text.pointer, part_id, source)

    def _is_match(self, finding: Finding, text: CallText) -> bool:
        """Returns whether the text at the place of a finding is the one that was found, where that can be told."""
        if not finding.match_hash or not isinstance(text.content, str):
            return False
        return self._parts.scanner.text_hash(text.content[finding.start : finding.end]) == finding.match_hash

    def _as_recorded(self, path: str, text: CallText) -> CallText:
        """Returns a text with its place in the attribute that the span has; without one where that is not known."""
        there = self._sink.recorded(text.attribute)
        if there is None:
            return text._replace(pointer=self._safe(text.pointer)) if self._inspection.is_masked(text.owner) else text
        # Another instrumentation has recorded the content: in its attribute, the same text stands at the same path.
        base = text.attribute if path.startswith(text.attribute) else _ROOT.match(path)[0]  # type: ignore[index] # it matches any text
        written = text._replace(content=_decoded(there), pointer="", key="")
        same = next((one for one in _texts_at(path, {base: [written]}) if one.content == text.content), None)
        return text._replace(attribute="", pointer="") if same is None else text._replace(pointer=same.pointer)

    def _safe(self, pointer: str) -> str:
        """Returns a pointer into a masked value, whose keys are masked too."""
        names = pointer.split("/")
        return "/".join(self._parts.scanner.mask(name) if len(name) >= _SHORTEST_MASKED else name for name in names)

    def _row(self, path: str, text: CallText) -> RecordedText:
        content = str(text.content)
        masks: Sequence[tuple[int, int, int]] = ()
        if self._inspection.is_masked(text.owner):
            masks = self._inspection.masked_text(content, text.key, text.owner).masks
        part_id = self._parts.scanner.text_hash(content)
        path = self._parts.redact(path)
        return RecordedText(path, text.attribute, text.pointer, part_id, text.source, len(content), masks)


def _with_place(
    finding: Finding, attribute: str = "", pointer: str = "", part_id: str = "", source: str = ""
) -> LocatedFinding:
    values = {name: getattr(finding, name) for name in Finding.__slots__}
    return LocatedFinding(**values, attribute=attribute, pointer=pointer, part_id=part_id, source=source)


def _contents(call: Call, result: Result | None, redact: Callable[[str], str]) -> Iterator[tuple[str, CallText]]:
    """Yields the contents of a call, each with its path, as the scan walks them."""

    def by_tool(name: object) -> str:
        return redact(f"tool:{name or 'unknown'}")

    names = {part.id: part.name for one in call.messages for part in one.parts if part.type in TOOL_CALLS}
    for number, part in enumerate(call.system):
        pointer = f"/{number}/{part.content_field}"
        yield part.path, CallText(part.content, semconv.SYSTEM_INSTRUCTIONS, pointer, "system", part)
    sides: tuple[tuple[str, Iterable[Message]], ...] = (
        (semconv.INPUT_MESSAGES, call.messages),
        (semconv.OUTPUT_MESSAGES, result.messages if result is not None else ()),
    )
    for attribute, messages in sides:
        for number, message in enumerate(messages):
            for index, part in enumerate(message.parts):
                pointer = f"/{number}/parts/{index}/{part.content_field}"
                speaker = speaker_of(part, message.role)
                source = by_tool(part.name or names.get(part.id)) if speaker == "tool" else speaker
                yield part.path, CallText(part.content, attribute, pointer, source, part)
    for number, tool in enumerate([*call.tools, *(result.tools if result is not None else ())]):
        fields: tuple[tuple[str, object], ...] = (
            ("name", tool.name),
            ("description", tool.description),
            ("parameters", tool.parameters),
        )
        for field, content in fields:
            pointer = f"/{number}/{field}"
            path = f"{tool.path}.{field}" if tool.path else field
            yield path, CallText(content, semconv.TOOL_DEFINITIONS, pointer, by_tool(tool.name), tool)
    if call.arguments is not None:
        yield "arguments", CallText(call.arguments, semconv.TOOL_CALL_ARGUMENTS, "", "model", call)
    if result is not None and result.response is not None:
        source = by_tool(call.tool_name or call.attributes.get(semconv.MCP_METHOD) or call.operation)
        yield "result", CallText(result.response, semconv.TOOL_CALL_RESULT, "", source, result)


def _texts_at(path: str, contents: Mapping[str, list[CallText]]) -> Iterator[CallText]:
    """Yields the texts at a path; several where keys hold dots or brackets, or where a key is a text of its own."""
    start = path
    while start not in contents:
        cut = max(start.rfind("."), start.rfind("["))
        if cut < 0:
            return
        start = start[:cut]
    waiting = [(start, one, 0) for one in contents[start]]
    while waiting:
        place, text, depth = waiting.pop()
        item = text.content
        if isinstance(item, (bytes, bytearray, memoryview)) or item is None:
            continue
        if place == path and isinstance(item, (str, int)) and not isinstance(item, bool):
            yield text._replace(content=item if type(item) is str else str(item))
            continue
        if isinstance(item, str) or depth > MAX_DEPTH:
            continue
        fields = as_mapping(item)
        if fields is not None:
            for name, child in list(fields.items()):
                key = name if type(name) is str else str(name)
                below = f"{place}.{key[:MAX_NAME]}" if place else key[:MAX_NAME]
                if below == path and len(key) > LONG_KEY:
                    yield text._replace(content=key, is_key=True)
                if below == path or (path.startswith(below) and path[len(below)] in ".["):
                    waiting.append((below, _child(text, child, key, key), depth + 1))
        elif isinstance(item, Sequence) and (index := _INDEX.match(path, len(place))) is not None:
            number = int(index[1])
            if number < len(item):
                waiting.append((f"{place}{index[0]}", _child(text, item[number], str(number), text.key), depth + 1))


def _child(text: CallText, content: object, name: str, key: str) -> CallText:
    return text._replace(content=content, pointer=f"{text.pointer}/{pointer_token(name)}", key=key)


def _decoded(value: object) -> Any:
    """Returns the value of an attribute that holds JSON; any other text as it is."""
    try:
        return msgspec.json.decode(value) if isinstance(value, str) else value
    except (msgspec.DecodeError, RecursionError):
        return value
