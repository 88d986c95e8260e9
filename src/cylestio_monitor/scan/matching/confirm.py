"""Turns places into matches: the rule's own expression in a window, then its context and its validators.

Windows that touch are joined, so the work of one rule is never more than one pass over the text, and the matches are
those of a search through the whole text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cylestio_monitor.rules.prefilter import START
from cylestio_monitor.scan.matching.compiled_rule import SLACK
from cylestio_monitor.scan.matching.locate import EVERYWHERE
from cylestio_monitor.scan.validators.checks import validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule
    from cylestio_monitor.scan.matching.locate import Text

_AT_START = (START,)
MAX_MATCHES = 100
"""Findings of one rule in one text: the hundred-and-first says nothing new."""

_DENSE = 1000  # places that leave little of a text between them: then the windows are one

MAX_TRIED = 1000
"""Matches of one rule in one text that are put to its validators."""


_STATEMENT = 1000
"""Code points beyond a match that a validator of whole statements may look at."""

Areas: TypeAlias = "Sequence[tuple[int, int]] | None"
"""Starts and ends of parts of a text, ascending."""

_end = itemgetter(1)


class Match(NamedTuple):
    """One confirmed match, in code points of the text it was searched in."""

    plan: CompiledRule
    start: int
    end: int


@lru_cache(maxsize=4096)
def _compiled(regex: str, flags: int) -> re.Pattern[str]:
    return re.compile(regex, flags)


def confirm(plan: CompiledRule, looked: Text, places: Sequence[int], areas: Areas = None) -> Iterator[Match]:
    """The matches of one plan.

    Args:
        plan: The plan.
        looked: The text.
        places: Where it may match, ascending; see `scan.locate`.
        areas: Places of which a match is to have one within reach, ascending; ``None`` for any.
    """
    if plan.context and not any(map(looked.holds, plan.context)):
        return
    text, low = looked.text, looked.low
    around = _windows(places, plan.width, len(text))
    if areas is not None:
        around = _within(around, areas, _reach(plan))
    windows = [window for window in around if _holds(plan, low, window)]
    if not windows:
        return
    pattern = _compiled(plan.regex, plan.flags)
    checks = [validator(name) for name in plan.validators]
    value = "value" in pattern.groupindex
    tried = found = 0
    for window in windows:
        for match in _matches(pattern, plan, text, window):
            tried += 1
            if tried > MAX_TRIED:
                return
            start, end = match.span("value") if value else match.span()
            if start < 0:
                start, end = match.span()
            if plan.context and not _near(plan, text, match.start(), match.end()):
                continue
            if all(check(text, start, end) for check in checks):
                yield Match(plan, start, end)
                found += 1
                if found >= MAX_MATCHES:
                    return


def _matches(
    pattern: re.Pattern[str], plan: CompiledRule, text: str, window: tuple[int, int]
) -> Iterable[re.Match[str]]:
    """The matches in a window; of a pattern for a text's start, the one that can be there."""
    if plan.clauses[0] == _AT_START:
        first = pattern.match(text, *window)
        return () if first is None else (first,)
    return pattern.finditer(text, *window)


def _holds(plan: CompiledRule, low: str, window: tuple[int, int]) -> bool:
    """Whether the window has what every match needs: cheaper to ask than to search."""
    start, end = window
    for words in plan.held:
        for word in words:
            if low.find(word, start, end) >= 0:
                break
        else:
            return False
    return True


def together(signs: Sequence[int], least: int, look: Callable[[int], Iterator[Match]]) -> Iterator[Match]:
    """One match of a rule of signs, from the first sign to the last, where enough different ones stand in the text.

    Args:
        signs: The places of those plans of the rule's signs that may stand in the text.
        least: How many different ones it takes.
        look: Gives the matches of one.
    """
    found: list[Match] = []
    for number, place in enumerate(signs):
        if len(found) + len(signs) - number < least:
            return
        first = next(look(place), None)
        if first is not None:
            found.append(first)
    if len(found) >= least:
        yield Match(found[0].plan, min(match.start for match in found), max(match.end for match in found))


def _windows(places: Sequence[int], width: int, length: int) -> Iterator[tuple[int, int]]:
    if places[0] == EVERYWHERE or (len(places) > _DENSE and len(places) * width > length):
        yield 0, length
        return
    low = high = -1
    for place in places:
        start, end = place - width, place + width + SLACK
        if start <= high:
            high = end
            continue
        if high >= 0:
            yield max(low, 0), min(high, length)
        low, high = start, end
    yield max(low, 0), min(high, length)


def _reach(plan: CompiledRule) -> int:
    """How far from a match stands what its rule looks at, and the match's own width."""
    return plan.width + max(plan.within, _STATEMENT if plan.looks_further else SLACK)


def _within(
    windows: Iterable[tuple[int, int]], areas: Sequence[tuple[int, int]], reach: int
) -> Iterator[tuple[int, int]]:
    """The parts of the windows that are within reach of an area."""
    for low, high in windows:
        number = bisect_left(areas, low - reach, key=_end)
        start = end = -1
        while number < len(areas) and areas[number][0] - reach < high:
            first, last = areas[number]
            if end < 0 or first - reach > end:
                if end >= 0:
                    yield start, end
                start = max(low, first - reach)
            end = min(high, last + reach)
            number += 1
        if end >= 0:
            yield start, end


def _near(plan: CompiledRule, text: str, start: int, end: int) -> bool:
    around = text[max(0, start - plan.within) : end + plan.within].lower()
    return any(word in around for word in plan.context)
