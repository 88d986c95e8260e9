r"""Writes the pattern of a rule as an expression for the multi-pattern engine.

The expression matches in every text in which the pattern matches, and in few others. It is smaller than the pattern:

- Look-around assertions are left out.
- A long bounded repetition becomes an unbounded one, and a repeated group becomes a repeated character class.
- Repetitions at both ends are cut to their fewest copies. Every match of the pattern therefore contains a match of the
  expression, and the engine reports few ends for each.
- Of a large expression the words at both ends are shortened; of one that is still too large, the part without the
  alternatives at one end stands for the whole.

The engine searches the UTF-8 bytes of the text. A class that names characters beyond ASCII is written as their bytes,
ranges a little wider; any other class that may match them matches every byte beyond ASCII. ``^`` and ``$`` match at
line borders, so that several texts can be searched in one, a line break between them.
"""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple, TypeAlias

from cylestio_monitor.rules.literals import EDGE, MARK, REPEATS

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
    from re import _parser as _p  # type: ignore[attr-defined]
else:
    import sre_constants as _c
    import sre_parse as _p

MAX_POSITIONS = 900
"""Largest expression, in characters and classes; beyond it compiling and searching become slow."""

_Item: TypeAlias = "tuple[Any, Any]"

_LARGE = 150  # positions beyond which words at both ends are shortened
_SPECIFIC = 10  # fewest characters of a match of a part that stands for an expression that is too large
_WORD_LENGTH = 6  # characters of a word at an end that the expression keeps, where it is large

_CONTINUATION = r"[\x80-\xbf]{0,3}"
_EXACT_COPIES = 6  # a repetition of one character that varies by more has no upper bound in the expression
_MOST_COPIES = 20  # fewest copies of one character that the expression asks for
_GROUP_COPIES = 4  # copies of a group that the expression writes out
_CATEGORIES = {
    _c.CATEGORY_DIGIT: r"\d",
    _c.CATEGORY_SPACE: r"\s",
    _c.CATEGORY_WORD: r"\w",
    _c.CATEGORY_NOT_DIGIT: r"\D",
    _c.CATEGORY_NOT_SPACE: r"\S",
    _c.CATEGORY_NOT_WORD: r"\W",
}
_BEYOND_ASCII_TOO = {_c.CATEGORY_NOT_DIGIT, _c.CATEGORY_NOT_SPACE, _c.CATEGORY_NOT_WORD}
_LINE_ANCHORS = {_c.AT_BEGINNING, _c.AT_BEGINNING_STRING, _c.AT_END, _c.AT_END_STRING}
_ANCHORS = {
    _c.AT_BOUNDARY: r"\b",
    _c.AT_BEGINNING: "^",
    _c.AT_BEGINNING_STRING: "^",
    _c.AT_END: "$",
    _c.AT_END_STRING: "$",
}


class _Class(NamedTuple):
    """A character class as the engine reads it.

    Attributes:
        text: The class, or a group that matches whole characters.
        of_bytes: Whether it matches single bytes of characters beyond ASCII, so that a character takes up to four.
    """

    text: str
    of_bytes: bool


class Expression(NamedTuple):
    """An expression for the engine.

    Attributes:
        text: The expression; ASCII.
        caseless: Whether letter case counts for nothing.
        positions: Its size, in characters and classes.
    """

    text: str
    caseless: bool
    positions: int


def whole_expression(regex: str, flags: int) -> Expression:
    """Returns the expression of a pattern.

    Args:
        regex: The bounded pattern of a `CompiledRule`.
        flags: Its flags for `re.compile`.
    """
    tree = _p.parse(regex, flags)
    dot_all = bool(tree.state.flags & re.DOTALL)
    caseless = bool(tree.state.flags & re.IGNORECASE) or "(?i" in regex
    items = _cut(_cut(_flat(tree), last=True), last=False)
    writer = _ExpressionText(dot_all=dot_all)
    text = writer.whole(items)
    if writer.positions > _LARGE:
        items = _shortened(_shortened(items, last=True), last=False)
        writer = _ExpressionText(dot_all=dot_all)
        text = writer.whole(items)
    if writer.positions > MAX_POSITIONS:
        for end in (True, False):
            part = _without_end(items, last=end)
            partial = _ExpressionText(dot_all=dot_all)
            shorter = partial.whole(part)
            if partial.positions <= MAX_POSITIONS and sum(map(_least_width, part)) >= _SPECIFIC:
                return Expression(shorter, caseless, partial.positions)
    return Expression(text, caseless, writer.positions)


def literal_expression(literal: str) -> str:
    """Returns the expression of one literal of `rules.literals`: a blank stands for any run of white space."""
    if literal.startswith(MARK):
        return literal[1:]
    lead, tail = (r"\b" if edge == EDGE else "" for edge in (literal[0], literal[-1]))
    body = literal.strip(EDGE)
    lead += r"(?:^|\s)" if body[0] == " " else ""
    tail = (r"(?:\s|$)" if body[-1] == " " else "") + tail
    words = [_escaped(word) for word in body.split()]
    return lead + r"\s+".join(words) + tail


def _escaped(text: str) -> str:
    encoded = text.encode("utf-8", "surrogatepass")
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in encoded)


def _flat(tree: Any) -> list[_Item]:
    """Returns the items of a sequence, those of its groups in their place."""
    items: list[_Item] = []
    for op, value in tree:
        if op is _c.SUBPATTERN:
            items += _flat(value[3])
        elif str(op) == "ATOMIC_GROUP":
            items += _flat(value)
        else:
            items.append((op, value))
    return items


def _cut(items: list[_Item], *, last: bool) -> list[_Item]:
    """Returns the sequence with the repetition at one end cut to its fewest copies."""
    items = list(items)
    end = -1 if last else 0
    while items:
        op, value = items[end]
        if op in {_c.ASSERT, _c.ASSERT_NOT}:
            items.pop(end)
        elif _is_repeat(op):
            fewest, _, body = value
            if fewest:
                items[end] = (op, (fewest, fewest, body))
                break
            items.pop(end)
        elif op is _c.BRANCH:
            choices = [_cut(_flat(choice), last=last) for choice in value[1]]
            if all(choices):
                items[end] = (op, (value[0], choices))
                break
            items.pop(end)
        elif last and _follows_repeat(items):
            items.pop()
        else:
            break
    return items


def _shortened(items: list[_Item], *, last: bool) -> list[_Item]:
    """Returns the sequence with the alternatives at one end cut to a few characters next to the rest.

    Every match contains a match of the result, because nothing has to be before its start or behind its end.
    """
    items = list(items)
    end = -1 if last else 0
    while items and items[end][0] in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
        if items[end][1] in _LINE_ANCHORS:
            return items
        items.pop(end)
    if len(items) > 1 and _may_be_line_end(items[end]):
        items.pop(end)
    if not items or items[end][0] is not _c.BRANCH:
        return items
    choices = [_word_end(_flat(choice), last=last) for choice in items[end][1][1]]
    items[end] = (_c.BRANCH, (None, list({str(choice): choice for choice in choices}.values())))
    return items


def _may_be_line_end(item: _Item) -> bool:
    """Returns whether an item is a border that a line end is one form of, such as the start of a sentence."""
    return item[0] is _c.BRANCH and any(
        all(op is _c.AT and value in _LINE_ANCHORS for op, value in choice) for choice in map(_flat, item[1][1])
    )


def _word_end(items: list[_Item], *, last: bool) -> list[_Item]:
    """Returns the first characters of an alternative; of one at the start of the sequence the last characters."""
    kept: list[_Item] = []
    length = 0
    for item in items if last else reversed(items):
        kept.append(item)
        length += _least_width(item)
        if length >= _WORD_LENGTH:
            break
    kept = kept if last else kept[::-1]
    return _shortened(kept, last=last) if len(kept) == 1 else kept


def _without_end(items: list[_Item], *, last: bool) -> list[_Item]:
    """Returns the sequence without the alternatives at one end, which every match contains too."""
    choices = [number for number, item in enumerate(items) if item[0] is _c.BRANCH]
    if not choices:
        return items
    return _cut(items[: choices[-1]], last=True) if last else _cut(items[choices[0] + 1 :], last=False)


def _least_width(item: _Item) -> int:
    """Returns how many characters the shortest match of an item has."""
    op, value = item
    if op in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
        return 0
    if op is _c.BRANCH:
        return min(sum(map(_least_width, _flat(choice))) for choice in value[1])
    if _is_repeat(op):
        return int(value[0]) * sum(map(_least_width, _flat(value[2])))
    return 1


def _follows_repeat(items: list[_Item]) -> bool:
    """Returns whether a class ends the sequence behind a long repetition: it would match at each place of the run."""
    if len(items) < 2 or items[-1][0] not in {_c.IN, _c.ANY} or not _is_repeat(items[-2][0]):
        return False
    fewest, most, _ = items[-2][1]
    return bool(most - fewest > _EXACT_COPIES)


def _is_repeat(op: Any) -> bool:
    return op in REPEATS or str(op) == "POSSESSIVE_REPEAT"


class _ExpressionText:
    """Writes items as text and counts the positions."""

    def __init__(self, *, dot_all: bool) -> None:
        self.positions = 0
        self._dot_all = dot_all

    def whole(self, items: list[_Item]) -> str:
        """Returns a whole expression; one that ends in a repetition reports the end of its fewest bytes only."""
        if items and _is_repeat(items[-1][0]):
            fewest, most, body = items[-1][1]
            single = self._single(body[0]) if len(body) == 1 else None
            if single is not None and single.of_bytes and fewest == most <= _MOST_COPIES:
                text = self.sequence(items[:-1]) + single.text + _times(int(fewest), int(fewest))
                self.positions += int(fewest)
                return text
        return self.sequence(items)

    def sequence(self, items: list[_Item]) -> str:
        return "".join(map(self._item, items))

    def _item(self, item: _Item) -> str:
        op, value = item
        single = self._single(item)
        if single is not None:
            self.positions += 1
            return single.text + _CONTINUATION if single.of_bytes else single.text
        if op is _c.BRANCH:
            return f"(?:{'|'.join(self.sequence(_flat(choice)) for choice in value[1])})"
        if _is_repeat(op):
            fewest, most, body = value
            return self._repeat(int(fewest), int(most), _flat(body))
        return _ANCHORS.get(value, "") if op is _c.AT else ""

    def _repeat(self, fewest: int, most: int, body: list[_Item]) -> str:
        single = self._single(body[0]) if len(body) == 1 else None
        if single is not None:
            copies = min(fewest, _MOST_COPIES)
            self.positions += max(copies, 1)
            text = single.text if single.text[0] == "[" else f"(?:{single.text})"
            if most - copies > _EXACT_COPIES:
                return text + _times(copies, None)
            return text + _times(copies, most * 4 if single.of_bytes else most)
        before = self.positions
        once = self.sequence(body)
        if not once:
            return ""
        if most <= _GROUP_COPIES or most == fewest:
            self.positions += (self.positions - before) * max(most - 1, 0)
            return f"(?:{once}){_times(fewest, most)}"
        union = self._union(body)
        if not fewest:
            self.positions = before
        self.positions += 1
        return (f"(?:{once})" if fewest else "") + f"{union}*"

    def _single(self, item: _Item) -> _Class | None:
        """Returns an item that matches one character; ``None`` for any other."""
        op, value = item
        if op is _c.LITERAL:
            return _Class(_escaped(chr(value)), of_bytes=False)
        if op is _c.NOT_LITERAL:
            return _Class(f"[^\\x{value:02x}]" if value < 128 else r"[\x00-\xff]", of_bytes=True)
        if op is _c.ANY:
            return _Class(r"[\x00-\xff]" if self._dot_all else r"[^\n]", of_bytes=True)
        return _class(value) if op is _c.IN else None

    def _union(self, items: list[_Item]) -> str:
        """Returns the class of every byte that the items may match."""
        members, beyond = self._bytes(items)
        ranges: list[list[int]] = []
        for code in sorted(members):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
        text = "".join(f"\\x{low:02x}-\\x{high:02x}" for low, high in ranges)
        return f"[{text}{_BYTES_BEYOND if beyond else ''}]"

    def _bytes(self, items: list[_Item]) -> tuple[set[int], bool]:
        members: set[int] = set()
        beyond = False
        for op, value in items:
            parts: list[tuple[set[int], bool]] = []
            single = self._single((op, value))
            if op is _c.LITERAL:
                parts = [({value} if value < 128 else set(), value > 127)]
            elif single is not None:
                member = re.compile(single.text.encode(), re.DOTALL)
                ascii_members = {code for code in range(128) if member.fullmatch(bytes([code]))}
                parts = [(ascii_members, single.of_bytes or single.text[0] != "[")]
            elif op is _c.BRANCH:
                parts = [self._bytes(_flat(choice)) for choice in value[1]]
            elif _is_repeat(op):
                parts = [self._bytes(_flat(value[2]))]
            for more, more_beyond in parts:
                members |= more
                beyond = beyond or more_beyond
        return members, beyond


_BYTES_BEYOND = r"\x80-\xff"
_MOST_RANGES = 12


def _class(value: Any) -> _Class:
    negated = value[0][0] is _c.NEGATE
    parts: list[str] = []
    ranges: list[str] = []
    of_bytes = negated
    for kind, member in value:
        if kind is _c.CATEGORY:
            parts.append(_CATEGORIES[member])
            of_bytes = of_bytes or member in _BEYOND_ASCII_TOO
        elif kind in {_c.LITERAL, _c.RANGE}:
            low, high = (member, member) if kind is _c.LITERAL else member
            if low < 128:
                parts.append(f"\\x{low:02x}-\\x{min(high, 127):02x}")
            if high > 127:
                ranges.append(_character_range(max(low, 128), high))
    if negated:
        return _Class(f"[^{''.join(parts)}]" if parts else r"[\x00-\xff]", of_bytes=True)
    if of_bytes or len(ranges) > _MOST_RANGES:
        return _Class(f"[{''.join(parts)}{_BYTES_BEYOND}]", of_bytes=True)
    if not ranges:
        return _Class(f"[{''.join(parts)}]", of_bytes=False)
    if parts:
        ranges.insert(0, f"[{''.join(parts)}]")
    return _Class(f"(?:{'|'.join(ranges)})", of_bytes=False)


def _character_range(low: int, high: int) -> str:
    """Returns a range of characters beyond ASCII in bytes: those that both ends share, a range, and any others."""
    first, last = (chr(code).encode("utf-8", "surrogatepass") for code in (low, high))
    if len(first) != len(last):
        return rf"[\x{first[0]:02x}-\x{last[0]:02x}][\x80-\xbf]{{1,3}}"
    shared = 0
    while shared < len(first) and first[shared] == last[shared]:
        shared += 1
    text = "".join(f"\\x{byte:02x}" for byte in first[:shared])
    if shared < len(first):
        text += f"[\\x{first[shared]:02x}-\\x{last[shared]:02x}]"
    rest = len(first) - shared - 1
    return text + (rf"[\x80-\xbf]{{{rest}}}" if rest > 0 else "")


def _times(fewest: int, most: int | None) -> str:
    if most is None:
        return {0: "*", 1: "+"}.get(fewest, f"{{{fewest},}}")
    if fewest == most:
        return "" if most == 1 else f"{{{most}}}"
    return "?" if (fewest, most) == (0, 1) else f"{{{fewest},{most}}}"
