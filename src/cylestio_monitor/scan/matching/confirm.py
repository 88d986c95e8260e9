"""Turns candidates into matches: runs the pattern of a rule around its places, then checks context and validators.

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
from cylestio_monitor.scan.matching.searched_text import EVERYWHERE
from cylestio_monitor.scan.validators.checks import validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cylestio_monitor.scan.budget import Budget
    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule
    from cylestio_monitor.scan.matching.searched_text import SearchedText

MAX_MATCHES = 100
"""Matches of one rule in one text that are reported: a further one says nothing new."""

_AT_START = (START,)
_DENSE = 1000  # places that leave little of a text between them: then the windows are one
_STATEMENT = 1000  # code points beyond a match that a validator of whole statements may read
_PIECE = 2048  # code points of a window that are searched between two looks at the clock

_PLACES = 8  # places of a text at which a costly pattern is tried between two looks at the clock

Areas: TypeAlias = "Sequence[tuple[int, int]] | None"
"""Starts and ends of parts of a text, ascending."""

_end = itemgetter(1)


class Match(NamedTuple):
    """One confirmed match, in code points of the text in which it was searched."""

    rule: CompiledRule
    start: int
    end: int


class Limits(NamedTuple):
    """Bounds of one search.

    Attributes:
        budget: Its time.
        matches: Most matches of one rule; ``None`` for all.
    """

    budget: Budget
    matches: int | None = MAX_MATCHES


@lru_cache(maxsize=4096)
def _compiled(regex: str, flags: int) -> re.Pattern[str]:
    return re.compile(regex, flags)


def confirmed(
    rules: Sequence[CompiledRule],
    places: Mapping[int, Sequence[int]],
    text: SearchedText,
    limits: Limits,
    areas: Areas = None,
) -> Iterator[Match]:
    """Gives the matches of the candidates.

    Args:
        rules: The rules of the group.
        places: The candidates; see `Candidates`.
        text: The text.
        limits: Bounds of the search.
        areas: Places of which every match has one within reach; ``None`` for any.
    """

    def search(number: int) -> Iterator[Match]:
        rule = rules[number]
        return confirm(rule, text, places[number], limits, None if rule.least else areas)

    signs: dict[str, list[int]] = {}
    for number in places:
        rule = rules[number]
        if rule.least:
            signs.setdefault(rule.rule_id, []).append(number)
        else:
            yield from search(number)
    for group in signs.values():
        least = rules[group[0]].least
        if len(group) >= least:
            yield from _together(group, least, search)


def confirm(
    rule: CompiledRule, text: SearchedText, places: Sequence[int], limits: Limits, areas: Areas = None
) -> Iterator[Match]:
    """Gives the matches of one rule.

    Args:
        rule: The rule.
        text: The text.
        places: The places of the rule, ascending; see `searched_text`.
        limits: Bounds of the search.
        areas: Places of which every match has one within reach, ascending; ``None`` for any.
    """
    if rule.context and not any(map(text.holds, rule.context)):
        return
    whole, low = text.text, text.low
    windows: Iterable[tuple[int, int]] = _windows(places, rule.width, len(whole))
    if areas is not None:
        windows = _within(windows, areas, _reach(rule))
    windows = [window for window in windows if _holds(rule, low, window)]
    if not windows:
        return
    pattern = _compiled(rule.regex, rule.flags)
    checks = [validator(name) for name in rule.validators]
    value = "value" in pattern.groupindex
    found = 0
    for window in windows:
        for match in _matches(pattern, rule, whole, window, limits.budget):
            start, end = match.span("value") if value else match.span()
            if start < 0:
                start, end = match.span()
            if rule.context and not _near(rule, whole, match.start(), match.end()):
                continue
            if all(check(whole, start, end) for check in checks):
                yield Match(rule, start, end)
                found += 1
                if found == limits.matches:
                    return


def _matches(
    pattern: re.Pattern[str], rule: CompiledRule, text: str, window: tuple[int, int], budget: Budget
) -> Iterator[re.Match[str]]:
    """Gives the matches in a window; for a pattern that matches at the start of a text, the one that can be there."""
    if budget.spent():
        return
    start, end = window
    if rule.clauses[0] == _AT_START:
        first = pattern.match(text, start, end)
        if first is not None:
            yield first
        return
    if rule.is_costly:
        yield from _one_by_one(pattern, _starts(rule, text, window), text, end, budget)
        return
    if end - start <= _PIECE + rule.width:
        yield from pattern.finditer(text, start, end)
        return
    while start < end and not budget.spent():
        border = start + _PIECE
        last = start
        for match in pattern.finditer(text, start, min(end, border + rule.width + SLACK)):
            if match.start() >= border:
                break
            last = match.end()
            yield match
        start = max(border, last)


def _starts(rule: CompiledRule, text: str, window: tuple[int, int]) -> Iterable[int]:
    """The places of a window at which a match of a costly pattern can begin, ascending."""
    if not rule.head:
        return range(*window)
    return (match.start() for match in _compiled(rule.head, rule.flags).finditer(text, *window))


def _one_by_one(
    pattern: re.Pattern[str], starts: Iterable[int], text: str, end: int, budget: Budget
) -> Iterator[re.Match[str]]:
    """Gives the matches at some places, with a look at the clock between them."""
    after = 0
    for number, at in enumerate(starts):
        if number % _PLACES == 0 and budget.spent():
            return
        if at >= after and (match := pattern.match(text, at, end)) is not None:
            yield match
            after = match.end()


def _holds(rule: CompiledRule, low: str, window: tuple[int, int]) -> bool:
    """Returns whether the window has the words that every match needs: cheaper than to search for the pattern."""
    start, end = window
    for words in rule.held:
        for word in words:
            if low.find(word, start, end) >= 0:
                break
        else:
            return False
    return True


def _together(signs: Sequence[int], least: int, search: Callable[[int], Iterator[Match]]) -> Iterator[Match]:
    """Gives one match of a rule of signs, from the first sign to the last, where enough different ones are in the text.

    Args:
        signs: The signs of the rule that may be in the text.
        least: How many different ones it takes.
        search: Gives the matches of one.
    """
    found: list[Match] = []
    for number, sign in enumerate(signs):
        if len(found) + len(signs) - number < least:
            return
        first = next(search(sign), None)
        if first is not None:
            found.append(first)
    if len(found) >= least:
        yield Match(found[0].rule, min(match.start for match in found), max(match.end for match in found))


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


def _reach(rule: CompiledRule) -> int:
    """Returns how far from a match the rule reads, with the width of the match."""
    return rule.width + max(rule.within, _STATEMENT if rule.reads_statement else SLACK)


def _within(
    windows: Iterable[tuple[int, int]], areas: Sequence[tuple[int, int]], reach: int
) -> Iterator[tuple[int, int]]:
    """Gives the parts of the windows that are within reach of an area."""
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


def _near(rule: CompiledRule, text: str, start: int, end: int) -> bool:
    around = text[max(0, start - rule.within) : end + rule.within].lower()
    return any(word in around for word in rule.context)
