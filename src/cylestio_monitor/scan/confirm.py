"""Turns places into matches: the rule's own expression in a window, then its context and its validators.

Windows that touch are joined, so the work of one rule is never more than one pass over the text, and the matches are
those of a search through the whole text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.rules.literals import EDGE, MARK
from cylestio_monitor.rules.lowering import START
from cylestio_monitor.scan.locate import EVERYWHERE
from cylestio_monitor.scan.plan import SLACK
from cylestio_monitor.scan.validators import validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cylestio_monitor.scan.plan import Plan

_AT_START = (START,)
MAX_MATCHES = 100
"""Findings of one rule in one text: the hundred-and-first says nothing new."""

MAX_TRIED = 1000
"""Matches of one rule in one text that are put to its validators."""


class Match(NamedTuple):
    """One confirmed match, in code points of the text it was searched in."""

    plan: Plan
    start: int
    end: int


@lru_cache(maxsize=4096)
def _compiled(regex: str, flags: int) -> re.Pattern[str]:
    return re.compile(regex, flags)


def confirm(plan: Plan, text: str, low: str, places: Sequence[int]) -> Iterator[Match]:
    """The matches of one plan.

    Args:
        plan: The plan.
        text: The text.
        low: The text in lower case, of the same length.
        places: Where it may match, ascending; see `scan.locate`.
    """
    if plan.context and not any(word in low for word in plan.context):
        return
    windows = [window for window in _windows(places, plan.width, len(text)) if _holds(plan, low, window)]
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


def _matches(pattern: re.Pattern[str], plan: Plan, text: str, window: tuple[int, int]) -> Iterable[re.Match[str]]:
    """The matches in a window; of a pattern for a text's start, the one that can be there."""
    if plan.clauses[0] == _AT_START:
        first = pattern.match(text, *window)
        return () if first is None else (first,)
    return pattern.finditer(text, *window)


def _holds(plan: Plan, low: str, window: tuple[int, int]) -> bool:
    """Whether the window has what every match needs: cheaper to ask than to search."""
    return all(
        any(low.find(literal, *window) >= 0 for literal in literals)
        for literals in map(_as_they_stand, plan.clauses[1:])
    )


@lru_cache(maxsize=4096)
def _as_they_stand(clause: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a clause that can be found in a text as it is; the empty text, always found, where one cannot."""
    words = tuple(literal.strip(EDGE + " ") for literal in clause)
    plain = all(word.isascii() and " " not in word and MARK not in word for word in words)
    return words if plain else ("",)


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
    if places[0] == EVERYWHERE:
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


def _near(plan: Plan, text: str, start: int, end: int) -> bool:
    around = text[max(0, start - plan.within) : end + plan.within].lower()
    return any(word in around for word in plan.context)
