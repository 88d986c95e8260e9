r"""What can be known of a regular expression without running it.

A rule's pattern is read as a tree, and three things are taken from it: its greatest width, so that a match can be
confirmed in a window; a wider expression over UTF-8 bytes for the multi-pattern engine; and literals of which every
match holds one, for the pure-Python path. Patterns are ASCII in ``\w``, ``\d``, ``\s`` and ``\b``: a secret pressed
against a letter of another script is still a secret.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from itertools import product
from typing import Any

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
    from re import _parser as _p  # type: ignore[attr-defined]
else:
    import sre_constants as _c
    import sre_parse as _p

UNBOUNDED = 64
"""What ``*`` and ``+`` stand for at most: without a bound no window would be large enough."""

MAX_WIDTH = 4096
_MAX_COST = 500  # states of the engine for one pattern
_GAP_COST = 8
_MAX_LITERALS = 48
_LOOSE = 3  # a repetition that varies by more is left unbounded for the engine
_WIDE = 3  # bytes of a code point beyond ASCII, but for the rare astral ones, which the engine's class covers singly

_QUANTIFIER = re.compile(r"\{(\d*),(\d*)\}|[*+]")


class PatternError(ValueError):
    """A pattern that cannot be searched for in bounded time."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pattern is known to be.

    Attributes:
        regex: The pattern with every repetition bounded, for `re` with `flags`.
        flags: Flags for `re.compile`.
        width: Most code points a match has.
        prefilter: Expression for the engine: wherever the pattern matches, it matches within.
        literals: Texts, lower-case and with every digit as ``0``, of which every match holds one; empty where none
            is known.
    """

    regex: str
    flags: int
    width: int
    prefilter: str
    literals: tuple[str, ...]


def shape(pattern: str, *, ignore_case: bool) -> Shape:
    """Reads a pattern.

    Raises:
        PatternError: It has a back-reference, is wider than `MAX_WIDTH`, may match nothing, or nests repetitions so
            that its time would not be linear.
        re.error: It is no pattern.
    """
    regex = bounded(pattern)
    flags = re.ASCII | (re.IGNORECASE if ignore_case else 0)
    tree = _p.parse(regex, flags)
    narrow, wide = tree.getwidth()
    if wide > MAX_WIDTH:
        raise PatternError(f"may match {wide} characters, more than {MAX_WIDTH}")
    if narrow == 0:
        raise PatternError("may match nothing at all")
    _refuse_nested(tree, inside=False)
    literals = _literals(tree) or ()
    fewest = tuple(text for text in literals if not any(other != text and other in text for other in literals))
    return Shape(regex, flags, int(wide), _lower(tree), fewest)


def bounded(pattern: str) -> str:
    """The pattern with ``*``, ``+`` and ``{n,}`` bounded, and nothing else changed."""
    out: list[str] = []
    index, opened = 0, -1
    while index < len(pattern):
        character = pattern[index]
        if character == "\\":
            out.append(pattern[index : index + 2])
            index += 2
            continue
        if opened >= 0:
            # A bracket that comes first in a class is a member of it.
            if character == "]" and pattern[opened + 1 : index] not in {"", "^"}:
                opened = -1
        elif character == "[":
            opened = index
        else:
            quantifier = _QUANTIFIER.match(pattern, index)
            if quantifier and (quantifier[2] == "" or quantifier[0] in "*+"):
                least = 1 if quantifier[0] == "+" else int(quantifier[1] or 0)
                out.append(f"{{{least},{max(least, 1) + UNBOUNDED}}}")
                index = quantifier.end()
                continue
        out.append(character)
        index += 1
    return "".join(out)


def _refuse_nested(tree: Any, *, inside: bool) -> None:
    """Refuses a long repetition of something that itself repeats: its time is not linear in the window."""
    for op, value in tree:
        if op in {_c.MAX_REPEAT, _c.MIN_REPEAT}:
            least, most, body = value
            long = most > 12 and most != least
            if long and inside:
                raise PatternError("a repetition within a repetition: bound the outer one to 12 or less")
            _refuse_nested(body, inside=inside or long)
        elif op is _c.SUBPATTERN:
            _refuse_nested(value[3], inside=inside)
        elif op is _c.BRANCH:
            for branch in value[1]:
                _refuse_nested(branch, inside=inside)
        elif op in {_c.ASSERT, _c.ASSERT_NOT}:
            _refuse_nested(value[1], inside=inside)
        elif op in {_c.GROUPREF, _c.GROUPREF_EXISTS}:
            raise PatternError("a back-reference cannot be searched for in linear time")


# --- the wider expression for the engine


def _lower(tree: Any) -> str:
    """The tree as an expression over bytes that matches at least wherever the tree does.

    A costly one is left to its rarest segment between two varying gaps; the rest is confirmed.
    """
    items = _flat(tree)
    if sum(map(_cost, items)) > _MAX_COST:
        items = max(_segments(items), key=_rarity)
    # The engine reports every end and no start: an outer repetition need not be seen whole.
    return "".join(_emit(item, outer=number in {0, len(items) - 1}) for number, item in enumerate(items))


def _flat(tree: Any) -> list[Any]:
    """The items of a sequence, those of plain groups in their place."""
    items: list[Any] = []
    for op, value in tree:
        if op is _c.SUBPATTERN and not value[1] and not value[2]:
            items += _flat(value[3])
        else:
            items.append((op, value))
    return items


def _segments(items: list[Any]) -> list[list[Any]]:
    """The parts of a sequence between its varying gaps."""
    segments: list[list[Any]] = [[]]
    for item in items:
        op, value = item
        if op in {_c.MAX_REPEAT, _c.MIN_REPEAT} and value[1] - value[0] > _LOOSE:
            segments.append([])
        else:
            segments[-1].append(item)
    return [segment for segment in segments if segment] or [items]


def _rarity(items: list[Any]) -> float:
    return _score(_literals(items)) - sum(map(_cost, items)) / 10_000


def _cost(item: Any) -> int:
    """About how many states the engine needs."""
    op, value = item
    if op in {_c.MAX_REPEAT, _c.MIN_REPEAT}:
        least, most, body = value
        inner = sum(map(_cost, body))
        return int(max(least, 1) * inner + (_GAP_COST if most - least > _LOOSE else 0))
    if op is _c.SUBPATTERN:
        return sum(map(_cost, value[3]))
    if op is _c.BRANCH:
        return sum(sum(map(_cost, branch)) for branch in value[1])
    return 1


_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
_PLACES = {
    "AT_BEGINNING": "^",
    "AT_BEGINNING_STRING": "^",
    "AT_BOUNDARY": r"\b",
    "AT_NON_BOUNDARY": "",
    "AT_END": "",
    "AT_END_STRING": "",
}


def _emit(item: Any, *, outer: bool = False) -> str:
    op, value = item
    if op is _c.LITERAL:
        return _character(value)
    if op is _c.NOT_LITERAL:
        return f"[^{_member(value)}]" if value < 128 else r"[\x00-\xff]"
    if op is _c.ANY:
        return r"[^\n]"
    if op is _c.IN:
        return _class(value)
    if op is _c.BRANCH:
        return "(?:" + "|".join("".join(map(_emit, branch)) for branch in value[1]) + ")"
    if op is _c.SUBPATTERN:
        _, add, remove, body = value
        flags = ("i" if add & re.IGNORECASE else "") + ("-i" if remove & re.IGNORECASE else "")
        return f"(?{flags}:" + "".join(map(_emit, body)) + ")"
    if op in {_c.MAX_REPEAT, _c.MIN_REPEAT}:
        return _repeat(*value, outer=outer)
    if op is _c.AT:
        return _PLACES[str(value)]
    if op in {_c.ASSERT, _c.ASSERT_NOT}:
        return ""
    raise PatternError(f"{str(op).lower()} is not supported")


def _repeat(least: int, most: int, body: Any, *, outer: bool) -> str:
    inner = "".join(map(_emit, body))
    if not inner:
        return ""
    if outer:
        return f"(?:{inner}){{{least}}}" if least else ""
    if most - least > _LOOSE:
        # Counting costs the engine memory and time; what lies beyond the bound is refused when it is confirmed.
        return f"(?:{inner}){{{least},}}"
    if any(map(_beyond_ascii, body)):
        most *= _WIDE
    if most == 0:
        return ""
    return f"(?:{inner}){{{least},{most}}}"


def _beyond_ascii(item: Any) -> bool:
    op, value = item
    if op is _c.ANY or op is _c.NOT_LITERAL:
        return True
    if op is _c.IN:
        return any(
            kind is _c.NEGATE
            or (kind is _c.RANGE and member[1] > 127)
            or (kind is _c.LITERAL and member > 127)
            or (kind is _c.CATEGORY and "NOT" in str(member))
            for kind, member in value
        )
    if op is _c.SUBPATTERN:
        return any(map(_beyond_ascii, value[3]))
    if op is _c.BRANCH:
        return any(_beyond_ascii(node) for branch in value[1] for node in branch)
    return False


def _character(code: int) -> str:
    if code < 128:
        return _member(code)
    return "(?:" + "".join(f"\\x{byte:02x}" for byte in chr(code).encode("utf-8", "surrogatepass")) + ")"


def _member(code: int) -> str:
    return chr(code) if chr(code).isalnum() and code < 128 else f"\\x{code:02x}"


def _class(value: Any) -> str:
    negated = False
    members: list[str] = []
    beyond: list[str] = []
    for kind, member in value:
        if kind is _c.NEGATE:
            negated = True
        elif kind is _c.LITERAL:
            if member < 128:
                members.append(_member(member))
            else:
                beyond.append(_character(member))
        elif kind is _c.RANGE:
            low, high = member
            if low < 128:
                members.append(f"{_member(low)}-{_member(min(high, 127))}")
            if high > 127:
                beyond.append(_range(max(low, 128), high))
        else:
            members.append(_CATEGORIES[str(member)])
    if negated:
        return f"[^{''.join(members)}]" if any(members) else r"[\x00-\xff]"
    if members:
        beyond.append(f"[{''.join(members)}]")
    return beyond[0] if len(beyond) == 1 else f"(?:{'|'.join(beyond)})"


def _range(low: int, high: int) -> str:
    """A range of code points beyond ASCII: the bytes its two ends share, then any."""
    first, last = (chr(code).encode("utf-8", "surrogatepass") for code in (low, high))
    if len(first) != len(last):
        return r"(?:[\xc2-\xf4][\x80-\xbf]{1,3})"
    shared = 0
    while shared < len(first) and first[shared] == last[shared]:
        shared += 1
    head = "".join(f"\\x{byte:02x}" for byte in first[:shared])
    if shared < len(first):
        head += f"[\\x{first[shared]:02x}-\\x{last[shared]:02x}]"
    rest = len(first) - shared - 1
    return f"(?:{head}" + (rf"[\x80-\xbf]{{{rest}}})" if rest > 0 else ")")


# --- literals that every match holds


def _literals(tree: Any) -> tuple[str, ...] | None:
    """The best set of lower-case literals of which every match of the sequence holds one."""
    best: tuple[str, ...] | None = None
    run: tuple[str, ...] = ("",)
    for item in tree:
        exact = _exact(item)
        if exact is not None:
            longer = tuple(dict.fromkeys(a + b for a, b in product(run, exact)))
            if len(longer) <= _MAX_LITERALS:
                run = longer
                continue
            best = _better(best, run)
            run = exact
            continue
        best = _better(best, run)
        run = ("",)
        best = _better(best, _inner(item))
    return _better(best, run)


def _inner(item: Any) -> tuple[str, ...] | None:
    op, value = item
    if op is _c.SUBPATTERN:
        return _literals(value[3])
    if op is _c.BRANCH:
        sets = [_literals(branch) for branch in value[1]]
        if all(sets):
            union = tuple(dict.fromkeys(text for found in sets for text in found or ()))
            return union if len(union) <= _MAX_LITERALS else None
    if op in {_c.MAX_REPEAT, _c.MIN_REPEAT} and value[0] >= 1:
        return _literals(list(value[2]) * min(value[0], 8))
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
    if op in {_c.MAX_REPEAT, _c.MIN_REPEAT} and value[0] == value[1] and value[0] <= 16:
        return _sequence(list(value[2]) * value[0])
    if op in {_c.MAX_REPEAT, _c.MIN_REPEAT} and (value[0], value[1]) == (0, 1):
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


def _better(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return max((one, other), key=_score)


def _score(found: tuple[str, ...] | None) -> float:
    if not found:
        return -1.0
    shortest = min(map(len, found))
    # A longer literal is rarer; more of them cost more to look for.
    return shortest - len(found) * 0.05 if shortest else -1.0
