"""All matches of one text: engine, confirmation, evasions undone, doubles removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor.scan.confirm import Match, confirm, together
from cylestio_monitor.scan.engine import lower
from cylestio_monitor.scan.evasion import readings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cylestio_monitor.scan.catalog import Catalog
    from cylestio_monitor.scan.plan import Plan


_GUESSED = frozenset({"leet", "spaced", "rot13"})
"""Readings that may say what was never meant: a token with digits turned to letters is another token."""

_ALWAYS_UNFOLDED = frozenset({"secret", "sensitive_data", "keyword"})


class Search:
    """Searches texts with the rules of a catalog."""

    def __init__(self, catalog: Catalog, *, max_length: int) -> None:
        """Keeps the catalog.

        Args:
            catalog: The plans and the engine.
            max_length: Longest text searched whole, in code points; of a longer one the two ends are.
        """
        self._catalog = catalog
        self._max_length = max_length
        self._applies: dict[tuple[str, str], list[bool]] = {}

    def matches(self, text: str, target: str, surface: str) -> list[Match]:
        """Every match of a rule that looks at this side and surface, in no order."""
        if len(text) > self._max_length:
            half = self._max_length // 2
            tail = len(text) - half
            ends = [
                Match(plan, start + tail, end + tail) for plan, start, end in self.matches(text[tail:], target, surface)
            ]
            return self.matches(text[:half], target, surface) + ends
        names = surface == "tool_name"
        wanted = self._wanted(target, surface)
        found = list(self._plain(text, wanted, names=names))
        if not names:
            found += self._disguised(text, wanted, found)
        return without_doubles(found) if len(found) > 1 else found

    def _wanted(self, target: str, surface: str) -> list[bool]:
        wanted = self._applies.get((target, surface))
        if wanted is None:
            wanted = [plan.applies(target, surface) for plan in self._catalog.plans]
            self._applies[target, surface] = wanted
        return wanted

    def _disguised(self, text: str, wanted: list[bool], plain: list[Match]) -> list[Match]:
        """What the text says under a disguise and not openly, and the disguise itself."""
        known: dict[str, list[tuple[int, int]]] = {}
        for match in plain:
            known.setdefault(match.plan.rule_id, []).append((match.start, match.end))
        found: list[Match] = []
        for reading in readings(text):
            disguise = self._catalog.evasions.get(reading.kind)
            for plan, first, last in self._plain(reading.text, wanted, names=False):
                exact = reading.kind not in _GUESSED and plan.category in _ALWAYS_UNFOLDED
                if plan.alert == "none" or not (plan.unfold or exact):
                    continue
                start, end = reading.span(first, last)
                told = known.setdefault(plan.rule_id, [])
                if any(start < there and here < end for here, there in told):
                    continue
                told.append((start, end))
                found.append(Match(plan, start, end))
                if disguise is not None:
                    found.append(Match(disguise, start, end))
        return found

    def _plain(self, text: str, wanted: list[bool], *, names: bool) -> Iterator[Match]:
        plans = self._catalog.plans
        engine = self._catalog.name_engine if names else self._catalog.engine
        signs: dict[str, list[tuple[Plan, list[int]]]] = {}
        candidates = engine.candidates(text)
        if not candidates:
            return
        low = lower(text)
        for number, places in candidates.items():
            if not wanted[number]:
                continue
            plan = plans[number]
            if plan.least:
                signs.setdefault(plan.rule_id, []).append((plan, places))
            else:
                yield from confirm(plan, text, low, places)
        for group in signs.values():
            if len(group) >= group[0][0].least:
                yield from together(group, text, low)


def without_doubles(found: list[Match]) -> list[Match]:
    """The matches without a generic one where another rule of its category found the same place."""
    firm: dict[str, list[Match]] = {}
    for match in found:
        if not match.plan.generic:
            firm.setdefault(match.plan.category, []).append(match)
    kept: dict[tuple[str, int, int], Match] = {}
    for match in found:
        others = firm.get(match.plan.category, ()) if match.plan.generic else ()
        if any(other.start < match.end and match.start < other.end for other in others):
            continue
        kept.setdefault((match.plan.rule_id, match.start, match.end), match)
    return list(kept.values())
