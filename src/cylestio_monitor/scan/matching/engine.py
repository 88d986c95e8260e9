"""Tells which literals stand in a text; only the rules that need no other are looked at closer.

A text is searched as bytes in which white space is single blanks. Both engines answer the same question exactly, so
which one is in use changes the time only.
"""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, Protocol

import msgspec

from cylestio_monitor.rules.literals import EDGE, MARK
from cylestio_monitor.rules.prefilter import DIGITS, SHORTEST_DIGITS, START, asked_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule

DOUBLE_BLANK = "  "
"""A literal of every index: where it stands, white space is not single blanks yet."""

DOUBLE = 0
"""Its number."""

EVER = -1
_GRAM = 4
_OTHER_BLANKS = (b"\n", b"\t", b"\r", b"\v", b"\f")


def searchable(text: str) -> bytes:
    """The text as it is searched, but for runs of blanks; begins and ends with a blank."""
    data = text.encode("utf-8", "surrogatepass")
    for blank in _OTHER_BLANKS:
        data = data.replace(blank, b" ")
    return b" " + data.strip() + b" "


def single_blanks(data: bytes) -> bytes:
    """The same with every run of blanks as one."""
    return b" %b " % b" ".join(filter(None, [piece.strip() for piece in data.split(b"  ")]))


class Index(msgspec.Struct, frozen=True, array_like=True):
    """Which plan needs which literals.

    Attributes:
        literals: The literals and expressions to look for; a literal's place is its number.
        chosen: The places of the plans.
        leads: Of each chosen plan the literals of its first clause, by the number under which each is reported;
            `EVER` for what no engine looks for.
        others: The numbers of its further clauses.
        led: The plans that a literal leads to.
        always: The plans that may match any text.
    """

    literals: list[str]
    chosen: list[int]
    leads: dict[int, dict[int, str]]
    others: dict[int, list[frozenset[int]]]
    led: dict[int, list[int]]
    always: list[int]

    @classmethod
    def of(cls, plans: Sequence[CompiledRule], chosen: Iterable[int], gates: Iterable[str] = ()) -> Index:
        """Numbers the literals.

        Args:
            plans: All plans.
            chosen: Places of those that are looked for.
            gates: Further literals to look for.
        """
        numbers: dict[str, int] = {DOUBLE_BLANK: DOUBLE}

        def numbered(literal: str) -> int:
            return numbers.setdefault(SHORTEST_DIGITS if literal in DIGITS else literal, len(numbers))

        for gate in gates:
            numbered(gate)
        made = cls([], list(chosen), {}, {}, {}, [])
        for place in made.chosen:
            lead, *others = plans[place].clauses
            if lead[0] in {MARK, START}:
                made.always.append(place)
                made.leads[place] = {EVER: lead[0]}
                continue
            made.leads[place] = {numbered(literal): literal for literal in lead}
            for number in made.leads[place]:
                made.led.setdefault(number, []).append(place)
            if others:
                made.others[place] = [frozenset(map(numbered, clause)) for clause in others]
        made.literals.extend(numbers)
        return made

    def candidates(self, present: AbstractSet[int], wanted: Sequence[bool]) -> list[int]:
        """The plans all of whose clauses are met, of those that are wanted.

        Args:
            present: Numbers of the literals that stand in the text.
            wanted: Of every plan whether it is asked for.
        """
        found = {place for place in self.always if wanted[place]}
        for number in present:
            for place in self.led.get(number, ()):
                if wanted[place]:
                    others = self.others.get(place)
                    if others is None or not any(map(present.isdisjoint, others)):
                        found.add(place)
        return sorted(found)


class Engine(Protocol):
    """One way to tell which literals stand in a text."""

    name: str

    def present(self, data: bytes) -> set[int]:
        """Numbers of the literals that stand in a text made `searchable`.

        Of a text that holds `DOUBLE_BLANK` its number at least, as the text is to be searched with single blanks.
        """
        ...


class PythonEngine:
    """Looks the literals up among the runs of four bytes that the text holds: no dependency, the same answers."""

    name = "python"

    def __init__(self, literals: Sequence[str]) -> None:
        """Orders the literals by their last four bytes; the shorter ones and expressions are searched one by one."""
        self._by_gram: dict[int, list[tuple[bytes, int, re.Pattern[bytes] | None]]] = {}
        self._short: list[tuple[bytes, int, re.Pattern[bytes] | None]] = []
        self._expressions: list[tuple[list[bytes], re.Pattern[bytes], int]] = []
        for number, literal in enumerate(literals):
            if literal.startswith(MARK):
                expression = literal[1:]
                compiled = re.compile(expression.encode(), re.IGNORECASE)
                self._expressions.append((asked_for(expression), compiled, number))
                continue
            body = literal.strip(EDGE).encode("utf-8", "surrogatepass")
            bordered = None
            if EDGE in literal:
                lead, tail = (rb"\b" if edge == EDGE else b"" for edge in (literal[0], literal[-1]))
                bordered = re.compile(lead + re.escape(body) + tail)
            entry = (body, number, bordered)
            if len(body) < _GRAM:
                self._short.append(entry)
            else:
                self._by_gram.setdefault(array("I", body[-_GRAM:])[0], []).append(entry)

    def present(self, data: bytes) -> set[int]:
        """Numbers of the literals that stand in a text made `searchable`; see `Engine`."""
        if b"  " in data:
            return {DOUBLE}
        low = data.lower()
        grams: set[int] = set()
        for offset in range(_GRAM):
            end = len(low) - (len(low) - offset) % _GRAM
            grams.update(array("I", low[offset:end]))
        near = [entry for gram in grams.intersection(self._by_gram) for entry in self._by_gram[gram]]
        found = {
            number
            for wanted, expression, number in self._expressions
            if all(any(byte in data for byte in choice) for choice in wanted) and expression.search(data)
        }
        for body, number, bordered in (*near, *self._short):
            if body in low and (bordered is None or bordered.search(low)):
                found.add(number)
        return found
