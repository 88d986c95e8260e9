r"""Properties of a regular expression that are known without running it.

A rule's pattern is read as a tree, and two things are taken from it: its greatest width, so that a match can be
confirmed in a window; and clauses of literals, of each of which every match holds one, so that the engines need look
for literals only. Patterns are ASCII in ``\w``, ``\d``, ``\s`` and ``\b``: a secret pressed
against a letter of another script is still a secret.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cylestio_monitor.rules.backtracking import ways
from cylestio_monitor.rules.groups import digit_groups
from cylestio_monitor.rules.literals import EDGE, MARK, REPEATS, Clause, clauses, flat, score, telling
from cylestio_monitor.rules.prefilter import UnsupportedError, narrowest, shared_form

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
    from re import _parser as _p  # type: ignore[attr-defined]
else:
    import sre_constants as _c
    import sre_parse as _p

UNBOUNDED = 64
"""The bound of ``*`` and ``+``: without one no window would be large enough."""

_BOUNDS = {r"\s": 11, r"\w": 23}
"""The same for a run of blanks and for a word."""

MAX_WIDTH = 4096
_VERY_RARE = 4.0  # a clause that scores more needs no other beside it
_RARE = 1.5
_USABLE = 0.85  # a clause that scores less is met in most texts
_HELPFUL = 0.9  # beside another: one that scores less costs more than it tells
_HELPFUL_TO_WEAK = -0.4  # the same where the first is not `_RARE`
_MOST_FURTHER = 2
_MOST_HELD = 4
_QUANTIFIER = re.compile(r"\{(\d*),(\d*)\}|[*+]")


class PatternError(ValueError):
    """A pattern that cannot be searched for in bounded time."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The known properties of a pattern.

    Attributes:
        regex: The pattern with every repetition bounded, for `re` with `flags`.
        flags: Flags for `re.compile`.
        width: Most code points a match has.
        clauses: Every match holds a literal of each, the rarest first; see `rules.literals`. A literal that begins
            with `MARK` is an expression. Never empty.
        held: Sets of words, of each of which every match holds one too, as they stand in a text in lower case.
        groups: The lengths of the runs of digits, of which every match has one sequence; see `rules.groups`.
    """

    regex: str
    flags: int
    width: int
    clauses: tuple[Clause, ...]
    held: tuple[Clause, ...]
    groups: tuple[bytes, ...]
    ways: float


@lru_cache(maxsize=2048)
def shape(pattern: str, *, ignore_case: bool) -> Shape:
    """Reads a pattern, which takes about a millisecond.

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
    try:
        found = [(score(clause), clause) for clause in dict.fromkeys(clauses(tree, shared_form))]
        found.sort(key=lambda pair: -pair[0])
        needed = _needed(tree, found)
        return Shape(regex, flags, int(wide), needed, _held(tree, found, needed[0]), digit_groups(tree), ways(tree))
    except UnsupportedError as error:
        raise PatternError(str(error)) from error


def _held(tree: Any, found: list[tuple[float, Clause]], lead: Clause) -> tuple[Clause, ...]:
    """Returns the words that a window must hold before the pattern is tried: one of each rare clause but the first."""
    others = [clause for _, clause in found if clause != lead]
    items = [item for item in flat(tree) if item[0] is not _c.AT]
    if len(items) == 1 and items[0][0] is _c.BRANCH:
        branches = items[0][1][1]
        others.append(_of_all([sorted(clauses(branch, shared_form), key=score, reverse=True) for branch in branches]))
    plain = [clause for clause in others if not any(MARK in literal or not literal.isascii() for literal in clause)]
    held = (tuple(dict.fromkeys(map(_longest_word, clause))) for clause in plain)
    return tuple(words for words in held if words and all(words))[:_MOST_HELD]


def _of_all(choices: list[list[Clause]]) -> Clause:
    """A clause of a choice: the second rarest of each part, or the rarest where it has no other."""
    if not all(choices):
        return ()
    return tuple(dict.fromkeys(literal for choice in choices for literal in choice[min(1, len(choice) - 1)]))


def _longest_word(literal: str) -> str:
    return max(literal.strip(EDGE).split(), key=len, default="")


def _needed(tree: Any, found: list[tuple[float, Clause]]) -> tuple[Clause, ...]:
    """The clauses worth looking for, the rarest first."""
    if not found or found[0][0] < _USABLE:
        narrow = narrowest(tree)
        if narrow or not found:
            return ((narrow or MARK,),)
    lead = found[0][0]
    if lead >= _VERY_RARE:
        return (found[0][1],)
    helpful = _HELPFUL if lead >= _RARE else _HELPFUL_TO_WEAK
    further = [clause for rarity, clause in found[1:] if rarity >= helpful and telling(clause)]
    return (found[0][1], *further[:_MOST_FURTHER])


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
        if op in REPEATS:
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
