"""The engine in pure Python: searches for the literals of the rules, without a dependency."""

from __future__ import annotations

import re
from array import array
from functools import cached_property
from typing import TYPE_CHECKING

from cylestio_monitor.rules.literals import EDGE, MARK
from cylestio_monitor.rules.prefilter import asked_for
from cylestio_monitor.scan.matching.engine import Candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule
    from cylestio_monitor.scan.matching.literal_index import LiteralIndex
    from cylestio_monitor.scan.matching.searched_text import SearchedText

_GRAM = 4
_OTHER_BLANKS = (b"\n", b"\t", b"\r", b"\v", b"\f")


def searchable(text: str) -> bytes:
    """Returns the bytes of a text with each run of white space as one blank, and a blank at both ends."""
    data = text.encode("utf-8", "surrogatepass")
    for blank in _OTHER_BLANKS:
        data = data.replace(blank, b" ")
    return b" %b " % b" ".join(filter(None, data.split(b" ")))


class PythonEngine:
    """Finds literals among the runs of four bytes that a text has."""

    name = "python"

    def __init__(self, rules: Sequence[CompiledRule], index: LiteralIndex) -> None:
        """Takes the rules; the first search orders their literals.

        Args:
            rules: The rules of the group.
            index: Their literals.
        """
        self._rules = rules
        self._index = index
        self._always = set(index.always)

    @cached_property
    def _literals(self) -> _OrderedLiterals:
        return _OrderedLiterals(self._index.literals)

    def find(self, text: SearchedText, wanted: Sequence[bool]) -> Candidates:
        """Returns the candidates for a text; see `Engine`."""
        present = self._literals.present(text.text)
        places: dict[int, Sequence[int]] = {}
        for number in self._index.candidates(present, wanted):
            groups = self._rules[number].groups
            found = text.groups(groups) if groups else text.places(self._index.leads[number], present)
            if found:
                places[number] = found
        return Candidates(places, self._index.signs_in(present))

    def quiet(self, text: SearchedText, wanted: Sequence[bool]) -> bool:
        """Returns whether no rule has a candidate in any part of the text; see `Engine`."""
        present = self._literals.present(text.text)
        return not self._index.signs_in(present) and self._always.issuperset(self._index.candidates(present, wanted))


class _OrderedLiterals:
    """Literals by their last four bytes; shorter ones and expressions are searched one by one."""

    def __init__(self, literals: Sequence[str]) -> None:
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

    def present(self, text: str) -> set[int]:
        """Returns the numbers of the literals that the text has."""
        data = searchable(text)
        low = data.lower()
        grams: set[int] = set()
        for offset in range(_GRAM):
            end = len(low) - (len(low) - offset) % _GRAM
            grams.update(array("I", low[offset:end]))
        near = [entry for gram in grams.intersection(self._by_gram) for entry in self._by_gram[gram]]
        found = {
            number
            for needed, expression, number in self._expressions
            if all(any(byte in data for byte in choice) for choice in needed) and expression.search(data)
        }
        for body, number, bordered in (*near, *self._short):
            if body in low and (bordered is None or bordered.search(low)):
                found.add(number)
        return found
