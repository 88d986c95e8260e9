"""A text under search, and the places in it where the match of a rule may stand.

Every match of a rule contains one of its places, the end of a literal of it. The windows around the places, which reach
as far as the longest match of the rule to both sides and `SLACK` further, therefore contain all matches whole.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from itertools import islice, repeat
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.rules.literals import EDGE, MARK
from cylestio_monitor.rules.prefilter import CODE, DIGITS, START, TOKEN, TOKEN_LENGTH
from cylestio_monitor.scan.matching.compiled_rule import SLACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

EVERYWHERE = -1
"""Alone among places: the whole text is to be searched."""

_MANY = 200  # places of one literal: beyond that one pass over the text is cheaper
_MANY_TRIED = 5000  # occurrences of one literal with and without the word borders that it needs
_MANY_GROUPS = 4000  # sequences of runs of digits: the same
_TOKEN = re.compile(rf"[A-Za-z0-9+/_-]{{{TOKEN_LENGTH},}}")
_CODE = re.compile(r"\d\d(?<=[A-Za-z]{2}..)", re.ASCII)

_WORD_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_DIGITS = re.compile(r"\d+", re.ASCII)
_DIGITS_ONLY = bytes(code if code in b"0123456789" else 32 for code in range(256))
_DIGIT_RUN = re.compile(r"\d(?:[\s./()-]*\d){5,}", re.ASCII)


class Lead(NamedTuple):
    """The literals of a rule's first clause, of which every match has one.

    Attributes:
        worded: The literals of words, each with the longest of its words.
        others: Expressions, and literals beyond ASCII.
    """

    worded: tuple[tuple[str, str], ...]
    others: tuple[str, ...]

    @classmethod
    def of(cls, literals: Iterable[str]) -> Lead:
        """Sorts literals; see `rules.literals`."""
        worded, others = [], []
        for literal in literals:
            if MARK in literal or not literal.isascii():
                others.append(literal)
            else:
                worded.append((max(literal.strip(EDGE).split(), key=len, default=""), literal))
        return cls(tuple(worded), tuple(others))


class SearchedText:
    """A text under search. It computes each thing that several rules need once.

    Attributes:
        text: The text.
        is_ascii: Whether all its characters are ASCII.
        is_partial: Whether an engine stopped before the end of the text.
    """

    def __init__(self, text: str) -> None:
        """Takes the text."""
        self.text = text
        self.is_ascii = text.isascii()
        self.is_partial = False
        self._places: dict[str, list[int]] = {}
        self._words: dict[str, bool] = {}
        self._grouped: dict[tuple[bytes, ...], Sequence[int]] = {}
        self._lengths: bytes | None = None
        self._different: frozenset[int] = frozenset()
        self._digit_starts: list[int] = []
        self._digit_runs: list[tuple[int, list[int]]] | None = None

    @cached_property
    def data(self) -> bytes:
        """The text in UTF-8; lone surrogates as three bytes."""
        return self.text.encode("utf-8", "surrogatepass")

    @cached_property
    def low(self) -> str:
        """The text in lower case, of the same length."""
        return lower(self.text)

    def places(self, lead: Mapping[int, str], present: AbstractSet[int]) -> Sequence[int]:
        """Returns the places of a rule, ascending, or `EVERYWHERE`.

        Args:
            lead: The literals of its first clause by number; see `LiteralIndex`.
            present: Numbers of the literals that the text has; empty where they are not known.
        """
        return self._merged(lead[number] for number in present & lead.keys() or lead)

    def places_of(self, lead: Lead) -> Sequence[int]:
        """Returns the places of a rule, ascending, or `EVERYWHERE`, where it is not known what the text has."""
        low = self.low
        return self._merged([*lead.others, *[literal for word, literal in lead.worded if word in low]])

    def _merged(self, literals: Iterable[str]) -> Sequence[int]:
        found: list[int] = []
        several = False
        for literal in literals:
            places = self._of(literal)
            if places and places[0] == EVERYWHERE:
                return places
            several = several or bool(found)
            found = found + places if found else places
        return sorted(found) if several else found

    def groups(self, sequences: tuple[bytes, ...]) -> Sequence[int]:
        """Returns where runs of digits have one of the sequences of lengths: starts of the first run, ascending.

        Args:
            sequences: The sequences of a rule; see `rules.groups`.
        """
        found = self._grouped.get(sequences)
        if found is None:
            found = self._grouped[sequences] = self._with_lengths(sequences)
        return found

    def _with_lengths(self, sequences: tuple[bytes, ...]) -> Sequence[int]:
        if self._lengths is None:
            runs = self.data.translate(_DIGITS_ONLY).split()
            try:
                self._lengths = bytes(map(len, runs))
            except ValueError:  # a run longer than a byte can count
                self._lengths = bytes(map(min, map(len, runs), repeat(255)))
            self._different = frozenset(self._lengths)
        lengths, different = self._lengths, self._different
        stand = [sequence for sequence in sequences if different.issuperset(sequence) and sequence in lengths]
        if not stand:
            return []
        if sum(map(lengths.count, stand)) > _MANY_GROUPS:
            return [EVERYWHERE]
        if not self._digit_starts:
            self._digit_starts = [run.start() for run in _DIGITS.finditer(self.text)]
        places: set[int] = set()
        for sequence in stand:
            at = lengths.find(sequence)
            while at >= 0:
                places.add(self._digit_starts[at])
                at = lengths.find(sequence, at + 1)
        return sorted(places)

    def holds(self, word: str) -> bool:
        """Returns whether the text has the word, given in lower case."""
        found = self._words.get(word)
        if found is None:
            found = self._words[word] = word in self.low
        return found

    def _of(self, literal: str) -> list[int]:
        places = self._places.get(literal)
        if places is None:
            places = self._places[literal] = self._found(literal)
        return places

    def _tokens(self) -> list[int]:
        """Returns the places of tokens, searched for in the long ones of the words between blanks."""
        places: list[int] = []
        at = 0
        for word in [word for word in self.text.split() if len(word) >= TOKEN_LENGTH]:
            at = self.text.index(word, at)
            end = at + len(word)
            for run in _TOKEN.finditer(self.text, at, end):
                places += _within(run)
            at = end
        return places

    def _digits(self) -> list[tuple[int, list[int]]]:
        """Returns the runs of digits: their length, which is the most digits they may have, and the places."""
        if self._digit_runs is None:
            self._digit_runs = [(run.end() - run.start(), _within(run)) for run in _DIGIT_RUN.finditer(self.text)]
        return self._digit_runs

    def _found(self, literal: str) -> list[int]:
        if literal == START:
            return [1]
        count = DIGITS.get(literal)
        if count is not None:
            return [place for digits, places in self._digits() if digits >= count for place in places]
        if literal == TOKEN:
            return self._tokens()
        if literal == CODE:
            return [code.start() for code in _CODE.finditer(self.text)]
        if literal.startswith(MARK):
            return [EVERYWHERE]
        body = literal.strip(EDGE + " ")
        if not body.isascii():
            return [EVERYWHERE]  # letter case beyond ASCII does not fold one to one
        if " " in body:
            ends = [match.end() for match in islice(_phrase(body).finditer(self.low), _MANY + 1)]
            return ends if len(ends) <= _MANY else [EVERYWHERE]
        return _occurrences(self.low, body, lead=literal[0] == EDGE, tail=literal[-1] == EDGE)


def _within(run: re.Match[str]) -> list[int]:
    """Returns places in a run so near each other that the windows around them leave no gap."""
    start, end = run.span()
    return [start + 1, end] if end - start <= SLACK else [*range(start + 1, end, SLACK), end]


@lru_cache(maxsize=4096)
def _phrase(words: str) -> re.Pattern[str]:
    return re.compile(r"\s+".join(map(re.escape, words.split())), re.ASCII)


def _occurrences(low: str, literal: str, *, lead: bool, tail: bool) -> list[int]:
    """Returns the ends of the literal; with `lead` and `tail` only where a word border is before and behind it."""
    places: list[int] = []
    length, last = len(literal), len(low)
    at = low.find(literal)
    tried = 0
    while at >= 0:
        end = at + length
        tried += 1
        if not (lead and at and low[at - 1] in _WORD_CHARACTERS) and not (
            tail and end < last and low[end] in _WORD_CHARACTERS
        ):
            places.append(end)
        if len(places) > _MANY or tried > _MANY_TRIED:
            return [EVERYWHERE]
        at = low.find(literal, at + 1)
    return places


def lower(text: str) -> str:
    """Returns the text in lower case, its length kept."""
    low = text.lower()
    # A letter whose lower case is two code points: then only the ASCII ones are folded.
    return low if len(low) == len(text) else text.translate(_ASCII_LOWER)


_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
