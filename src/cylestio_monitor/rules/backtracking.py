r"""Estimates in how many ways `re` may try to match a pattern at one place of a text.

A pattern such as ``(a|a)*b`` or ``(\\w+\\s?)+!`` matches the same text in a number of ways that grows exponentially,
and `re` tries all of them before it gives up. The estimate multiplies the choices of the parts: the lengths that a
repetition can have where what follows can begin with the same characters, and the alternatives that can begin alike.
"""

from __future__ import annotations

import re
import sys
from typing import Any, TypeAlias

from cylestio_monitor.rules.literals import REPEATS

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
else:
    import sre_constants as _c

_Item: TypeAlias = "tuple[Any, Any]"
_Characters: TypeAlias = "frozenset[int]"

MOST = 1e30
"""An estimate is not counted beyond this number."""

_BEYOND_ASCII = 128  # stands for all characters beyond ASCII in a class
_ALL = frozenset(range(_BEYOND_ASCII + 1))
_CLASSES = {
    _c.CATEGORY_DIGIT: r"\d",
    _c.CATEGORY_SPACE: r"\s",
    _c.CATEGORY_WORD: r"\w",
}
_MEMBERS = {
    kind: frozenset(code for code in range(_BEYOND_ASCII) if re.match(text, chr(code), re.ASCII))
    for kind, text in _CLASSES.items()
}
_MEMBERS |= {
    _c.CATEGORY_NOT_DIGIT: _ALL - _MEMBERS[_c.CATEGORY_DIGIT],
    _c.CATEGORY_NOT_SPACE: _ALL - _MEMBERS[_c.CATEGORY_SPACE],
    _c.CATEGORY_NOT_WORD: _ALL - _MEMBERS[_c.CATEGORY_WORD],
}


def ways(tree: Any) -> float:
    """Returns the estimate for a parsed pattern, at most about `MOST`."""
    return _ways(_flat(tree), frozenset())


def _flat(tree: Any) -> list[_Item]:
    items: list[_Item] = []
    for op, value in tree:
        if op is _c.SUBPATTERN:
            items += _flat(value[3])
        else:
            items.append((op, value))
    return items


def _ways(items: list[_Item], follow: _Characters) -> float:
    """Returns the estimate for a sequence.

    Args:
        items: The sequence.
        follow: Characters that may come behind it.
    """
    total = 1.0
    for item in reversed(items):
        total = min(total * _ways_of(item, follow), MOST)
        first, nullable = _first(item)
        follow = first | follow if nullable else first
    return total


def _ways_of(item: _Item, follow: _Characters) -> float:
    op, value = item
    if op is _c.BRANCH:
        choices = [_flat(choice) for choice in value[1]]
        counts = [_ways(choice, follow) for choice in choices]
        leads = [_lead(choice) for choice in choices]
        return max(
            sum(count for other, count in zip(leads, counts, strict=True) if _alike(lead, other)) for lead in leads
        )
    if op in {_c.ASSERT, _c.ASSERT_NOT}:
        return _ways(_flat(value[1]), frozenset())
    if op not in REPEATS:
        return 1.0
    fewest, most, body = value
    items = _flat(body)
    first, _ = _sequence_first(items)
    lengths = most - fewest + 1 if not _disjoint(first, follow) else 1
    if len(items) == 1 and _characters(items[0]) is not None:
        return float(lengths)
    once = _ways(items, first | follow if most > 1 else follow)
    repeated = MOST if once > 1 and int(most) > 100 else min(once ** int(most), MOST)
    return min(repeated * lengths, MOST)


def _disjoint(one: _Characters, other: _Characters) -> bool:
    if not one.isdisjoint(other):
        return False
    return not any(_BEYOND_ASCII in left and max(right, default=0) > _BEYOND_ASCII for left, right in _both(one, other))


def _both(one: _Characters, other: _Characters) -> tuple[tuple[_Characters, _Characters], ...]:
    return (one, other), (other, one)


def _alike(one: list[_Characters], other: list[_Characters]) -> bool:
    """Returns whether two alternatives can begin with the same text as far as both are known."""
    return not any(_disjoint(left, right) for left, right in zip(one, other, strict=False))


def _lead(items: list[_Item]) -> list[_Characters]:
    """Returns the characters of the first items of a sequence, as far as each matches one character.

    The last result is what the next item may begin with, unless that may match nothing.
    """
    found: list[_Characters] = []
    for item in items:
        if item[0] in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
            continue
        first, nullable = _first(item)
        if nullable:
            break
        found.append(first)
        if _characters(item) is None:
            break
    return found


def _first(item: _Item) -> tuple[_Characters, bool]:
    """Returns the characters that an item may begin with, and whether it may match nothing."""
    op, value = item
    characters = _characters(item)
    if characters is not None:
        return characters, False
    if op is _c.BRANCH:
        parts = [_sequence_first(_flat(choice)) for choice in value[1]]
        return frozenset().union(*(first for first, _ in parts)), any(nullable for _, nullable in parts)
    if op in REPEATS:
        fewest, _, body = value
        first, nullable = _sequence_first(_flat(body))
        return first, nullable or not fewest
    return frozenset(), True


def _sequence_first(items: list[_Item]) -> tuple[_Characters, bool]:
    found: _Characters = frozenset()
    for item in items:
        first, nullable = _first(item)
        found |= first
        if not nullable:
            return found, False
    return found, True


def _characters(item: _Item) -> _Characters | None:
    """Returns the characters of an item that matches one, letters in both cases; ``None`` for any other item."""
    op, value = item
    if op is _c.LITERAL:
        return frozenset({value}) if value >= _BEYOND_ASCII else _folded({value})
    if op is _c.NOT_LITERAL:
        return _ALL - {value}
    if op is _c.ANY:
        return _ALL - {10}
    if op is not _c.IN:
        return None
    found: set[int] = set()
    for kind, member in value:
        if kind is _c.LITERAL:
            found.add(member)
        elif kind is _c.RANGE:
            found.update(range(member[0], min(member[1], _BEYOND_ASCII) + 1))
        elif kind is _c.CATEGORY:
            found |= _MEMBERS[member]
    members = _folded(found)
    return _ALL - members if value[0][0] is _c.NEGATE else members


def _folded(codes: set[int]) -> _Characters:
    folded = {min(code, _BEYOND_ASCII) for code in codes}
    letters = {ord(chr(code).swapcase()) for code in folded if code < _BEYOND_ASCII and chr(code).isalpha()}
    return frozenset(folded | letters)
