"""A conversation as a template writes it: turns with marked texts, notes, and the way of each untrusted value."""

from __future__ import annotations

from collections import defaultdict
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from cylestio_monitor.web import excerpts
from cylestio_monitor.web.marks import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cylestio_monitor.store.read.conversation.parts import TurnPart
    from cylestio_monitor.store.read.conversation.places import Places, ShownFinding, ShownValue, TextPlace
    from cylestio_monitor.store.read.conversation.transcript import Transcript, Turn
    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.read.queries import Row
    from cylestio_monitor.store.sqlite.records import Decision

TURNS: Final = 60
"""Turns of one page."""

MAX_RAILS: Final = 3
"""Values whose way is drawn; the others have letters only."""

_PAGE_TEXT: Final = 512_000  # code points of recorded text in one page


SPEAKERS: Final = {
    "system": "System",
    "instructions": "Instructions",
    "user": "User",
    "model": "Model",
    "tool": "Tool result",
    "program": "Program",
}


class ValueWay(NamedTuple):
    """An untrusted value with its letter.

    Attributes:
        letter: ``A`` to ``Z``; empty for a value without a way in this conversation.
        value: The value.
        text: Its words, where it was said first.
        said_by: The tool that said it first.
        has_rail: Whether its way is drawn.
    """

    letter: str
    value: ShownValue
    text: str
    said_by: str
    has_rail: bool


class Note(NamedTuple):
    """The note of one finding.

    Attributes:
        number: Its number in the conversation.
        finding: The finding.
        name: Its rule in words.
        copies: Spans that report the same text beside the first.
        is_masked: Whether the text is masked.
        is_placed: Whether its place in the text is known.
        letters: Letters of the values in the same text range.
        around: The words around it that the store keeps, where its text is not recorded.
        is_marked: Whether its mark stands in the page: the text may be cut before it, or have too many marks.
    """

    number: int
    finding: FindingRow
    name: str
    copies: int
    is_masked: bool
    is_placed: bool
    letters: tuple[str, ...]
    around: list[excerpts.TextPiece]
    is_marked: bool = False


class TextRow(msgspec.Struct):
    """One text of a part: its name inside the part, its pieces, and the values that stand in it.

    Attributes:
        path: Its name inside the part.
        pieces: Its pieces.
        left_out: Code points that are not shown.
        size: All its code points.
        whole: The query of the page that shows the whole text.
        used: The values that stand in it.
    """

    path: str
    pieces: list[excerpts.TextPiece]
    left_out: int
    size: int
    whole: str
    used: list[ValueWay] = []


class PartView(msgspec.Struct):
    """One part of a turn as it is shown; `decisions` are those about its tool call."""

    kind: str
    name: str
    rows: list[TextRow]
    left_out: int
    span: Row | None
    is_answered: bool
    decisions: list[Decision]


class TurnView(msgspec.Struct):
    """One turn as it is shown.

    Attributes:
        number: From 1, in the whole conversation.
        speaker: Key of `SPEAKERS`, or the role that the application gave.
        label: The speaker in words.
        turn: The turn.
        parts: Its parts.
        notes: Notes of its findings.
        said: Values that were said here first.
        rails: For each drawn value that passes here: letter and ``from``, ``through`` or ``to``.
        thread: Number of its thread, from 1.
        starts_thread: Whether a thread begins here.
        is_rewritten: Whether the history before this turn was changed.
    """

    number: int
    speaker: str
    label: str
    turn: Turn
    parts: list[PartView]
    notes: list[Note]
    said: list[ValueWay]
    rails: list[tuple[str, str]]
    thread: int
    starts_thread: bool
    is_rewritten: bool


class ConversationView:
    """The conversation of one trace.

    Attributes:
        ways: The untrusted values.
        notes: The notes of all findings, by number.
        loose: Notes of findings whose text was not recorded.
    """

    def __init__(
        self,
        read: Transcript,
        places: Places,
        findings: Sequence[ShownFinding],
        values: Sequence[ShownValue],
        decisions: Mapping[str, list[Decision]],
        titles: Callable[[str], str],
        key: bytes | None,
    ) -> None:
        """Numbers the findings and gives the values their letters.

        Args:
            read: The conversation.
            places: Finds texts in it.
            findings: Its findings, in their order.
            values: Its untrusted values.
            decisions: The decisions about each span.
            titles: Gives the title of a rule.
            key: The key of the hashes of matches.
        """
        self._titles = titles
        self._key = key
        self._read = read
        self._findings = findings
        self._decisions = decisions
        self.ways = _ways(values, places)
        self.notes = [self._note(number, found) for number, found in enumerate(findings, 1)]
        self.loose = [note for note, found in zip(self.notes, findings, strict=True) if found.turn is None]
        self._marks: dict[tuple[int, int, int], list[Mark]] = defaultdict(list)
        for number, found in enumerate(findings, 1):
            if found.place is not None:
                name = titles(found.finding.rule_id) if found.is_masked else ""
                mark = Mark(f"m{number}", *found.place[3:], severity=found.finding.severity, number=number, masked=name)
                self._marks[found.place[:3]].append(mark)
        for way in self.ways:
            if (source := way.value.source) is not None and source.end > source.start:
                self._marks[source[:3]].append(Mark(f"v{way.letter}", source.start, source.end, letter=way.letter))

    def page(self, first: int) -> list[TurnView]:
        """The turns of one page.

        Args:
            first: Index of its first turn.
        """
        budget = _PAGE_TEXT
        views: list[TurnView] = []
        number = 0
        for thread_number, thread in enumerate(self._read.threads, 1):
            for at, turn in enumerate(thread.turns):
                number += 1
                if not first < number <= first + TURNS:
                    continue
                parts = []
                for index, part in enumerate(turn.parts):
                    parts.append(self._part(number - 1, index, part, budget))
                    budget -= sum(row.size - row.left_out for row in parts[-1].rows)
                views.append(
                    TurnView(
                        number=number,
                        speaker=turn.speaker,
                        label=SPEAKERS.get(turn.speaker, turn.speaker),
                        turn=turn,
                        parts=parts,
                        notes=self._notes_of(number - 1, parts),
                        said=[way for way in self.ways if way.value.source and way.value.source.turn == number - 1],
                        rails=[rail for way in self.ways if (rail := _rail(way, number - 1)) is not None],
                        thread=thread_number,
                        starts_thread=at == 0 or number == first + 1,
                        is_rewritten=at in thread.rewritten,
                    )
                )
        return views

    def _notes_of(self, turn: int, parts: list[PartView]) -> list[Note]:
        rows = (row for part in parts for row in part.rows)
        segments = (segment for row in rows for piece in row.pieces for segment in piece.segments)
        marked = {mark for segment in segments for mark in segment.starts}
        own = (note for note, found in zip(self.notes, self._findings, strict=True) if found.turn == turn)
        return [note if note.around else note._replace(is_marked=f"m{note.number}" in marked) for note in own]

    def _part(self, turn: int, index: int, part: TurnPart, budget: int) -> PartView:
        rows = []
        for number, leaf in enumerate(part.leaves):
            over = self._marks.get((turn, index, number), [])
            shown, left_out = excerpts.pieces(leaf.text, over, max(0, min(budget, excerpts.MAX_TEXT)))
            budget -= len(leaf.text) - left_out
            used = [way for way in self.ways if way.value.use and way.value.use[:3] == (turn, index, number)]
            rows.append(TextRow(leaf.path, shown, left_out, len(leaf.text), _whole(part, number), used))
        decisions: list[Decision] = []
        if part.kind == "tool_call":
            spans = {place.span_id for place in part.places[:1]}
            if part.tool_span is not None:
                spans.add(part.tool_span["span_id"])
            about = (one for span in sorted(spans) for one in self._decisions.get(span, ()))
            decisions = [one for one in about if one.tool is None or _last_name(one.tool) == _last_name(part.name)]
        return PartView(part.kind, part.name, rows, part.left_out, part.tool_span, part.is_answered, decisions)

    def _note(self, number: int, found: ShownFinding) -> Note:
        letters = tuple(
            way.letter
            for way in self.ways
            if found.place is not None
            and any(place is not None and _covers(found.place, place) for place in way.value[1:])
        )
        copies = len({one.span_id for one in found.again} - {found.finding.span_id})
        name = self._titles(found.finding.rule_id)
        is_placed = found.place is not None
        around = [] if is_placed else excerpts.around(found.finding, self._key, name, number)
        is_marked = any(segment.starts for piece in around for segment in piece.segments)
        return Note(number, found.finding, name, copies, found.is_masked, is_placed, letters, around, is_marked)

    def address(self, turn: int, first: int) -> str:
        """The address of a turn from the page that begins with another one.

        Args:
            turn: Index of the turn.
            first: Index of the first turn of the page.
        """
        begin = turn // TURNS * TURNS
        return f"#t{turn + 1}" if begin == first else f"?from={begin}#t{turn + 1}"


def _last_name(tool: str) -> str:
    return tool.rpartition("/")[2]


def _whole(part: TurnPart, leaf: int) -> str:
    """The address of the page with a whole text, below that of the run."""
    place = part.places[0]
    query = urlencode({"attribute": place.attribute, "part": place.pointer, "leaf": leaf})
    return f"span/{place.span_id}/text?{query}"


def _ways(values: Sequence[ShownValue], places: Places) -> list[ValueWay]:
    ways: list[ValueWay] = []
    for value in values:
        has_way = value.source is not None and value.use is not None and value.source.turn < value.use.turn
        lettered = sum(bool(way.letter) for way in ways)
        letter = ascii_uppercase[lettered] if has_way and lettered < len(ascii_uppercase) else ""
        text = places.text(value.source) if value.source is not None else ""
        said_by = value.origin.origin.removeprefix("tool:")
        ways.append(ValueWay(letter, value, text[:200], said_by, bool(letter) and lettered < MAX_RAILS))
    return ways


def _rail(way: ValueWay, turn: int) -> tuple[str, str] | None:
    source, use = way.value.source, way.value.use
    if not way.has_rail or source is None or use is None or not source.turn <= turn <= use.turn:
        return None
    return way.letter, "from" if turn == source.turn else "to" if turn == use.turn else "through"


def _covers(one: TextPlace, other: TextPlace) -> bool:
    """Returns whether two places share a text, and overlap where both are ranges."""
    is_whole = other.start == other.end
    return one[:3] == other[:3] and (is_whole or (one.start < other.end and other.start < one.end))
