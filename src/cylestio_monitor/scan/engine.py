"""Finds where rules may match. Both engines name a superset of the places; `confirm` looks at each.

The contract that makes them equal: for every true match of a plan at ``[start, end)`` of the text, `candidates` gives
at least one position ``p`` of that plan with ``start < p <= end``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from cylestio_monitor.rules.literals import fold_digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.scan.plan import Plan

Candidates: TypeAlias = "dict[int, list[int]]"
"""Positions by the plan's number, ascending; `EVERYWHERE` alone asks for the whole text to be looked at."""

EVERYWHERE = -1
_MANY = 64


class Engine(Protocol):
    """One way to find candidates."""

    name: str

    def candidates(self, text: str) -> Candidates:
        """Where each plan may match, in code points of `text`."""
        ...


class PythonEngine:
    """Looks for the literals that a match must hold, one by one: no dependency, the same places."""

    name = "python"

    def __init__(self, plans: Sequence[Plan], *, names: bool = False) -> None:
        """Orders the plans by literal.

        Args:
            plans: The plans; their numbers are their places in the sequence.
            names: Whether it is for names of called tools rather than texts.
        """
        by_literal: dict[str, list[int]] = {}
        self._always: list[int] = []
        for number, plan in enumerate(plans):
            if not plan.regex or not (plan.of_names if names else plan.of_texts):
                continue
            if not plan.literals:
                self._always.append(number)
            for literal in plan.literals:
                by_literal.setdefault(literal, []).append(number)
        self._literals = [(literal, tuple(numbers)) for literal, numbers in by_literal.items()]

    def candidates(self, text: str) -> Candidates:
        """Where each plan may match, in code points of `text`."""
        hay = fold(text)
        found: Candidates = {number: [EVERYWHERE] for number in self._always}
        for literal, numbers in self._literals:
            if literal not in hay:
                continue
            places = _occurrences(hay, literal)
            for number in numbers:
                if number not in found:
                    found[number] = places
                elif found[number][0] != EVERYWHERE:
                    found[number] = places if places[0] == EVERYWHERE else sorted(found[number] + places)
        return found


def fold(text: str) -> str:
    """The text in lower case with every digit as ``0``, its length kept."""
    return fold_digits(lower(text))


def lower(text: str) -> str:
    """The text in lower case, its length kept."""
    low = text.lower()
    # A letter whose lower case is two code points: then only the ASCII ones are folded.
    return low if len(low) == len(text) else text.translate(_ASCII_LOWER)


_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _occurrences(hay: str, literal: str) -> list[int]:
    """Ends of the literal, or `EVERYWHERE` where it is so frequent that one pass over the text is cheaper."""
    places: list[int] = []
    at = hay.find(literal)
    while at >= 0:
        places.append(at + len(literal))
        if len(places) > _MANY:
            return [EVERYWHERE]
        at = hay.find(literal, at + 1)
    return places
