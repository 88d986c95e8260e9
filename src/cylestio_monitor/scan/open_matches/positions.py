"""The positions of a regular expression: its characters, and which of them may follow each other.

The tree of a pattern is read as a position automaton (Glushkov's construction). It accepts every text that the pattern
matches and some more: long repetitions lose their count, and conditions on what stands around a match are left out,
apart from those on the character before its start.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final, NamedTuple

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
    from re import _parser as _p  # type: ignore[attr-defined]
else:
    import sre_constants as _c
    import sre_parse as _p

OTHER: Final = 128
"""The bit of a mask that stands for every character beyond ASCII."""

START: Final = 129
"""The bit of a mask that stands for the start of the text."""

ALL: Final = (1 << 130) - 1
_ASCII_BITS: Final = (1 << OTHER) - 1
_ASCII: Final = [chr(code) for code in range(128)]
_PARTLY_IGNORED: Final = re.compile(r"\(\?[a-z]*i[a-z]*[:)]")
_LONGEST_COUNTED: Final = 32
"""Most repetitions that are counted one by one; beyond that any number may follow."""

_REPEATS: Final = tuple(
    getattr(_c, name) for name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") if hasattr(_c, name)
)
_CATEGORIES: Final = {
    _c.CATEGORY_DIGIT: r"\d",
    _c.CATEGORY_NOT_DIGIT: r"\D",
    _c.CATEGORY_SPACE: r"\s",
    _c.CATEGORY_NOT_SPACE: r"\S",
    _c.CATEGORY_WORD: r"\w",
    _c.CATEGORY_NOT_WORD: r"\W",
}


def _mask(characters: str) -> int:
    found = 0
    for character in characters:
        found |= 1 << min(ord(character), OTHER)
    return found


_CATEGORY_MASKS: Final = {
    category: _mask("".join(filter(re.compile(name, re.ASCII).match, _ASCII))) | (name.isupper() << OTHER)
    for category, name in _CATEGORIES.items()
}
WORD: Final = _CATEGORY_MASKS[_c.CATEGORY_WORD]


class ParsedExpression(NamedTuple):
    """The tree of an expression.

    Attributes:
        items: What the expression matches, one after another, as the parser of `re` gives it.
        ignores_case: All of it, or a part, ignores the case of letters.
    """

    items: Any
    ignores_case: bool


class StartCondition(NamedTuple):
    """The condition on the character before a match.

    Attributes:
        before: Mask of the characters that may stand there.
        is_border: The match begins at a border of a word.
    """

    before: int = ALL
    is_border: bool = False


class SubExpression(NamedTuple):
    """A part of an expression.

    Attributes:
        is_empty: It may match nothing.
        first: Positions of the characters that it may begin with.
        last: Positions of those that it may end with.
    """

    is_empty: bool
    first: frozenset[int]
    last: frozenset[int]


_NOTHING: Final = SubExpression(True, frozenset(), frozenset())


class Positions:
    """The positions of any number of expressions.

    Attributes:
        masks: For each position the mask of its characters.
        follow: For each position those that may come next.
    """

    def __init__(self) -> None:
        """Starts without positions."""
        self.masks: list[int] = []
        self.follow: list[set[int]] = []
        self._ignores_case = False

    def add(self, expression: ParsedExpression) -> list[tuple[StartCondition, SubExpression]]:
        """Adds an expression; returns its alternatives, with what may stand before each."""
        self._ignores_case = expression.ignores_case
        items: list[Any] = list(expression.items)
        while len(items) == 1 and items[0][0] is _c.SUBPATTERN:
            items = list(items[0][1][3])
        branches = items[0][1][1] if len(items) == 1 and items[0][0] is _c.BRANCH else [items]
        return [(self._guard(branch), self._sequence(branch)) for branch in branches]

    def _guard(self, items: Any) -> StartCondition:
        before, is_border = ALL, False
        for op, value in items:
            if op is _c.AT and value is _c.AT_BOUNDARY:
                is_border = True
            elif op is _c.ASSERT_NOT and value[0] < 0:
                mask = self._single(value[1])
                before &= ~mask if mask is not None else ALL
            elif op not in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
                break
        return StartCondition(before, is_border)

    def _single(self, items: Any) -> int | None:
        """The mask of an expression of exactly one character; ``None`` for another one."""
        items = list(items)
        if len(items) != 1:
            return None
        op, value = items[0]
        if op is _c.BRANCH:
            found = 0
            for branch in value[1]:
                mask = self._single(branch)
                if mask is None:
                    return None
                found |= mask
            return found
        # The start of the text, and a character beyond ASCII, must stay possible.
        return self._characters(op, value) & _ASCII_BITS if op in {_c.LITERAL, _c.IN} else None

    def _sequence(self, items: Any) -> SubExpression:
        whole, is_border = _NOTHING, False
        for op, value in items:
            if op is _c.AT:
                is_border = is_border or value is _c.AT_BOUNDARY
                continue
            part = self._item(op, value)
            whole = self._joined(whole, part, at_border=is_border)
            is_border = is_border and part is _NOTHING
        return whole

    def _item(self, op: Any, value: Any) -> SubExpression:
        if op in {_c.LITERAL, _c.NOT_LITERAL, _c.ANY, _c.IN}:
            return self._position(self._characters(op, value))
        if op is _c.SUBPATTERN:
            return self._sequence(value[3])
        if op is _c.BRANCH:
            return self._either([self._sequence(branch) for branch in value[1]])
        if op in _REPEATS:
            return self._repeated(*value)
        if op is getattr(_c, "ATOMIC_GROUP", None):
            return self._sequence(value)
        return _NOTHING  # a condition on what stands around

    def _position(self, mask: int) -> SubExpression:
        number = len(self.masks)
        self.masks.append(mask)
        self.follow.append(set())
        return SubExpression(False, frozenset([number]), frozenset([number]))

    def _joined(self, one: SubExpression, two: SubExpression, *, at_border: bool = False) -> SubExpression:
        """Joins two expressions that follow each other, with a border of a word between them or not."""
        last = set(two.last)
        for position in one.last:
            across = self._across(position, two.first) if at_border else {place: place for place in two.first}
            self.follow[position].update(across.values())
            last.update(new for old, new in across.items() if old in two.last)
        return SubExpression(
            one.is_empty and two.is_empty,
            one.first | two.first if one.is_empty else one.first,
            frozenset(one.last | last if two.is_empty else last),
        )

    def _across(self, position: int, following: frozenset[int]) -> dict[int, int]:
        """Returns the positions that may follow one at a border of a word, as far as they are of the other kind."""
        mask = self.masks[position]
        if mask & WORD and mask & ~WORD:
            return {place: place for place in following}
        wanted = ALL & ~WORD if mask & WORD else WORD
        return {place: self._only(place, wanted) for place in following if self.masks[place] & wanted}

    def _only(self, position: int, wanted: int) -> int:
        """Returns a position like another one, for some of its characters."""
        mask = self.masks[position] & wanted
        if mask == self.masks[position]:
            return position
        self.masks.append(mask)
        self.follow.append(self.follow[position])  # one set: what is to follow the one follows the other
        return len(self.masks) - 1

    def _either(self, parts: list[SubExpression]) -> SubExpression:
        return SubExpression(
            any(part.is_empty for part in parts),
            frozenset().union(*(part.first for part in parts)),
            frozenset().union(*(part.last for part in parts)),
        )

    def _repeated(self, least: int, most: int, body: Any) -> SubExpression:
        if most > _LONGEST_COUNTED:
            once = self._sequence(body)
            self._joined(once, once)
            return once if least else once._replace(is_empty=True)
        whole = _NOTHING
        for number in range(most):
            once = self._sequence(body)
            whole = self._joined(whole, once if number < least else once._replace(is_empty=True))
        return whole

    def _characters(self, op: Any, value: Any) -> int:
        if op is _c.ANY:
            return ALL
        if op is _c.IN:
            found = 0
            for kind, inner in value:
                if kind is _c.RANGE:
                    low, high = inner
                    found |= self._cased(_mask("".join(map(chr, range(low, min(high, OTHER) + 1)))))
                    found |= (high >= OTHER) << OTHER
                elif kind is _c.CATEGORY:
                    found |= _CATEGORY_MASKS[inner]
                elif kind is _c.LITERAL:
                    found |= self._cased(_mask(chr(inner)))
            is_negated = bool(value) and value[0][0] is _c.NEGATE
            return (ALL & ~found) | 1 << OTHER if is_negated else found
        mask = self._cased(_mask(chr(value)))
        return (ALL & ~mask) | 1 << OTHER if op is _c.NOT_LITERAL else mask

    def _cased(self, mask: int) -> int:
        """The mask with both cases of its letters: also where only a part of the expression ignores case."""
        upper, lower = mask >> 65 & (1 << 26) - 1, mask >> 97 & (1 << 26) - 1
        return mask | (upper | lower) << 65 | (upper | lower) << 97 if self._ignores_case else mask


def parsed(regex: str, flags: int) -> ParsedExpression:
    """Returns the tree of an expression."""
    ignores_case = bool(flags & re.IGNORECASE or _PARTLY_IGNORED.search(regex))
    return ParsedExpression(_p.parse(regex, flags), ignores_case)


def ahead(items: Any) -> int:
    """Returns how many characters beyond a match the items of an expression look at."""
    most = 0
    for op, value in items:
        if op is _c.AT:
            most = max(most, 1 if value in {_c.AT_BOUNDARY, _c.AT_NON_BOUNDARY} else 2)  # `$` and a last line break
        elif op in {_c.ASSERT, _c.ASSERT_NOT}:
            most = max(most, value[1].getwidth()[1] if value[0] > 0 else 0)
        elif op is _c.SUBPATTERN:
            most = max(most, ahead(value[3]))
        elif op is _c.BRANCH:
            most = max([most, *map(ahead, value[1])])
        elif op in _REPEATS:
            most = max(most, ahead(value[2]))
    return int(most)
