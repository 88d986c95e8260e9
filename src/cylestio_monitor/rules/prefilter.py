"""Expressions for what holds no literal worth looking for: runs of digits, tokens, and the narrowest part of the rest.

They are searched in the bytes of a text whose white space is single blanks, by the multi-pattern engine and by `re`
alike, so they are written in what both understand. An expression is wider than the pattern it stands for. Runs of
digits and tokens are a few expressions that hundreds of rules share, as each expression of its own costs time on
every text.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from cylestio_monitor.rules.literals import BLANKS, MARK, REPEATS, flat

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
    from re import _parser as _p  # type: ignore[attr-defined]
else:
    import sre_constants as _c
    import sre_parse as _p

START = MARK + "^"
"""Holds at the start of every text: for a pattern that can match there only. `MARK` alone holds everywhere."""


class UnsupportedError(ValueError):
    """A construct that cannot be searched for in linear time."""


_GAP = 3  # separators between two digits of a number
_SEPARATORS = frozenset(b" ./()-")
_FEWEST_DIGITS, _MOST_DIGITS = 6, 20


def digits(count: int) -> str:
    """The expression for a run of so many digits, with separators."""
    return rf"{MARK}\d(?:[ ./()-]{{0,{_GAP}}}\d){{{count - 1}}}"


DIGITS = {digits(count): count for count in range(_FEWEST_DIGITS, _MOST_DIGITS + 1)}
"""The expressions for runs of digits, with the number of digits."""

SHORTEST_DIGITS = digits(_FEWEST_DIGITS)
"""The text that the engines look for in place of any of `DIGITS`."""

TOKEN_LENGTH = 22
TOKEN = rf"{MARK}[A-Za-z0-9+/_-]{{16}}"
"""A run of characters that tokens are made of; stands for patterns that ask for `TOKEN_LENGTH` of them."""

CODE = rf"{MARK}[A-Z]{{2}}\d\d"
"""Letters and then digits, as codes of people and of accounts have them."""

_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_TOKEN_CHARACTERS = _LETTERS | frozenset(b"0123456789+/_-")
_DIGIT_CHARACTERS = frozenset(b"0123456789")
_BLANK = ord(" ")
_LOOSE = 3  # a repetition that varies by more parts a segment
_LONGEST = 24  # copies of a repeated character that an expression asks for
_FEW = 2  # copies of anything longer
_MAX_BOUND = 64
_TELLING = 2.0
_FEWEST_OF_CODE = 2
_BEYOND_ASCII = r"(?:[\xc2-\xf4][\x80-\xbf]{1,3})"


def shared_form(tree: Any) -> str:
    """The expression for digits, tokens or codes that every match of a pattern holds; empty where there is none."""
    items = flat(tree)
    count = _fewest(items, _DIGIT_CHARACTERS, _SEPARATORS)
    if count >= _FEWEST_DIGITS:
        return digits(min(count, _MOST_DIGITS))
    if _fewest(items, _TOKEN_CHARACTERS, frozenset()) >= TOKEN_LENGTH:
        return TOKEN
    if _has_code(items):
        return CODE
    # A part that repeats has no state of its own, and no start of a text in it either.
    state = getattr(tree, "state", None)
    anchored = state is not None and not state.flags & re.MULTILINE
    return START if anchored and items and items[0] == (_c.AT, _c.AT_BEGINNING) else ""


def _has_code(items: list[Any]) -> bool:
    """Returns whether two letters and two digits stand side by side in every match."""
    letters = digits = 0
    for item in items:
        letter, digit = _part(item, _LETTERS, frozenset()), _part(item, _DIGIT_CHARACTERS, frozenset())
        if digit is not None and digit[0] and letters >= _FEWEST_OF_CODE:
            digits += digit[0]
            if digits >= _FEWEST_OF_CODE:
                return True
        elif letter is not None and letter[0]:
            letters, digits = (letters if not digits else 0) + letter[0], 0
        elif letter is None or letter[1] or digit is None:
            letters = digits = 0
    return False


def narrowest(tree: Any) -> str:
    """The part of a pattern that narrows a text down the most, where that is a shape and no word; else empty.

    Raises:
        UnsupportedError: The pattern has a construct that cannot be searched for in linear time.
    """
    items = flat(tree)
    if len(items) == 1 and items[0][0] is _c.BRANCH:
        choices = [narrowest(branch) for branch in items[0][1][1]]
        return f"{MARK}(?:{'|'.join(choice[1:] for choice in choices)})" if all(choices) else ""
    shapes = [segment for segment in _segments(items) if not _worded(segment)]
    segment = max(shapes, key=_information, default=[])
    return MARK + "".join(map(_emit, segment)) if _information(segment) >= _TELLING else ""


def asked_for(expression: str) -> list[bytes]:
    """Bytes of each of which a text holds at least one where the expression matches: quicker to ask for than to search.

    Args:
        expression: An expression of this module, without its `MARK`.
    """
    return [bytes(sorted(wanted)) for wanted in _asked(_p.parse(expression))]


def _asked(tree: Any) -> set[frozenset[int]]:
    wanted: set[frozenset[int]] = set()
    for op, value in flat(tree):
        if op in {_c.LITERAL, _c.IN}:
            characters = _characters((op, value)) if op is _c.LITERAL or value[0][0] is not _c.NEGATE else None
            if characters is not None and len(characters) <= len(_DIGIT_CHARACTERS):
                both = {chr(code).swapcase() for code in characters} | {chr(code) for code in characters}
                wanted.add(frozenset(map(ord, both)))
        elif op in REPEATS and value[0]:
            wanted |= _asked(value[2])
        elif op is _c.BRANCH:
            first, *others = (_asked(branch) for branch in value[1])
            wanted |= first.intersection(*others)
    return wanted


def _worded(items: list[Any]) -> bool:
    """Returns whether the items hold a letter by itself: then literals say more."""
    return any(
        (op is _c.LITERAL and chr(value).isalpha())
        or (op is _c.BRANCH and any(_worded(flat(branch)) for branch in value[1]))
        or (op in REPEATS and _worded(flat(value[2])))
        for op, value in items
    )


def _fewest(items: list[Any], wanted: frozenset[int], between: frozenset[int]) -> int:
    """Fewest characters of a kind that stand in a run of every match, at most `_GAP` others between two of them."""
    most = run = gap = 0
    for item in items:
        told = _part(item, wanted, between)
        if told is None:
            choices = [_fewest(flat(branch), wanted, between) for branch in item[1][1]] if item[0] is _c.BRANCH else [0]
            most = max(most, run, min(choices))
            run = gap = 0
            continue
        count, lead, trail = told
        if count:
            if gap + lead > _GAP:
                most, run = max(most, run), 0
            run += count
            gap = trail
        else:
            gap += lead
    return max(most, run)


def _part(item: Any, wanted: frozenset[int], between: frozenset[int]) -> tuple[int, int, int] | None:
    """Of an item made of nothing else: fewest wanted characters, and most others before the first and after the last.

    ``None`` where it holds anything else, or so many separators that the run may end in it.
    """
    op, value = item
    if op in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
        return 0, 0, 0
    if op in {_c.LITERAL, _c.IN}:
        characters = _characters(item)
        if characters is not None and characters <= wanted:
            return 1, 0, 0
        return (0, 1, 0) if characters is not None and characters <= between else None
    if op is _c.BRANCH:
        parts = [_whole(flat(branch), wanted, between) for branch in value[1]]
        if any(part is None for part in parts):
            return None
        known = [part for part in parts if part is not None]
        if any(count for count, _, _ in known) and not all(count for count, _, _ in known):
            # One choice has digits and another none: what is around it may stand that far apart.
            return 0, max(max(lead, trail) for _, lead, trail in known), 0
        return (
            min(count for count, _, _ in known),
            max(lead for _, lead, _ in known),
            max(trail for _, _, trail in known),
        )
    if op in REPEATS:
        least, most, body = value
        inner = _whole(flat(body), wanted, between)
        if inner is None:
            return None
        count, lead, trail = inner
        if not count:
            widest = lead if _all_blank(body) else lead * int(most)
            return (0, widest, 0) if widest <= _GAP else None
        if not least:
            return 0, max(lead, trail), 0
        return (count * int(least), lead, trail) if lead + trail <= _GAP else None
    return None


def _whole(items: list[Any], wanted: frozenset[int], between: frozenset[int]) -> tuple[int, int, int] | None:
    total = first = gap = 0
    for item in items:
        told = _part(item, wanted, between)
        if told is None:
            return None
        count, lead, trail = told
        if not count:
            gap += lead
        elif not total:
            total, first, gap = count, gap + lead, trail
        else:
            if gap + lead > _GAP:
                return None
            total, gap = total + count, trail
    return (total, first, gap) if total else (0, gap, 0)


def _all_blank(body: Any) -> bool:
    return all(op in {_c.LITERAL, _c.IN} and _characters((op, value)) == frozenset({_BLANK}) for op, value in body)


def _characters(item: Any) -> frozenset[int] | None:
    """The ASCII characters that a literal or a class stands for, white space as a blank; ``None`` where others."""
    op, value = item
    out: set[int] = set()
    for kind, member in [(op, value)] if op is _c.LITERAL else value:
        if kind is _c.LITERAL and member < 128:
            out.add(_BLANK if member in BLANKS else member)
        elif kind is _c.RANGE and member[1] < 128:
            out.update(range(member[0], member[1] + 1))
        elif kind is _c.CATEGORY and member is _c.CATEGORY_DIGIT:
            out |= _DIGIT_CHARACTERS
        elif kind is _c.CATEGORY and member is _c.CATEGORY_WORD:
            out |= _LETTERS | _DIGIT_CHARACTERS | {ord("_")}
        elif kind is _c.CATEGORY and member is _c.CATEGORY_SPACE:
            out.add(_BLANK)
        else:
            return None
    return frozenset(out)


def _segments(items: list[Any]) -> list[list[Any]]:
    """The parts of a sequence between its varying gaps and its blanks.

    A run of white space is one blank in what is searched, so a part holds nothing that may be one.
    """
    segments: list[list[Any]] = [[]]
    for item in items:
        op, value = item
        if _may_be_blank(item):
            segments.append([])
        elif op in REPEATS and (value[1] - value[0] > _LOOSE or value[0] > _most_copies(value[2])):
            # The fewest copies stand at the end of one part and at the start of the next.
            copies = min(value[0], _most_copies(value[2]))
            fewest = [(_c.MAX_REPEAT, (copies, copies, value[2]))] if copies else []
            segments[-1] += fewest
            segments.append(list(fewest))
        else:
            segments[-1].append(item)
    return segments


def _most_copies(body: Any) -> int:
    """Returns the number of copies of a repeated part that suffice: parts of several characters cost engine states."""
    return _LONGEST if len(body) == 1 and body[0][0] in {_c.IN, _c.LITERAL} else _FEW


def _may_be_blank(item: Any) -> bool:
    op, value = item
    if op in {_c.ANY, _c.NOT_LITERAL}:
        return True
    if op is _c.LITERAL:
        return value in BLANKS
    if op is _c.IN:
        return any(
            kind is _c.NEGATE
            or (kind is _c.LITERAL and member in BLANKS)
            or (kind is _c.RANGE and any(member[0] <= blank <= member[1] for blank in BLANKS))
            or (kind is _c.CATEGORY and member in {_c.CATEGORY_SPACE, _c.CATEGORY_NOT_DIGIT, _c.CATEGORY_NOT_WORD})
            for kind, member in value
        )
    if op is _c.BRANCH:
        return any(_may_be_blank(part) for branch in value[1] for part in flat(branch))
    if op in REPEATS:
        return any(map(_may_be_blank, flat(value[2])))
    if op in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
        return False
    raise UnsupportedError(f"{str(op).lower()} is not supported")


def _information(items: list[Any]) -> float:
    """About how many characters of a text the items narrow down."""
    total = 0.0
    for op, value in items:
        if op is _c.LITERAL:
            total += 1.0
        elif op is _c.IN:
            total += 0.2 if value[0][0] is _c.NEGATE else 0.6
        elif op is _c.BRANCH:
            total += min(_information(flat(branch)) for branch in value[1])
        elif op in REPEATS:
            total += _information(flat(value[2])) * min(value[0], _LONGEST)
    return total


def _emit(item: Any) -> str:
    op, value = item
    if op is _c.LITERAL:
        return _character(value)
    if op is _c.IN:
        return _class(value)
    if op is _c.BRANCH:
        numbers = [_digits_of(flat(branch)) for branch in value[1]]
        if all(most for _, most in numbers):
            # Which number it is costs the engine states, and tells little.
            return rf"\d{{{min(least for least, _ in numbers)},{max(most for _, most in numbers)}}}"
        return "(?:" + "|".join("".join(map(_emit, flat(branch))) for branch in value[1]) + ")"
    if op in REPEATS:
        least, most, body = value
        inner = "".join(map(_emit, flat(body)))
        bound = str(most) if most <= _MAX_BOUND else ""
        return f"(?:{inner}){{{least},{bound}}}" if inner and most else ""
    return r"\b" if op is _c.AT and value is _c.AT_BOUNDARY else ""


def _digits_of(items: list[Any]) -> tuple[int, int]:
    """Returns the least and the most digits of the items; ``(0, 0)`` for items that hold anything else."""
    fewest = most = 0
    for op, value in items:
        least, greatest, body = value if op in REPEATS else (1, 1, [(op, value)])
        characters = _characters(body[0]) if len(body) == 1 and body[0][0] in {_c.LITERAL, _c.IN} else None
        if characters is None or not characters <= _DIGIT_CHARACTERS:
            return 0, 0
        fewest, most = fewest + int(least), most + int(greatest)
    return fewest, most


_CATEGORIES = {_c.CATEGORY_DIGIT: r"\d", _c.CATEGORY_NOT_SPACE: r"\S", _c.CATEGORY_WORD: r"\w"}


def _character(code: int) -> str:
    if code < 128:
        return chr(code) if chr(code).isalnum() else re.escape(chr(code))
    return "(?:" + _bytes(chr(code)) + ")"


def _bytes(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


def _class(value: Any) -> str:
    members: list[str] = []
    beyond: list[str] = []
    for kind, member in value:
        if kind is _c.LITERAL and member < 128:
            members.append(f"\\x{member:02x}")
        elif kind is _c.LITERAL:
            beyond.append(_character(member))
        elif kind is _c.RANGE:
            low, high = member
            if low < 128:
                members.append(f"\\x{low:02x}-\\x{min(high, 127):02x}")
            if high > 127:
                beyond.append(_range(max(low, 128), high))
        else:
            members.append(_CATEGORIES[member])
            if member is _c.CATEGORY_NOT_SPACE:
                beyond.append(_BEYOND_ASCII)
    if members:
        beyond.append(f"[{''.join(members)}]")
    return beyond[0] if len(beyond) == 1 else f"(?:{'|'.join(beyond)})"


def _range(low: int, high: int) -> str:
    """A range of code points beyond ASCII: the bytes its two ends share, then any."""
    first, last = (chr(code).encode("utf-8", "surrogatepass") for code in (low, high))
    if len(first) != len(last):
        return _BEYOND_ASCII
    shared = 0
    while shared < len(first) and first[shared] == last[shared]:
        shared += 1
    head = "".join(f"\\x{byte:02x}" for byte in first[:shared])
    if shared < len(first):
        head += f"[\\x{first[shared]:02x}-\\x{last[shared]:02x}]"
    rest = len(first) - shared - 1
    return f"(?:{head}" + (rf"[\x80-\xbf]{{{rest}}})" if rest > 0 else ")")
