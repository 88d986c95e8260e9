"""The lengths of the runs of digits in a match: nine digits in a row, or three, two and four.

Dozens of rules are about numbers, and a date or a version would have each of them look. A number's runs of digits tell
them apart: a rule whose lengths stand nowhere in the text, side by side, has nothing to find there.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

from cylestio_monitor.rules.literals import REPEATS, flat

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
else:
    import sre_constants as _c

_State: TypeAlias = "tuple[tuple[int, ...], int]"
"""Lengths of the runs that have ended, and the length of the one that has not."""

_MOST_STATES = 120
_MOST_COPIES = 24
_DIGITS = range(48, 58)


class _UnknownError(Exception):
    """The lengths may be too many different ones."""


def digit_groups(tree: Any) -> tuple[bytes, ...]:
    """Every sequence of lengths that a match may have, each as bytes; empty where they are not known.

    The runs are whole ones of the text: the pattern must see to it that no digit stands before its first or after its
    last.
    """
    items = flat(tree)
    try:
        if len(items) == 1 and items[0][0] is _c.BRANCH:
            found = {lengths for branch in items[0][1][1] for lengths in _lengths(flat(branch))}
        else:
            found = _lengths(items)
    except _UnknownError:
        return ()
    return tuple(sorted(map(bytes, found))) if found and () not in found else ()


def _lengths(items: list[Any]) -> set[tuple[int, ...]]:
    if not (_guarded(items) and _guarded(items[::-1])):
        raise _UnknownError
    return {done + ((run,) if run else ()) for done, run in _after(items, {((), 0)})}


def _guarded(items: list[Any]) -> bool:
    """Returns whether what comes first is no digit, or cannot have one beside it."""
    for op, value in items:
        if op is _c.AT and value is _c.AT_BOUNDARY:
            return True
        if op is _c.ASSERT_NOT and _refuses_digits(value[1]):
            return True
        if op not in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
            return op in {_c.LITERAL, _c.IN} and not _kinds((op, value))[0]
    return False


def _refuses_digits(tree: Any) -> bool:
    """Returns whether a digit by itself is among what is refused."""
    choices = tree[0][1][1] if len(tree) == 1 and tree[0][0] is _c.BRANCH else [tree]
    return any(len(choice) == 1 and choice[0][0] is _c.IN and _kinds(choice[0])[0] for choice in choices)


def _after(items: list[Any], states: set[_State]) -> set[_State]:
    for item in items:
        states = _after_one(item, states)
        if len(states) > _MOST_STATES:
            raise _UnknownError
    return states


def _after_one(item: Any, states: set[_State]) -> set[_State]:
    op, value = item
    if op in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
        return states
    if op is _c.BRANCH:
        return {state for branch in value[1] for state in _after(flat(branch), states)}
    if op in REPEATS:
        return _repeated(int(value[0]), int(value[1]), flat(value[2]), states)
    if op not in {_c.LITERAL, _c.NOT_LITERAL, _c.IN, _c.ANY}:
        raise _UnknownError
    digit, other = _kinds(item)
    grown = {(done, run + 1) for done, run in states} if digit else set()
    return grown | _ended(states) if other else grown


def _repeated(least: int, most: int, body: list[Any], states: set[_State]) -> set[_State]:
    if not any(map(_may_have_digits, body)):
        return _ended(states) if least else states | _ended(states)
    if most > _MOST_COPIES:
        raise _UnknownError
    out = states if not least else set()
    for copies in range(1, most + 1):
        states = _after(body, states)
        if copies >= least:
            out = out | states
            if len(out) > _MOST_STATES:
                raise _UnknownError
    return out


def _ended(states: set[_State]) -> set[_State]:
    return {((*done, run), 0) if run else (done, 0) for done, run in states}


def _may_have_digits(item: Any) -> bool:
    op, value = item
    if op is _c.BRANCH:
        return any(_may_have_digits(part) for branch in value[1] for part in flat(branch))
    if op in REPEATS:
        return any(map(_may_have_digits, flat(value[2])))
    return op not in {_c.AT, _c.ASSERT, _c.ASSERT_NOT} and _kinds(item)[0]


def _kinds(item: Any) -> tuple[bool, bool]:
    """Returns whether one character can be a digit, and whether it can be anything else."""
    op, value = item
    if op is _c.LITERAL:
        return value in _DIGITS, value not in _DIGITS
    if op is not _c.IN:
        return True, True
    digit = other = False
    for kind, member in value:
        if kind is _c.LITERAL:
            digit, other = digit or member in _DIGITS, other or member not in _DIGITS
        elif kind is _c.RANGE:
            low, high = member
            digit = digit or (low <= _DIGITS[-1] and high >= _DIGITS[0])
            other = other or low < _DIGITS[0] or high > _DIGITS[-1]
        elif kind is _c.CATEGORY and member in {_c.CATEGORY_SPACE, _c.CATEGORY_NOT_DIGIT, _c.CATEGORY_NOT_WORD}:
            other = True
        elif kind is _c.CATEGORY and member is _c.CATEGORY_DIGIT:
            digit = True
        else:
            return True, True
    return digit, other
