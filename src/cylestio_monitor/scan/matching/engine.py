"""The contract between the search and an engine, which tells the rules that may match a text and where.

Every engine gives candidates for all true matches. The confirmation runs the pattern of each candidate around its
places, so the findings are the same with every engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.scan.matching.searched_text import SearchedText


class Candidates(NamedTuple):
    """Result of one search by an engine.

    Attributes:
        places: For each candidate, by the number of its rule, the places that its matches contain: ascending, in code
            points, see `searched_text`. `EVERYWHERE` alone means the whole text.
        signs: Names of the disguises of which the text has a sign; see `disguises.SIGNS`.
    """

    places: dict[int, Sequence[int]]
    signs: set[str]


class Engine(Protocol):
    """Finds the candidates among the rules of one group."""

    name: str

    def find(self, text: SearchedText, wanted: Sequence[bool]) -> Candidates:
        """Returns the candidates for a text.

        Args:
            text: The text.
            wanted: For each rule of the group, by its number, whether it applies.
        """
        ...

    def quiet(self, text: SearchedText, wanted: Sequence[bool]) -> bool:
        """Returns whether no rule has a candidate in any part of the text and no disguise has a sign in it.

        Rules that match only at the start of a text are not considered.

        Args:
            text: Several texts, joined by line breaks.
            wanted: As for `find`.
        """
        ...
