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

_BOUNDS = {r"\s": 11, r"\w": 23}
"""The same for a run of blanks and for a word."""

MAX_WIDTH = 4096
_MAX_COST = 900  # states of the engine for one pattern
_GAP_COST = 8
_LONGEST_GAP = 600
_SPLIT_COST = 120  # an expression that costs more is reduced, or split into its alternatives
_RARE = 4  # characters of a literal that seldom stands in a text by chance
_MAX_SPLIT = 64
_REPEATS = (_c.MAX_REPEAT, _c.MIN_REPEAT)
_MAX_LITERALS = 48
_ALSO = 2
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
        prefilter: Expressions for the engine: wherever the pattern matches, one of them matches within.
        literals: Texts, lower-case and with every digit as ``0``, of which every match holds one; empty where none
            is known.
        also: Further sets of such texts: every match holds one of each.
    """

    regex: str
    flags: int
    width: int
    prefilter: tuple[str, ...]
    literals: tuple[str, ...]
    also: tuple[tuple[str, ...], ...]


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
    sets = sorted(filter(None, map(_fewest, _literal_sets(tree))), key=_score, reverse=True)
    literals = sets[0] if sets else ()
    also = tuple(found for found in sets[1:] if min(map(len, found)) > 1 and "0" not in "".join(found))[:_ALSO]
    return Shape(regex, flags, int(wide), _lower(tree), literals, also)


def _fewest(found: tuple[str, ...]) -> tuple[str, ...]:
    """The set without the texts that hold another of it; nothing where one of them is empty."""
    if not all(found):
        return ()
    return tuple(text for text in found if not any(other != text and other in text for other in found))


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
                bound = _BOUNDS.get(out[-1] if out else "", UNBOUNDED)
                out.append(f"{{{least},{max(least, 1) + bound}}}")
                index = quantifier.end()
                continue
        out.append(character)
        index += 1
    return "".join(out)


def _refuse_nested(tree: Any, *, inside: bool) -> None:
    """Refuses a long repetition of something that itself repeats: its time is not linear in the window."""
    for op, value in tree:
        if op in _REPEATS:
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


def _lower(tree: Any) -> tuple[str, ...]:
    """The tree as expressions over bytes, of which one matches wherever the tree does.

    A cheap tree is kept whole. A costly one is left to the literals that every match holds, where these are rare
    enough; else its alternatives become expressions of their own, each led by a literal.
    """
    items = _flat(tree)
    if sum(map(_cost, items)) > _SPLIT_COST:
        rare = _literals(items)
        if rare and min(map(len, rare)) >= _RARE:
            return tuple("".join(r"\d" if c == "0" else _character(ord(c)) for c in text) for text in rare)
    lowered = []
    for sequence in _alternatives(items):
        costly = sum(map(_cost, sequence)) > _MAX_COST
        lowered.append(_emitted(max(_segments(sequence), key=_rarity) if costly else sequence))
    return tuple(dict.fromkeys(lowered))


def _emitted(items: list[Any]) -> str:
    # The engine reports every end and no start: an outer repetition need not be seen whole.
    return "".join(_emit(item, outer=number in {0, len(items) - 1}) for number, item in enumerate(items))


def _alternatives(items: list[Any]) -> list[list[Any]]:
    """The sequence once for every alternative of its first branching, where that makes it cheaper."""
    out: list[list[Any]] = []
    waiting = [items]
    while waiting:
        sequence = waiting.pop(0)
        place = next((n for n, (op, _) in enumerate(sequence) if op in {_c.BRANCH, *_REPEATS}), None)
        branching = place is not None and sequence[place][0] is _c.BRANCH
        if not branching or sum(map(_cost, sequence)) <= _SPLIT_COST or len(out) + len(waiting) > _MAX_SPLIT:
            out.append(sequence)
            continue
        at = int(place or 0)
        waiting += [sequence[:at] + _flat(branch) + sequence[at + 1 :] for branch in sequence[at][1][1]]
    return out


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
        if op in _REPEATS and value[1] - value[0] > _LOOSE and _emit(item) != r"(?:[\s]){1,}":
            segments.append([])
        else:
            segments[-1].append(item)
    return [segment for segment in segments if segment] or [items]


def _rarity(items: list[Any]) -> float:
    return _score(_literals(items)) - sum(map(_cost, items)) / 10_000


def _cost(item: Any) -> int:
    """About how many states the engine needs."""
    op, value = item
    if op in _REPEATS:
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
    if op in _REPEATS:
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
    single = len(body) == 1 and body[0][0] in {_c.IN, _c.LITERAL}
    if single and most - least > _LOOSE and not _beyond_ascii(body[0]):
        # A run of blanks or letters ends soon by itself; counting it costs the engine memory and time.
        return f"(?:{inner}){{{least},}}"
    if not single and most - least > _LOOSE - 1 and not (len(body) == 1 and body[0][0] is _c.ANY):
        # A run of whole words is, for the engine, a gap of their characters.
        narrow, wide = _summed(body)
        inner, least, most = r"[^\x00]", least * narrow, most * wide
        return f"{inner}{{{least},{min(most, _LONGEST_GAP)}}}" if most <= _LONGEST_GAP else rf"{inner}{{{least},}}"
    if any(map(_beyond_ascii, body)):
        most *= _WIDE
    return f"(?:{inner}){{{least},{most}}}" if most else ""


def _widths(item: Any) -> tuple[int, int]:
    """Fewest and most bytes of an item."""
    op, value = item
    if op in _REPEATS:
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


# --- literals that every match holds


def _literals(tree: Any) -> tuple[str, ...] | None:
    """The best set of lower-case literals of which every match of the sequence holds one."""
    return max(_literal_sets(tree), key=_score, default=None)


def _literal_sets(tree: Any) -> list[tuple[str, ...]]:
    """Sets of literals, one for each run of the sequence: every match holds one of each set."""
    sets: list[tuple[str, ...]] = []
    run: tuple[str, ...] = ("",)
    for item in _flat(tree):
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
        return _literals(value[3])
    if op is _c.BRANCH:
        sets = [_literals(branch) for branch in value[1]]
        if all(sets):
            union = tuple(dict.fromkeys(text for found in sets for text in found or ()))
            return union if len(union) <= _MAX_LITERALS else None
    if op in _REPEATS and value[0] >= 1:
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
    if op in _REPEATS and value[0] == value[1] and value[0] <= 16:
        return _sequence(list(value[2]) * value[0])
    if op in _REPEATS and (value[0], value[1]) == (0, 1):
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


def _score(found: tuple[str, ...] | None) -> float:
    if not found:
        return -1.0
    shortest = min(map(len, found))
    # A longer literal is rarer; more of them cost more to look for.
    return shortest - len(found) * 0.05 if shortest else -1.0
