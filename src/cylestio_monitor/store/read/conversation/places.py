"""The places of findings and of untrusted values in a conversation.

A finding names the place in the request of the SDK, with offsets of the original text. Recorded text is masked and has
another form. A place counts only where it is proved: the keyed hash of the text there is the finding's, or the mask
there names its rule and begins with its hash.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor import semconv
from cylestio_monitor.scan.results.match_hash import match_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cylestio_monitor.store.read.conversation.parts import PartPlace, TextLeaf, TurnPart
    from cylestio_monitor.store.read.conversation.transcript import Transcript
    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.sqlite.records import ValueOrigin

_MASK: Final = re.compile(r"\[(?:secret|pii):([a-z0-9.-]+):([0-9a-f]{6})\]")
_SHIFTED: Final = 4000
"""Starts that are tried for a finding whose text was moved by a mask before it."""

_BUDGET: Final = 200_000
"""Hashes that are computed for one conversation."""

_TEXTS: Final = 300_000
"""Texts that are looked at for one conversation; what is not placed by then is shown without a place."""

_KINDS: Final = frozenset({"tool_call", "tool_result"})
"""Surfaces of findings that are kinds of parts too."""


class Mask(NamedTuple):
    """One mask in a recorded text.

    Attributes:
        start: First code point.
        end: The code point after the last.
        name: The part of the rule's id after its category.
        digits: The first 6 digits of the hash of the masked text.
    """

    start: int
    end: int
    name: str
    digits: str


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
        place: Its place; `None` where it cannot be proved.
        turn: Index of the turn that it is shown with; `None` where no recorded part fits.
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


class _RecordedAt(NamedTuple):
    turn: int
    part_index: int
    speaker: str
    part: TurnPart
    place: PartPlace


class Places:
    """Finds places in one conversation."""

    def __init__(self, read: Transcript, key: bytes) -> None:
        """Lists the parts that each span recorded.

        Args:
            read: The conversation.
            key: The key of the hashes of matches.
        """
        self._key = key
        self._left = _BUDGET
        self._texts = _TEXTS
        self._turns = read.turns
        self._of_span: dict[str, list[_RecordedAt]] = defaultdict(list)
        for number, turn in enumerate(self._turns):
            for index, part in enumerate(turn.parts):
                for place in part.places:
                    self._of_span[place.span_id].append(_RecordedAt(number, index, turn.speaker, part, place))

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
            found.append(ShownValue(row, self._source(row, use), use))
        return sorted(found, key=lambda one: (one.use is None, one.use or ()))

    def text(self, place: TextPlace) -> str:
        """The text of a place."""
        return self._leaf(place).text[place.start : place.end]

    def whole(self, place: TextPlace) -> str:
        """The whole text that a place is in."""
        return self._leaf(place).text

    def _leaf(self, place: TextPlace) -> TextLeaf:
        return self._turns[place.turn].parts[place.part].leaves[place.leaf]

    def _finding(self, row: FindingRow) -> ShownFinding:
        fitting = [one for one in self._of_span.get(row.span_id, ()) if _fits(one, row)]
        ranked = self._ranked(fitting, row.path)
        for candidate, number, leaf in ranked:
            for start, end, is_masked in self._proved(row, leaf.text):
                place = TextPlace(candidate.turn, candidate.part_index, number, start, end)
                return ShownFinding(row, place, candidate.turn, is_masked=is_masked)
        # Without proof the finding is shown with its turn, where only one can be meant.
        best = max((_agreement(row.path, one[0].place, one[2].path) for one in ranked), default=0)
        meant = [one for one in ranked if _agreement(row.path, one[0].place, one[2].path) == best]
        if not row.match_hash and len(meant) == 1 and best >= _END and not masks_of(meant[0][2].text):
            candidate, number, leaf = meant[0]
            if 0 <= row.start < row.end <= len(leaf.text):
                place = TextPlace(candidate.turn, candidate.part_index, number, row.start, row.end)
                return ShownFinding(row, place, candidate.turn)
        turns = {one[0].turn for one in meant}
        return ShownFinding(row, None, turns.pop() if len(turns) == 1 else None)

    def _ranked(self, candidates: Iterable[_RecordedAt], path: str) -> list[tuple[_RecordedAt, int, TextLeaf]]:
        """The texts of parts, those first whose places agree with a path of the SDK."""
        found = list(itertools.islice(_leaves(candidates), self._texts))
        self._texts -= len(found)
        return sorted(found, key=lambda one: -_agreement(path, one[0].place, one[2].path))

    def _proved(self, row: FindingRow, text: str) -> Iterator[tuple[int, int, bool]]:
        """The ranges of a text that are proved to be those of a finding."""
        if not row.match_hash:
            return
        masks = masks_of(text)
        name = row.rule_id.partition(".")[2]
        for mask in masks:
            if mask.name == name and row.match_hash.startswith(mask.digits):
                yield mask.start, mask.end, True
                return
        length = row.end - row.start
        if length <= 0:
            return
        if self._is_match(row, text, row.start):
            yield row.start, row.end, False
        elif masks and masks[0].end <= row.start + 64:
            last = min(len(text) - length, masks[0].end + _SHIFTED)
            for start in range(masks[0].end, last + 1):
                if self._is_match(row, text, start):
                    yield start, start + length, False
                    return

    def _is_match(self, row: FindingRow, text: str, start: int) -> bool:
        end = start + row.end - row.start
        if start < 0 or end > len(text) or self._left <= 0:
            return False
        self._left -= 1
        return match_hash(text[start:end], self._key) == row.match_hash

    def _argument(self, row: ValueOrigin) -> TextPlace | None:
        """The argument that a value stands in."""
        wanted = row.argument.lstrip("/").replace("/", ".")
        for candidate, number, leaf in _leaves(self._of_span.get(row.span_id, ())):
            if candidate.part.kind == "tool_call" and leaf.path == wanted:
                return TextPlace(candidate.turn, candidate.part_index, number, 0, 0)
        return None

    def _source(self, row: ValueOrigin, use: TextPlace | None) -> TextPlace | None:
        """The text that said a value first: the argument and that text both hold the same words."""
        argument = " ".join(self._leaf(use).text.split()).casefold() if use is not None else ""
        candidates = [one for one in self._of_span.get(row.source_span_id or "", ()) if one.part.kind == "tool_result"]
        pointer = row.source_pointer or ""
        ranked = self._ranked(candidates, pointer)
        for candidate, number, leaf in ranked if argument else ():
            start, end = row.source_start or 0, row.source_end or 0
            said = " ".join(leaf.text[start:end].split()).casefold()
            if said and said in argument:
                return TextPlace(candidate.turn, candidate.part_index, number, start, end)
            at = leaf.text.casefold().find(argument)
            if at >= 0 and len(leaf.text.casefold()) == len(leaf.text):
                return TextPlace(candidate.turn, candidate.part_index, number, at, at + len(argument))
        turns = {one.turn for one in candidates if _agreement(pointer, one.place, "") > 0}
        return TextPlace(turns.pop(), 0, 0, 0, 0) if len(turns) == 1 else None


def masks_of(text: str) -> list[Mask]:
    """The masks in a recorded text."""
    if "[" not in text:
        return []
    return [Mask(found.start(), found.end(), found[1], found[2]) for found in _MASK.finditer(text)]


def _leaves(candidates: Iterable[_RecordedAt]) -> Iterator[tuple[_RecordedAt, int, TextLeaf]]:
    for candidate in candidates:
        for number, leaf in enumerate(candidate.part.leaves):
            yield candidate, number, leaf


def _fits(candidate: _RecordedAt, row: FindingRow) -> bool:
    """Returns whether a part is of the surface that a finding names."""
    if row.subtype in _KINDS:
        return candidate.part.kind == row.subtype
    if row.subtype == "system":
        return candidate.speaker in {"system", "instructions"}
    if row.subtype == "tool_definition":  # no message: the page of the tool shows it
        return False
    is_answer = candidate.place.attribute == semconv.OUTPUT_MESSAGES
    return candidate.part.kind not in _KINDS and is_answer == (row.target == "output")


_END: Final = 2  # the weight of an equal end of the path


def _agreement(path: str, place: PartPlace, leaf: str) -> int:
    """The degree to which a path of the SDK and a recorded place agree: 2 for the end, 1 for the message."""
    tail = leaf if leaf.startswith("[") or not leaf else f".{leaf}"
    number = place.pointer.split("/")[1] if place.pointer else ""
    return _END * bool(leaf and path.endswith(tail)) + bool(not number or f"[{number}]" in path[: path.find("]") + 1])


def _order(found: ShownFinding) -> tuple[bool, Sequence[int], int]:
    where: Sequence[int] = found.place if found.place is not None else (found.turn or 0, 1 << 30)
    return found.turn is None, where, found.finding.id
