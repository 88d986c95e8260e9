"""One automaton of all rules whose matches are redacted: which of them a text may be in the middle of.

States are computed when a text first comes to them, so that an unusual rule costs nothing in a usual text.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cylestio_monitor.scan.open_matches.positions import (
    ALL,
    OTHER,
    START,
    WORD,
    Positions,
    StartCondition,
    ahead,
    parsed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule

ANY: Final = "\x82"
"""The character of a text that may be any: one that is written encoded."""

BEYOND: Final = "\x80"
"""Every character beyond ASCII."""

_MOST_STATES: Final = 20_000
_NO_START: Final = ""
_LOOKS_AHEAD: Final = {"phone": 12, "no-code": 1, "identifier": 1, "concrete": 120, "ordered": 80}
"""Code points beyond a match that a check on it reads."""

_LOOKS_INSIDE: Final = frozenset(
    {"entropy", "luhn", "national", "card", "real", "mixed", "jwt", "digits", "not-a-word", "symbols"}
    | {"unpublished", "random", "key-material"}
)
_LOOKS_FAR: Final = 1000


class State:
    """The matches that a text may be in the middle of since one place of it.

    Attributes:
        positions: The characters that may have come last.
        after: Code points beyond a match that ends here which decide about it; -1 where none ends here.
        limit: The widest of the matches, in code points.
        next: The state after each character; ``None`` where nothing goes on.
    """

    __slots__ = ("after", "limit", "next", "positions")

    def __init__(self, positions: frozenset[int], after: int, limit: int) -> None:
        """Starts without knowing what comes next."""
        self.positions = positions
        self.after = after
        self.limit = limit
        self.next: dict[str | tuple[str, ...], State | None] = {}


class RuleAutomaton:
    """The automaton of the rules whose matches are redacted. Safe to use from any thread.

    A character of a text is given as itself; as `BEYOND`; or as a tuple of what it may stand for, each a text in which
    `ANY` is any character and which is empty for a character that hides.
    """

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        """Reads the expressions of the rules, which takes about a millisecond each."""
        self._positions = Positions()
        self._after: dict[int, int] = {}
        self._limits: list[int] = []
        self._entries: dict[StartCondition, set[int]] = {}
        self._states: dict[frozenset[int], State] = {}
        self._starts: dict[tuple[str, str | tuple[str, ...]], State | None] = {}
        self._lock = threading.Lock()
        for rule in rules:
            self._add(rule)

    def _add(self, rule: CompiledRule) -> None:
        positions = self._positions
        checks = (name.partition(":")[0] for name in rule.validators)
        looks = [_LOOKS_AHEAD.get(name, 0 if name in _LOOKS_INSIDE else _LOOKS_FAR) for name in checks]
        expression = parsed(rule.regex, rule.flags)
        after = max([ahead(expression.items), rule.within, *looks])
        known = len(self._limits)
        parts = positions.add(expression)
        self._limits += [rule.width] * (len(positions.masks) - known)
        for guard, part in parts:
            self._entries.setdefault(guard, set()).update(part.first)
            for position in part.last:
                self._after[position] = after

    def start(self, before: str, symbol: str | tuple[str, ...]) -> State | None:
        """Returns the state of a match that begins with a character.

        Args:
            before: The character in front of it: empty at the start of the text, `ANY` where it is not known.
            symbol: The character.
        """
        try:
            return self._starts[before, symbol]
        except KeyError:
            return self._begun(before, symbol)

    def step(self, state: State, symbol: str | tuple[str, ...]) -> State | None:
        """Returns the state after one more character, and remembers it in `State.next`."""
        with self._lock:
            read = [self._read(state.positions, way) for way in _ways(symbol)]
            found = state.next[symbol] = self._state(frozenset().union(*read))
            return found

    def _begun(self, before: str, symbol: str | tuple[str, ...]) -> State | None:
        known = before if isinstance(symbol, str) else ANY
        with self._lock:
            read = [self._read(self._first(known, way[0]), way[1:]) for way in _ways(symbol) if way]
            found = self._starts[before, symbol] = self._state(frozenset().union(*read))
            return found

    def _first(self, before: str, character: str) -> frozenset[int]:
        bit = _bit(character)
        masks = self._positions.masks
        stands = ALL if before == ANY else 1 << (START if before == _NO_START else _code(before))
        found: set[int] = set()
        for guard, positions in self._entries.items():
            if not stands & guard.before:
                continue
            if guard.is_border and ANY not in {before, character} and bool(stands & WORD) == bool(bit & WORD):
                continue
            found.update(position for position in positions if masks[position] & bit)
        return frozenset(found)

    def _read(self, positions: frozenset[int], text: str) -> frozenset[int]:
        """Returns the positions after the characters of a text; those given for an empty one."""
        masks, follow = self._positions.masks, self._positions.follow
        for character in text:
            bit = _bit(character)
            positions = frozenset(after for position in positions for after in follow[position] if masks[after] & bit)
        return positions

    def _state(self, positions: frozenset[int]) -> State | None:
        if not positions:
            return None
        found = self._states.get(positions)
        if found is None:
            if len(self._states) >= _MOST_STATES:
                self._states.clear()
                self._starts.clear()
            after = max((self._after.get(position, -1) for position in positions), default=-1)
            limit = max(self._limits[position] for position in positions)
            found = self._states[positions] = State(positions, after, limit)
        return found


@lru_cache(maxsize=2)
def automaton_of(rules: tuple[CompiledRule, ...]) -> RuleAutomaton:
    """Returns the automaton of rules; one for all scanners that have the same."""
    return RuleAutomaton(rules)


def _ways(symbol: str | tuple[str, ...]) -> tuple[str, ...]:
    """Returns what a character may stand for."""
    return (symbol,) if isinstance(symbol, str) else symbol


def _code(character: str) -> int:
    return min(ord(character), OTHER)


def _bit(character: str) -> int:
    return ALL if character == ANY else 1 << _code(character)
