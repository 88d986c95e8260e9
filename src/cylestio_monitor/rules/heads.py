"""The cheap beginning of a costly pattern: where a text does not have it, the whole pattern need not be tried."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from cylestio_monitor.rules.backtracking import ways

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.version_info >= (3, 11):
    from re import _parser as _p  # type: ignore[attr-defined]  # the parser has no public name
else:
    import sre_parse as _p

_MOST_WAYS: Final = 200
_WIDEST: Final = 64
"""Code points; a wider beginning costs more than it tells."""

_QUANTIFIER: Final = re.compile(r"(?:\{\d+(?:,\d*)?\}|[*+?])\??")
_SIMPLE: Final = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|[0-7]{1,3}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|[^(]",
    re.DOTALL,
)


def head(regex: str, flags: int) -> str:
    """Returns a look-ahead that holds at every place at which a match of a pattern can begin.

    Args:
        regex: A bounded pattern.
        flags: Flags of `re.compile`.

    Returns:
        The look-ahead; empty where the beginning is as costly as the whole, or may match nothing.
    """
    found = _any_beginning(regex, flags)
    return f"(?={found})" if found else ""


def _any_beginning(regex: str, flags: int) -> str:
    """The beginnings of the alternatives of a pattern, as one; empty where one of them has no cheap beginning."""
    found = [_beginning(alternative, flags) for alternative in _alternatives(regex)]
    return "|".join(found) if all(found) else ""


def _beginning(sequence: str, flags: int) -> str:
    """The longest cheap part that a sequence begins with; empty where that may match nothing."""
    taken = ""
    for atom in _atoms(sequence):
        tree = _p.parse(taken + atom, flags)
        if ways(tree) > _MOST_WAYS or tree.getwidth()[1] > _WIDEST:
            is_group = atom.startswith("(?:") and atom.endswith(")")
            inside = _any_beginning(atom[3:-1], flags) if is_group else ""
            taken += f"(?:{inside})" if inside else ""
            break
        taken += atom
    return taken if _p.parse(taken, flags).getwidth()[0] else ""


def _alternatives(regex: str) -> Iterator[str]:
    """The alternatives of a pattern, outside of groups."""
    begun = 0
    for start, end in _tokens(regex):
        if regex[start:end] == "|":
            yield regex[begun:start]
            begun = end
    yield regex[begun:]


def _atoms(sequence: str) -> Iterator[str]:
    """The parts of a sequence without alternatives, each with its quantifier."""
    begun = 0
    for start, _ in _tokens(sequence):
        if start > begun and not _QUANTIFIER.match(sequence, start):
            yield sequence[begun:start]
            begun = start
    yield sequence[begun:]


def _tokens(regex: str) -> Iterator[tuple[int, int]]:
    """Starts and ends of characters, escapes, classes, groups and quantifiers, outside of groups."""
    at = 0
    while at < len(regex):
        token = (_QUANTIFIER.match(regex, at) if at else None) or _SIMPLE.match(regex, at)
        end = token.end() if token else _end_of_group(regex, at)
        yield at, end
        at = end


def _end_of_group(regex: str, at: int) -> int:
    depth = 0
    while True:
        token = _SIMPLE.match(regex, at)
        if token is None:
            depth += 1
            at += 1
            continue
        at = token.end()
        depth -= token.group() == ")"
        if not depth:
            return at
