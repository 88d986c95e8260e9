"""Where in a text that still arrives the earliest match begins that is not complete yet."""

from __future__ import annotations

import html
import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cylestio_monitor.scan.normalisation.characters import plain_form
from cylestio_monitor.scan.open_matches.automaton import ANY, BEYOND
from cylestio_monitor.scan.open_matches.runs import Base64Run, HexRun, SelectorRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cylestio_monitor.scan.open_matches.automaton import RuleAutomaton, State

Threads: TypeAlias = "dict[State, tuple[int, int]]"
"""The first and the last start of the matches that are in each state."""

_ENCODED: Final = re.compile(
    r"%[0-9a-fA-F]{2}|&(?:#[0-9xX]|[a-zA-Z])[0-9a-zA-Z]{1,31};|\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{3})"
)
_ENCODED_BEGUN: Final = re.compile(
    r"%[0-9a-fA-F]?|&(?:#?|(?:#[0-9xX]|[a-zA-Z])[0-9a-zA-Z]{0,31})|\\(?:|x[0-9a-fA-F]?|u[0-9a-fA-F]{0,3}|[0-7]{1,2})"
)
_PLUS: Final = ("+", " ")  # a blank in a URL
_KEPT_BORDERS: Final = 4096


class _Encoded(NamedTuple):
    """A character that is written encoded, as far as it has come.

    Attributes:
        start: Its first code point.
        first: The first code point of the run of bytes in percent encoding that it is in: they are decoded together.
        threads: The matches in front of it.
    """

    start: int
    first: int
    threads: Threads


class OpenMatches:
    """The matches that a text holds which arrives piece by piece.

    Attributes:
        length: Code points that have arrived.
        start: Where the earliest match begins that may still go on; `length` where there is none.
        complete_to: Where the last match ends that may be complete: behind it there is none.
    """

    def __init__(self, automaton: RuleAutomaton) -> None:
        """Starts before the first character."""
        self._automaton = automaton
        self._threads: Threads = {}
        self._decided: dict[int, int] = {}
        self._encoded: list[_Encoded] = []
        self._bytes = (0, 0)  # the last run of bytes in percent encoding: its start and its end
        self._tail = ""
        self._before = ""
        self._runs = (Base64Run(), HexRun(), SelectorRun())
        self._saved = 0  # code points by which the text since the last border is longer than what it says
        self._borders: deque[int] = deque(maxlen=_KEPT_BORDERS)
        self.length = 0
        self.start = 0
        self.complete_to = 0

    def feed(self, text: str) -> None:
        """Takes the next piece."""
        for character in text:
            self._take(character)
        self._decided = {first: until for first, until in self._decided.items() if until > self.length}
        self.start = min(self._starts(), default=self.length)

    def border(self, place: int) -> int:
        """Returns the last place, up to the given one, that no match stands across; 0 where none is known.

        Places in front of it are forgotten.
        """
        borders = self._borders
        while len(borders) > 1 and borders[1] <= place:
            borders.popleft()
        return borders[0] if borders and borders[0] <= place else 0

    def _starts(self) -> Iterator[int]:
        for first, _ in self._threads.values():
            yield first
        yield from self._decided
        for encoded in self._encoded:
            yield encoded.first
            for first, _ in encoded.threads.values():
                yield first
        for run in self._runs:
            if run.start >= 0:
                yield run.start
        if self._bytes[1] == self.length > 0:
            yield self._bytes[0]

    def _take(self, character: str) -> None:
        at = self.length
        symbol: str | tuple[str, ...]
        if character < BEYOND:
            symbol = character if character != "+" else _PLUS
        else:
            symbol = _beyond_ascii(character)
            if symbol[-1] == "":
                self._save(1)
        for run in self._runs:
            if run.take(character, at):
                self.complete_to = at
        before_it, earliest = self._threads, at
        threads: Threads = {}
        for state, (first, last) in before_it.items():
            try:
                after = state.next[symbol]
            except KeyError:
                after = self._automaton.step(state, symbol)
            if after is not None and at - last < after.limit + self._saved:
                self._add(threads, after, max(first, at + 1 - after.limit - self._saved), last, at + 1)
                earliest = min(earliest, first)
        begun = self._automaton.start(self._before, symbol)
        if begun is not None:
            self._add(threads, begun, at, at, at + 1)
        self.length = at + 1
        self._threads = threads
        self._before = character if isinstance(symbol, str) else ANY
        if self._encoded or character in "%&\\":
            earliest = min(earliest, self._decode(character, at, before_it))
        if earliest == at:
            self._borders.append(at)
            self._saved = 0

    def _save(self, count: int) -> None:
        """Notes that the text says as many code points less than it has: widths are those of what it says."""
        self._saved += count
        self._decided = {first: until + count for first, until in self._decided.items()}

    def _decode(self, character: str, at: int, before_it: Threads) -> int:
        """Follows what may be an encoded character; returns the earliest start of a match that goes on through it."""
        if character in "%&\\":
            first = self._bytes[0] if character == "%" and self._bytes[1] == at > 0 else at
            self._encoded.append(_Encoded(at, first, before_it))
        self._tail = (self._tail + character)[-40:]
        open_ones: list[_Encoded] = []
        earliest = at
        for encoded in self._encoded:
            text = self._tail[encoded.start - self.length :]
            if _ENCODED.fullmatch(text) is not None:
                self._save(len(text) - 1)
                if text[0] == "%":
                    self._bytes = (encoded.first, self.length)
                earliest = min(earliest, self._decoded(encoded, _stands_for(text)))
            elif _ENCODED_BEGUN.fullmatch(text) is not None:
                open_ones.append(encoded)
                earliest = min(earliest, encoded.first, *(first for first, _ in encoded.threads.values()))
        self._encoded = open_ones
        if not open_ones:
            self._tail = ""
        return earliest

    def _decoded(self, encoded: _Encoded, symbol: tuple[str, ...]) -> int:
        """Lets the matches in front of an encoded character go on with what it stands for."""
        earliest = encoded.first
        for state, (first, last) in encoded.threads.items():
            after = state.next[symbol] if symbol in state.next else self._automaton.step(state, symbol)
            if after is not None:
                self._add(self._threads, after, first, last, self.length)
                earliest = min(earliest, first)
        begun = self._automaton.start(ANY, symbol)
        if begun is not None:
            self._add(self._threads, begun, encoded.first, encoded.start, self.length)
        self._before = ANY
        return earliest

    def _add(self, threads: Threads, state: State, first: int, last: int, end: int) -> None:
        known = threads.get(state)
        threads[state] = (first, last) if known is None else (min(first, known[0]), max(last, known[1]))
        if state.after >= 0:
            self.complete_to = end
            if state.after:
                self._decided[first] = max(self._decided.get(first, 0), end + state.after)


@lru_cache(maxsize=4096)
def _stands_for(encoded: str) -> tuple[str, ...]:
    """Returns an encoded character for the automaton."""
    if encoded[0] == "&":
        return ("".join(min(BEYOND, character) for character in html.unescape(encoded)),)
    digits = encoded.lstrip("%\\xu")
    code = int(digits, 8 if encoded[0] == "\\" and encoded[1] not in "xu" else 16)
    if code < ord(BEYOND):
        return (chr(code),)
    return (BEYOND, "") if encoded[0] == "%" else (BEYOND,)  # one of several bytes of a character, or a character


@lru_cache(maxsize=8192)
def _beyond_ascii(character: str) -> str | tuple[str, ...]:
    """A character beyond ASCII for the automaton: also as what it is folded to."""
    plain = plain_form(character)
    return BEYOND if plain == character else (BEYOND, plain)
