"""The places of findings and of untrusted values in a conversation.

The store has the attribute and the JSON pointer of each flagged text, and the ranges of it that are masked. A finding
without such a reference, as an earlier version stored it, is shown without a place: none is searched for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor.sanitize import CUT
from cylestio_monitor.scan.results.redaction import TOKEN
from cylestio_monitor.store.read.values import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cylestio_monitor.store.read.conversation.parts import TextLeaf, TurnPart
    from cylestio_monitor.store.read.conversation.transcript import Transcript
    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.sqlite.records import RecordedPart, ValueOrigin

_PART: Final = re.compile(r"/\d+/parts/\d+|/\d+")
"""The pointer of a part of a message, or of the system instructions."""

_WORDS: Final = re.compile(r"[^\W_]+")
_MASK: Final = re.compile(TOKEN)


class TextPlace(NamedTuple):
    """A range of one text of the conversation.

    Attributes:
        turn: Index of the turn.
        part: Index of the part in the turn.
        leaf: Index of the text in the part.
        start: First code point.
        end: The code point after the last; equal to `start` where only the text is known.
    """

    turn: int
    part: int
    leaf: int
    start: int
    end: int


class ShownFinding(NamedTuple):
    """A finding in the conversation.

    Attributes:
        finding: The first of the equal findings.
        place: Its place; `None` where it is not recorded.
        turn: Index of the turn that it is shown with; `None` where its part is not recorded.
        again: The equal findings: of the tool's own span, and of later calls that were given the same text.
        is_masked: Whether a mask stands there.
    """

    finding: FindingRow
    place: TextPlace | None
    turn: int | None
    again: tuple[FindingRow, ...] = ()
    is_masked: bool = False


class ShownValue(NamedTuple):
    """An untrusted value in the conversation: from where it was said first to the call that used it.

    Attributes:
        origin: The row of the store.
        source: Where it was said first; `None` where that was not recorded in this conversation.
        use: The argument; `None` where that was not recorded.
    """

    origin: ValueOrigin
    source: TextPlace | None
    use: TextPlace | None


class _ShownPart(NamedTuple):
    turn: int
    number: int
    part: TurnPart


class Places:
    """Finds places in one conversation."""

    def __init__(self, read: Transcript) -> None:
        """Finds the recorded texts; a text that holds JSON and is flagged is shown as a whole.

        Args:
            read: The conversation.
        """
        self._turns = read.turns
        self._of_span: dict[str, list[tuple[str, str, _ShownPart]]] = defaultdict(list)
        for number, turn in enumerate(self._turns):
            for index, part in enumerate(turn.parts):
                for place in part.places:
                    self._of_span[place.span_id].append(
                        (place.attribute, place.pointer, _ShownPart(number, index, part))
                    )
        self._recorded: dict[tuple[str, str, str], RecordedPart] = {}
        self._by_path: dict[tuple[str, str], RecordedPart] = {}
        self._of_text: dict[str, list[RecordedPart]] = defaultdict(list)
        for row in read.recorded:
            self._recorded[row.span_id, row.attribute, row.pointer] = row
            self._by_path[row.span_id, row.path] = row
            self._of_text[row.part_id].append(row)
        self._texts = {key: self._text_of(row) for key, row in self._recorded.items()}

    def findings(self, rows: Iterable[FindingRow]) -> list[ShownFinding]:
        """The findings, equal ones joined, in the order of the conversation.

        Args:
            rows: The findings of the trace, in the order in which they came.
        """
        joined: dict[tuple[object, ...], ShownFinding] = {}
        for row in rows:
            found = self._finding(row)
            key: tuple[object, ...] = (row.rule_id, found.place or (found.turn, row.match_hash, row.path))
            if found.place is None and found.turn is None:
                key = (row.rule_id, row.match_hash or row.path)
            known = joined.get(key)
            joined[key] = found if known is None else known._replace(again=(*known.again, row))
        return sorted(joined.values(), key=_order)

    def values(self, rows: Iterable[ValueOrigin]) -> list[ShownValue]:
        """The untrusted values, in the order of the calls that used them."""
        found = []
        for row in rows:
            use = self._argument(row)
            source = self._source(row)
            if use is not None and source is not None and not _is_said(self.text(source), self.whole(use)):
                source = source._replace(start=0, end=0)
            found.append(ShownValue(row, source, use))
        return sorted(found, key=lambda one: (one.use is None, one.use or ()))

    def text(self, place: TextPlace) -> str:
        """The text of a place."""
        return self.whole(place)[place.start : place.end]

    def whole(self, place: TextPlace) -> str:
        """The whole text that a place is in."""
        return self._turns[place.turn].parts[place.part].leaves[place.leaf].text

    def _finding(self, row: FindingRow) -> ShownFinding:
        recorded = self._recorded.get((row.span_id, row.attribute or "", row.pointer or ""))
        if recorded is None:  # reported while the answer came: the place was not known yet
            recorded = self._by_path.get((row.span_id, row.path))
        if recorded is None:
            return ShownFinding(row, None, None)
        turn: int | None = None
        for one in (recorded, *self._of_text[recorded.part_id]):
            text = self._texts[one.span_id, one.attribute, one.pointer]
            if text is None:
                continue
            turn = text.turn if turn is None else turn
            place = self._range(text, one, row.start, row.end)
            if place is not None:
                is_masked = any(start <= row.start and row.end <= end for start, end, _ in _masks(one))
                return ShownFinding(row, place, place.turn, is_masked=is_masked)
        return ShownFinding(row, None, turn)

    def _text_of(self, row: RecordedPart) -> TextPlace | None:
        """The text that a row names, as a place of no length; `None` where it is not in the conversation."""
        for part, pointer in self._parts_at(row.span_id, row.attribute, row.pointer):
            if part.part.whole is not None and part.part.whole.pointer == pointer:
                part.part.show_whole()
            for number, leaf in enumerate(part.part.leaves):
                if leaf.pointer == pointer:
                    return TextPlace(part.turn, part.number, number, 0, 0)
        return None

    def _parts_at(self, span_id: str, attribute: str, pointer: str) -> Iterator[tuple[_ShownPart, str]]:
        """The parts that a pointer leads into, each with the rest of the pointer in the part."""
        found = _PART.match(pointer)
        for name, place, part in self._of_span.get(span_id, ()):
            if name != attribute:
                continue
            if not place:  # the arguments or the result of a tool: joined with the part of the message that has them
                yield part, f"{part.part.base}{pointer}"
            elif found is not None and found[0] == place:
                yield part, pointer[found.end() :]

    def _range(self, text: TextPlace, row: RecordedPart, start: int, end: int) -> TextPlace | None:
        """The range of a recorded text that an original range is in; `None` where the text is not the recorded one."""
        masks = _masks(row)
        shown = self.whole(text)
        length = row.length + sum(size - (last - first) for first, last, size in masks)
        limit = len(shown)
        if shown.endswith(CUT) and len(shown) < length + len(CUT):
            limit -= len(CUT)
        elif len(shown) != length:
            return None
        start, end = _shifted(start, masks, is_end=False), _shifted(end, masks, is_end=True)
        return text._replace(start=start, end=end) if 0 <= start <= end <= limit else None

    def _argument(self, row: ValueOrigin) -> TextPlace | None:
        """The argument that a value stands in."""
        for _, _, part in self._of_span.get(row.span_id, ()):
            for number, leaf in enumerate(part.part.leaves if part.part.kind == "tool_call" else ()):
                if leaf.path == row.argument:
                    return TextPlace(part.turn, part.number, number, 0, 0)
        return None

    def _source(self, row: ValueOrigin) -> TextPlace | None:
        """The text that said a value first; without a range where only the text is known."""
        if row.source_span_id is None or row.source_attribute is None:
            return None
        pointer = row.source_pointer or ""
        for part, rest in self._parts_at(row.source_span_id, row.source_attribute, pointer):
            leaves: Sequence[TextLeaf] = part.part.leaves
            whole = TextPlace(part.turn, part.number, 0, 0, 0)
            number = next((at for at, leaf in enumerate(leaves) if leaf.pointer == rest), None)
            if number is None:
                return whole
            text = whole._replace(leaf=number)
            if row.source_start is None or row.source_end is None:
                return text
            recorded = self._recorded.get((row.source_span_id, row.source_attribute, pointer))
            if recorded is not None:
                return self._range(text, recorded, row.source_start, row.source_end) or text
            if _MASK.search(leaves[number].text) or row.source_end > len(leaves[number].text):
                return text
            return text._replace(start=row.source_start, end=row.source_end)
        return None


def _is_said(said: str, argument: str) -> bool:
    """Returns whether the words of one text stand in another one; a text of another form may be in an attribute."""
    return f" {' '.join(_WORDS.findall(said.casefold()))} " in f" {' '.join(_WORDS.findall(argument.casefold()))} "


def _masks(row: RecordedPart) -> list[tuple[int, int, int]]:
    """The masked ranges of a text: begin and end in the original, and the length of the token."""
    masks = decoded(row.masks, [])
    if not isinstance(masks, list):
        return []
    return [tuple(one) for one in masks if isinstance(one, list) and len(one) == 3 and all(type(n) is int for n in one)]


def _shifted(at: int, masks: Iterable[tuple[int, int, int]], *, is_end: bool) -> int:
    """The offset in a masked text of one in the original; of one inside a mask, the border of the mask."""
    moved = 0
    for start, end, size in masks:
        if at <= start:
            break
        if at < end:
            return start + moved + (size if is_end else 0)
        moved += size - (end - start)
    return at + moved


def _order(found: ShownFinding) -> tuple[bool, Sequence[int], int]:
    where: Sequence[int] = found.place if found.place is not None else (found.turn or 0, 1 << 30)
    return found.turn is None, where, found.finding.id
