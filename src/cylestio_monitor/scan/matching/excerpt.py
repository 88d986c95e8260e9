"""The parts of a decoded text that an engine has to search: the decoded places and what is around them.

Most decoded forms of a text differ from it in a few places, such as the references in a page of HTML. The rest was
searched before.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from cylestio_monitor.rules.prefilter import START
from cylestio_monitor.scan.matching.searched_text import EVERYWHERE, SearchedText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule

AROUND = 600
"""Code points on both sides of a decoded place. A match that is wider is found only if a place of it is within."""

_WORTHWHILE = 0.7  # share of the text beyond which it is searched whole


class Excerpt:
    """The parts of a text around its areas of interest, one behind the other.

    Attributes:
        searched: The parts, joined by line breaks.
    """

    def __init__(self, text: str, parts: list[tuple[int, int]]) -> None:
        """Takes the parts.

        Args:
            text: The text.
            parts: Their starts and ends, ascending, apart from each other.
        """
        self.searched = SearchedText("\n".join(text[start:end] for start, end in parts))
        self._origins = [start for start, _ in parts]
        self._starts: list[int] = []
        length = 0
        for start, end in parts:
            self._starts.append(length)
            length += end - start + 1

    def places(self, rule: CompiledRule, found: Sequence[int]) -> Sequence[int]:
        """Returns places in the excerpt as places in the text."""
        if found[0] == EVERYWHERE or rule.clauses[0][0] == START:
            return found
        origins, starts = self._origins, self._starts
        return [
            place - starts[part] + origins[part]
            for place, part in ((place, max(bisect_right(starts, place - 1) - 1, 0)) for place in found)
        ]


def excerpt_of(text: str, areas: Sequence[tuple[int, int]]) -> Excerpt | None:
    """Returns the excerpt around the areas; ``None`` where it would be most of the text.

    Args:
        text: The text.
        areas: Starts and ends, ascending.
    """
    parts: list[tuple[int, int]] = []
    for start, end in areas:
        low, high = max(0, start - AROUND), min(len(text), end + AROUND)
        if parts and low <= parts[-1][1]:
            parts[-1] = (parts[-1][0], high)
        else:
            parts.append((low, high))
    if sum(end - start for start, end in parts) > len(text) * _WORTHWHILE:
        return None
    return Excerpt(text, parts)
