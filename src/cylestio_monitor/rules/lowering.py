"""A pattern as expressions for the multi-pattern engine: wider, over UTF-8 bytes, and cheap for it."""

from __future__ import annotations

import re
import sys
from typing import Any

from cylestio_monitor.rules.literals import REPEATS, best, flat, score

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
else:
    import sre_constants as _c


class UnsupportedError(ValueError):
    """A construct that cannot be searched for in linear time."""


_MAX_COST = 900  # states of the engine for one pattern
_GAP_COST = 8
_LONGEST_GAP = 600
_SPLIT_COST = 120  # an expression that costs more is reduced, or split into its alternatives
_RARE = 4  # characters of a literal that seldom stands in a text by chance
_MAX_SPLIT = 64
_LOOSE = 3  # a repetition that varies by more is left unbounded for the engine
_WIDE = 3  # bytes of a code point beyond ASCII, but for the rare astral ones, which the engine's class covers singly


def lower(tree: Any) -> tuple[str, ...]:
    """The tree as expressions over bytes, of which one matches wherever the tree does.

    A cheap tree is kept whole. A costly one is left to the literals that every match holds, where these are rare
    enough; else its alternatives become expressions of their own, each led by a literal.
    """
    items = flat(tree)
    if sum(map(_cost, items)) > _SPLIT_COST:
        rare = best(items)
        if rare and min(map(len, rare)) >= _RARE:
            # Literals are known in lower case, whatever the rule says of letter case.
            return tuple(f"(?i:{''.join(map(_folded, text))})" for text in rare)
    lowered = []
    for sequence in _alternatives(items):
        costly = sum(map(_cost, sequence)) > _MAX_COST
        lowered.append(_emitted(max(_segments(sequence), key=_rarity) if costly else sequence))
    return tuple(dict.fromkeys(lowered))


def _folded(character: str) -> str:
    return r"\d" if character == "0" else _character(ord(character))


def _emitted(items: list[Any]) -> str:
    # The engine reports every end and no start: an outer repetition need not be seen whole.
    return "".join(_emit(item, outer=number in {0, len(items) - 1}) for number, item in enumerate(items))


def _alternatives(items: list[Any]) -> list[list[Any]]:
    """The sequence once for every alternative of its first branching, where that makes it cheaper."""
    out: list[list[Any]] = []
    waiting = [items]
    while waiting:
        sequence = waiting.pop(0)
        place = next((n for n, (op, _) in enumerate(sequence) if op in {_c.BRANCH, *REPEATS}), None)
        branching = place is not None and sequence[place][0] is _c.BRANCH
        if not branching or sum(map(_cost, sequence)) <= _SPLIT_COST or len(out) + len(waiting) > _MAX_SPLIT:
            out.append(sequence)
            continue
        at = int(place or 0)
        waiting += [sequence[:at] + flat(branch) + sequence[at + 1 :] for branch in sequence[at][1][1]]
    return out


def _segments(items: list[Any]) -> list[list[Any]]:
    """The parts of a sequence between its varying gaps."""
    segments: list[list[Any]] = [[]]
    for item in items:
        op, value = item
        if op in REPEATS and value[1] - value[0] > _LOOSE and _emit(item) != r"(?:[\s]){1,}":
            segments.append([])
        else:
            segments[-1].append(item)
    return [segment for segment in segments if segment] or [items]


def _rarity(items: list[Any]) -> float:
    return score(best(items)) - sum(map(_cost, items)) / 10_000


def _cost(item: Any) -> int:
    """About how many states the engine needs."""
    op, value = item
    if op in REPEATS:
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
    if op in REPEATS:
        return _repeat(*value, outer=outer)
    if op is _c.AT:
        return _PLACES[str(value)]
    if op in {_c.ASSERT, _c.ASSERT_NOT}:
        return ""
    raise UnsupportedError(f"{str(op).lower()} is not supported")


def _repeat(least: int, most: int, body: Any, *, outer: bool) -> str:
    inner = "".join(map(_emit, body))
    if not inner:
        return ""
    if outer:
        return f"(?:{inner}){{{least}}}" if least else ""
    single = len(body) == 1 and body[0][0] in {_c.IN, _c.LITERAL}
    if single and most - least > _LOOSE and not _beyond_ascii(body[0]):
        # A run of blanks or letters ends soon by itself; counting it costs the engine memory and time.
        return f"(?:{inner}){{{least},}}"
    if not single and most - least > _LOOSE - 1 and not (len(body) == 1 and body[0][0] is _c.ANY):
        # A run of whole words is, for the engine, the words it must have and a gap of any characters.
        _, wide = _summed(body)
        rest = (most - least) * wide
        head = f"(?:{inner}){{{least}}}" if least else ""
        return head + (r"[^\x00]*" if rest > _LONGEST_GAP else rf"[^\x00]{{0,{rest}}}")
    if _within_line(body) and most - least > _LONG_GAP:
        # The line's end stops it soon enough; counting to hundreds takes the engine long to compile.
        return f"(?:{inner}){{{least},}}"
    if any(map(_beyond_ascii, body)):
        most *= _WIDE
    return f"(?:{inner}){{{least},{most}}}" if most else ""


def _within_line(body: Any) -> bool:
    """Whether a repeated node is any character of the line."""
    if len(body) != 1:
        return False
    op, value = body[0]
    return (
        op is _c.ANY
        or (op is _c.NOT_LITERAL and value == _NEWLINE)
        or (op is _c.IN and value[0][0] is _c.NEGATE and (_c.LITERAL, _NEWLINE) in value)
    )


_NEWLINE = 10
_LONG_GAP = 30


def _widths(item: Any) -> tuple[int, int]:
    """Fewest and most bytes of an item."""
    op, value = item
    if op in REPEATS:
        narrow, wide = _summed(value[2])
        return narrow * int(value[0]), wide * int(value[1])
    if op is _c.SUBPATTERN:
        return _summed(value[3])
    if op is _c.BRANCH:
        sums = [_summed(branch) for branch in value[1]]
        return min(narrow for narrow, _ in sums), max(wide for _, wide in sums)
    if op in {_c.AT, _c.ASSERT, _c.ASSERT_NOT}:
        return 0, 0
    return 1, 4 if _beyond_ascii(item) or (op is _c.LITERAL and value > 127) else 1


def _summed(items: Any) -> tuple[int, int]:
    pairs = [_widths(item) for item in items]
    return sum(narrow for narrow, _ in pairs), sum(wide for _, wide in pairs)


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
