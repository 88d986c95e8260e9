"""Literals that every match of a pattern holds: what can be looked for before the pattern itself."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
else:
    import sre_constants as _c

REPEATS = (_c.MAX_REPEAT, _c.MIN_REPEAT)
_MAX_LITERALS = 48


def best(tree: Any) -> tuple[str, ...] | None:
    """The best set of lower-case literals of which every match of the sequence holds one."""
    return max(literal_sets(tree), key=score, default=None)


def literal_sets(tree: Any) -> list[tuple[str, ...]]:
    """Sets of literals, one for each run of the sequence: every match holds one of each set."""
    sets: list[tuple[str, ...]] = []
    run: tuple[str, ...] = ("",)
    for item in flat(tree):
        exact = _exact(item)
        if exact is not None:
            longer = tuple(dict.fromkeys(a + b for a, b in product(run, exact)))
            if len(longer) <= _MAX_LITERALS:
                run = longer
                continue
            sets.append(run)
            run = exact
            continue
        sets.append(run)
        run = ("",)
        inner = _inner(item)
        if inner:
            sets.append(inner)
    sets.append(run)
    return sets


def _inner(item: Any) -> tuple[str, ...] | None:
    op, value = item
    if op is _c.SUBPATTERN:
        return best(value[3])
    if op is _c.BRANCH:
        sets = [best(branch) for branch in value[1]]
        if all(sets):
            union = tuple(dict.fromkeys(text for found in sets for text in found or ()))
            return union if len(union) <= _MAX_LITERALS else None
    if op in REPEATS and value[0] >= 1:
        return best(list(value[2]) * min(value[0], 8))
    return None


def _exact(item: Any) -> tuple[str, ...] | None:
    """Every text the node can be, lower-case, where these are few."""
    op, value = item
    if op is _c.LITERAL:
        return (fold_digits(chr(value).lower()),)
    if op is _c.IN and _digits_only(value):
        return ("0",)
    if op in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
        return ("",)
    if op is _c.IN and all(kind is _c.LITERAL for kind, _ in value) and len(value) <= 4:
        return tuple(dict.fromkeys(fold_digits(chr(member).lower()) for _, member in value))
    if op is _c.SUBPATTERN:
        return _sequence(value[3])
    if op is _c.BRANCH:
        sets = [_sequence(branch) for branch in value[1]]
        if all(found is not None for found in sets):
            union = tuple(dict.fromkeys(text for found in sets for text in found or ()))
            return union if len(union) <= _MAX_LITERALS else None
    if op in REPEATS and value[0] == value[1] and value[0] <= 16:
        return _sequence(list(value[2]) * value[0])
    if op in REPEATS and (value[0], value[1]) == (0, 1):
        once = _sequence(value[2])
        return None if once is None else ("", *once)
    return None


def _sequence(items: Any) -> tuple[str, ...] | None:
    run: tuple[str, ...] = ("",)
    for item in items:
        exact = _exact(item)
        if exact is None:
            return None
        run = tuple(dict.fromkeys(a + b for a, b in product(run, exact)))
        if len(run) > _MAX_LITERALS:
            return None
    return run


def _digits_only(value: Any) -> bool:
    return all(
        (kind is _c.CATEGORY and str(member) == "CATEGORY_DIGIT")
        or (kind is _c.RANGE and member[0] >= 48 and member[1] <= 57)
        or (kind is _c.LITERAL and 48 <= member <= 57)
        for kind, member in value
    )


_DIGITS = str.maketrans("123456789", "0" * 9)


def fold_digits(text: str) -> str:
    """The text with every ASCII digit as ``0``, as `Shape.literals` have them."""
    return text.translate(_DIGITS)


def score(found: tuple[str, ...] | None) -> float:
    """How good a set is to look for: long literals are rare, and each costs a look."""
    if not found:
        return -1.0
    shortest = min(map(len, found))
    # A longer literal is rarer; more of them cost more to look for.
    return shortest - len(found) * 0.05 if shortest else -1.0


def fewest(found: tuple[str, ...]) -> tuple[str, ...]:
    """The set without the texts that hold another of it; nothing where one of them is empty."""
    if not all(found):
        return ()
    return tuple(text for text in found if not any(other != text and other in text for other in found))


def flat(tree: Any) -> list[Any]:
    """The items of a sequence, those of plain groups in their place."""
    items: list[Any] = []
    for op, value in tree:
        if op is _c.SUBPATTERN and not value[1] and not value[2]:
            items += flat(value[3])
        else:
            items.append((op, value))
    return items
