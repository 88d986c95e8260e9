"""Literals that every match of a pattern holds: what can be looked for before the pattern itself.

What is known of a pattern is a list of *clauses*: every match holds at least one literal of each clause. Literals are
lower-case; in them a blank stands for any run of white space, and `EDGE` for the border of a word.
"""

from __future__ import annotations

import sys
from itertools import product
from math import log2
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.version_info >= (3, 11):
    from re import _constants as _c  # type: ignore[attr-defined]  # the parser has no public name
else:
    import sre_constants as _c

Clause: TypeAlias = "tuple[str, ...]"

MARK = "\x00"
"""Stands before an expression among the literals of a clause."""

EDGE = "\b"
"""Stands at an end of a literal for the border of a word."""

REPEATS = (_c.MAX_REPEAT, _c.MIN_REPEAT)
BLANKS = frozenset(b" \t\n\r\v\f")
_MAX_LITERALS = 96
_MAX_CLASS = 4
_LONGEST_RUN = 16
_SHORT = 4  # letters up to which a word's border is worth being looked for

FREQUENT = frozenset(
    (  # noqa: SIM905 -- a word a line would be two hundred lines
        "a about after again all also always an and another answer any are as at back be because been before being "
        "between both but by call called can change code come content could create data day did different do does "
        "don't down each email end even every file find first follow following for found from get give go going good "
        "great had has have he help her here him his home house how http https i if in input into is it its just "
        "keep kind large last left let life like line list little long look made mail make man many may me mean "
        "message might mode model more most move much must my name need never new next no not now number of off old "
        "on once one only open or other our out output over page part people person place play please point post "
        "print put question read reply report respond response right role rule rules said same say says see seem "
        "send set she should show side small so some something start state still story such system take tell text "
        "than that the them then there these they thing things think this those three through time to together too "
        "took turn two under until up upon us use used user using very want was water way we well went were what "
        "when where which while who why will with without word words work world would write year years you your"
    ).split()
)
_SIGNS = dict.fromkeys("@#$%&*<>{}[]\\^~|`=_/+", 1.0)
_ALONE = {**dict.fromkeys(_SIGNS, 0.6), "@": 1.0}
_FORM = 3.0  # what a form weighs
_LEAST_TOLD = 0.75


def clauses(items: Any, form: Callable[[Any], str], start: Clause = ("",)) -> list[Clause]:
    """Sets of literals, one for each run of the sequence: every match holds one of each set.

    Args:
        items: A parsed pattern or a part of one.
        form: Gives the expression that stands for a part without literals, or an empty text.
        start: What stands before it.
    """
    sets: list[Clause] = []
    run = start
    for item in flat(items):
        exact = _exact(item)
        longer = None if exact is None else _joined(run, exact)
        if longer is not None:
            run = longer
            continue
        sets.append(run)
        if exact is not None:
            run = exact
            continue
        sets += _inside(item, form, run)
        run = ("",)
    sets.append(run)
    found = [clause for clause in map(_tidy, sets) if clause]
    if any(score(clause) >= _FORM for clause in found):
        return found
    shape = form(items)
    return [*found, (shape,)] if shape else found


def best(found: list[Clause]) -> Clause:
    """The clause that the fewest texts hold a literal of; empty where there is none."""
    return max(found, key=score, default=())


def score(clause: Clause) -> float:
    """Returns the rarity of a text with one of the literals, as the length of a literal that is as rare."""
    if not clause:
        return -9.0
    return -log2(sum(2 ** (-1.5 * _weight(literal)) for literal in clause)) / 1.5


def telling(clause: Clause) -> bool:
    """Returns whether none of its literals is so short or so frequent that the engine meets it at every turn."""
    return min(map(_weight, clause)) >= _LEAST_TOLD


def flat(tree: Any) -> list[Any]:
    """The items of a sequence, those of groups in their place."""
    items: list[Any] = []
    for op, value in tree:
        if op is _c.SUBPATTERN:
            items += flat(value[3])
        else:
            items.append((op, value))
    return items


def _inside(item: Any, form: Callable[[Any], str], run: Clause) -> list[Clause]:
    """Clauses of an item that is not a literal, which stands behind the run."""
    op, value = item
    if op is _c.BRANCH:
        # What stands before a choice makes its literals longer, and more of them.
        starts = (run, ("",)) if run != ("",) else (run,)
        choices = [best([clause for start in starts for clause in clauses(branch, form, start)]) for branch in value[1]]
        return [tuple(dict.fromkeys(text for choice in choices for text in choice))] if all(choices) else []
    if op in REPEATS and value[0] >= 1:
        return clauses(list(value[2]) * min(value[0], _MAX_CLASS), form, run)
    return []


def _exact(item: Any) -> Clause | None:
    """Every text the node can be, where these are few."""
    op, value = item
    if op is _c.LITERAL:
        return (_folded(value),)
    if op is _c.IN:
        return _members(value)
    if op is _c.AT:
        return (EDGE,) if value is _c.AT_BOUNDARY else ("",)
    if op in {_c.ASSERT, _c.ASSERT_NOT}:
        return ("",)
    if op is _c.SUBPATTERN:
        return _sequence(value[3])
    if op is _c.BRANCH:
        sets = [_sequence(branch) for branch in value[1]]
        if all(found is not None for found in sets):
            union = tuple(dict.fromkeys(text for found in sets for text in found or ()))
            return union if len(union) <= _MAX_LITERALS else None
    if op in REPEATS:
        least, most, body = value
        once = _sequence(body)
        if once == (" ",):
            return once if least else ("", " ")
        if once is not None and (least, most) == (0, 1):
            return ("", *once)
        if once is not None and least == most <= _LONGEST_RUN:
            return _sequence(list(body) * least)
    return None


def _members(value: Any) -> Clause | None:
    found: dict[str, None] = {}
    for kind, member in value:
        if kind is _c.LITERAL:
            found[_folded(member)] = None
        elif kind is _c.CATEGORY and member is _c.CATEGORY_SPACE:
            found[" "] = None
        elif kind is _c.RANGE and member[1] - member[0] < _MAX_CLASS:
            found.update(dict.fromkeys(map(_folded, range(member[0], member[1] + 1))))
        else:
            return None
    return tuple(found) if len(found) <= _MAX_CLASS else None


def _folded(code: int) -> str:
    if code in BLANKS:
        return " "
    # Beyond ASCII letter case counts, as it does in the bytes that are searched.
    return chr(code).lower() if code < 128 else chr(code)


def _sequence(items: Any) -> Clause | None:
    run: Clause | None = ("",)
    for item in items:
        exact = _exact(item)
        if exact is None or run is None:
            return None
        run = _joined(run, exact)
    return run


def _joined(run: Clause, more: Clause) -> Clause | None:
    if len(run) * len(more) > 4 * _MAX_LITERALS:
        return None
    joined = tuple(dict.fromkeys(a + b for a, b in product(run, more)))
    return joined if len(joined) <= _MAX_LITERALS else None


def _tidy(clause: Clause) -> Clause:
    """The literals with borders only where they help, and without those that hold another; none if one is empty."""
    found = [_bordered(literal) for literal in clause]
    if not all(found):
        return ()
    plain = [literal for literal in found if EDGE not in literal]
    return tuple(
        dict.fromkeys(literal for literal in found if not any(other != literal and other in literal for other in plain))
    )


def _bordered(literal: str) -> str:
    inner = literal.replace(EDGE, "")
    while "  " in inner:
        inner = inner.replace("  ", " ")
    body = inner.strip(" ")
    if not body:
        return ""
    short = len(body) <= _SHORT
    lead = EDGE if short and literal[0] == EDGE and inner[0].isalnum() else ""
    tail = EDGE if short and literal[-1] == EDGE and inner[-1].isalnum() else ""
    return lead + inner + tail


def _weight(literal: str) -> float:
    """About how many letters of a rare word say as much as the literal."""
    if literal.startswith(MARK):
        return _FORM
    if len(literal) == 1:
        return _ALONE.get(literal, 0.0)
    words = literal.strip(EDGE).split()
    weight = 0.5 * (len(words) - 1)
    for word in words:
        signs = sum(_SIGNS.get(sign, 0.1) for sign in word if not sign.isalnum())
        # One letter again and again is met at each place of a run of it.
        letters = sum(map(str.isalnum, word)) if len(set(word)) > 1 else 1
        # Two letters stand within many a word; four seldom do by chance.
        told = letters * letters / 5 if letters <= _SHORT else letters
        weight += min(letters / 5, 0.8) if word in FREQUENT else min(told + signs, 8.0)
    return weight + (0.3 * literal.count(EDGE) if weight > 1 else 0.0)
