"""The words around the findings of one call, with secrets and personal data masked.

They are for the local store alone: a person reads there why a finding was made, without recorded content.
"""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor.inspection.streamed_text import StreamedText
from cylestio_monitor.model import MASKED_CATEGORIES, ToolDefinition
from cylestio_monitor.sanitize import clean_text
from cylestio_monitor.scan.results.redaction import PrivateSpan, joined, token_of
from cylestio_monitor.scan.walk import Leaf, as_mapping, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.model import Finding
    from cylestio_monitor.scan import Scanner

log = logging.getLogger(__name__)

CONTEXT: Final = 160
"""Code points on each side of a match that an excerpt shows."""

LONGEST_MATCH: Final = 480
"""Code points of a match that an excerpt shows."""

_MARGIN: Final = 2000  # code points beside an excerpt that are searched too: a secret may begin or end outside
_MOST_SEARCHES: Final = 16  # searches of one call; what lies elsewhere has no excerpt
_MAX_BYTES: Final = 8192
_IN_ORDER: Final = attrgetter("start", "end", "category", "rule_id")


class _Searched(NamedTuple):
    """A range of a text that was searched for what must be masked."""

    start: int
    end: int
    masks: list[PrivateSpan]


class Excerpts:
    """Finds the text of a finding among the contents that one call has scanned, and cuts the words around it out.

    Contents are held by reference, and read only for a finding.
    """

    __slots__ = ("_contents", "_known", "_leaves", "_scanner", "_searched", "_searches")

    def __init__(self, scanner: Scanner | None, contents: list[tuple[str, object]]) -> None:
        """Takes the contents of a call, which may become more.

        Args:
            scanner: Finds what must be masked; without it no excerpt is kept.
            contents: Place and content of each: a text, streamed or not, a tool definition, or any JSON-like value.
        """
        self._scanner = scanner
        self._contents = contents
        self._leaves: dict[int, dict[str, Leaf]] = {}
        self._known: dict[str, list[PrivateSpan]] = {}
        self._searched: dict[str, list[_Searched]] = {}
        self._searches = 0

    def note(self, found: Iterable[Finding]) -> None:
        """Takes the places of secrets and personal data that the scan has found; they are masked in every excerpt."""
        rules = self._scanner.rules if self._scanner is not None else {}
        for one in found if self._scanner is not None else ():
            is_masked = one.rule_id not in rules or rules[one.rule_id].masks
            if is_masked and one.category in MASKED_CATEGORIES and one.end > one.start:
                mask = PrivateSpan(one.rule_id, one.category, one.start, one.end)
                self._known.setdefault(one.path, []).append(mask)

    def of(self, finding: Finding) -> str:
        """Returns the masked words around a finding; empty where its text is not known or could not be searched."""
        if self._scanner is None or finding.end <= finding.start:
            return ""
        try:
            leaf = self._leaf(finding.path)
            return "" if leaf is None else self._cut_out(leaf, finding, self._scanner)
        except Exception:  # code of the application's values, or a text that cannot be searched: nothing of it is kept
            log.debug("A finding has no excerpt", exc_info=True)
            return ""

    def _leaf(self, path: str) -> Leaf | None:
        for number in range(len(self._contents) - 1, -1, -1):
            place, content = self._contents[number]
            if isinstance(content, (str, StreamedText)):
                if place == path:
                    return Leaf(path, "", content if isinstance(content, str) else content.text())
            elif path.startswith(place):
                known = self._leaves.get(number)
                if known is None:
                    if isinstance(content, ToolDefinition):
                        fields = {"description": content.description, "parameters": content.parameters}
                        content = {**fields, **(as_mapping(content.extra) or {})}
                    known = {leaf.path: leaf for leaf in leaves(content, place) if not leaf.is_key}
                    self._leaves[number] = known
                if path in known:
                    return known[path]
        return None

    def _cut_out(self, leaf: Leaf, finding: Finding, scanner: Scanner) -> str:
        text = leaf.text
        start, end = finding.start, min(finding.end, finding.start + LONGEST_MATCH, len(text))
        if end <= start:
            return ""
        first, last = max(0, start - CONTEXT), min(len(text), end + CONTEXT)
        masks = self._masks(leaf, first, last, scanner)
        if masks is None:
            return ""
        out = ["…" if first else ""]
        at = first
        for mask in masks:
            if mask.end <= at or mask.start >= last:
                continue
            token = token_of(mask.rule_id, mask.category, scanner.text_hash(text[mask.start : mask.end]))
            out += [text[at : max(at, mask.start)], token]
            at = mask.end
        out += [text[at:last], "…" if last < len(text) else ""]
        return clean_text("".join(out), _MAX_BYTES)

    def _masks(self, leaf: Leaf, first: int, last: int, scanner: Scanner) -> list[PrivateSpan] | None:
        """Returns what must be masked between two code points, in order; `None` after too many searches."""
        length = len(leaf.text)
        for one in self._searched.setdefault(leaf.path, []):
            reaches_left = one.start == 0 or first - one.start >= _MARGIN // 2
            if reaches_left and one.start <= first and (one.end >= length or one.end - last >= _MARGIN // 2):
                found = one.masks
                break
        else:
            if self._searches >= _MOST_SEARCHES:
                return None
            self._searches += 1
            begin, end = max(0, first - _MARGIN), min(length, last + _MARGIN)
            spans = scanner.private(leaf.text[begin:end], leaf.key)
            found = [one._replace(start=one.start + begin, end=one.end + begin) for one in spans]
            self._searched[leaf.path].append(_Searched(begin, end, found))
        return joined(sorted([*found, *self._known.get(leaf.path, ())], key=_IN_ORDER))
