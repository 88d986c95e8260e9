r"""Word lists that patterns refer to by name, as ``(?&name)``.

A pattern such as ``\b(?&override)\s+(?&instruction)\b`` stays short and readable, and one list serves many rules. The
reference has the syntax of a call of a named group in PCRE. It is replaced by a group of the list's alternatives before
the pattern is read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

REFERENCE = re.compile(r"\(\?&([a-z][a-z0-9-]*)\)")
_MAX_DEPTH = 4


class WordListError(ValueError):
    """A reference to a list that does not exist, or lists that refer to each other too deep."""


def expand(pattern: str, words: Mapping[str, Sequence[str]], depth: int = 0) -> str:
    """Replaces each reference in a pattern by a group of the list's alternatives.

    Args:
        pattern: The pattern as a rule file writes it.
        words: The alternatives of each list, themselves patterns that may refer to other lists.
        depth: Lists that refer to this pattern already.

    Raises:
        WordListError: A list does not exist, or lists refer to each other more than four deep.
    """

    def group(match: re.Match[str]) -> str:
        name = match[1]
        if name not in words:
            raise WordListError(f"no word list is called `{name}`")
        if depth == _MAX_DEPTH:
            raise WordListError(f"word lists refer to each other more than {_MAX_DEPTH} deep, at `{name}`")
        return "(?:" + "|".join(expand(word, words, depth + 1) for word in words[name]) + ")"

    return REFERENCE.sub(group, pattern)


def used_by(patterns: Iterable[str], words: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The lists that the patterns refer to, directly or through another list."""
    used: dict[str, tuple[str, ...]] = {}
    waiting = list(patterns)
    while waiting:
        for name in REFERENCE.findall(waiting.pop()):
            if name in words and name not in used:
                used[name] = tuple(words[name])
                waiting.extend(words[name])
    return used
