"""The findings of one call: bounded, counted, and with texts that are safe to record."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cylestio_monitor.model import INCOMPLETE, LocatedFinding

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.inspection.excerpts import Excerpts
    from cylestio_monitor.model import Finding

    Tally: TypeAlias = Counter[tuple[str, str, str]]
    """Number of findings by rule, category and severity."""

MAX_FINDINGS = 100
"""Most findings of one severity that one call keeps; the number of all is counted."""


class NewFindings(NamedTuple):
    """Findings since the last time.

    Attributes:
        kept: At most `MAX_FINDINGS` of each severity per call.
        tally: The number of all, those that are not kept included.
    """

    kept: list[Finding]
    tally: Tally

    @classmethod
    def of(cls, found: list[Finding]) -> NewFindings:
        """Counts findings that no call collects any more."""
        return cls(found, Counter((finding.rule_id, finding.category, finding.severity) for finding in found))


class CollectedFindings:
    """The findings of one call.

    Attributes:
        kept: The findings so far, at most `MAX_FINDINGS` of each severity.
        count: The number of all findings so far.
        original_paths: The paths that were redacted, by what they are in the findings.
    """

    __slots__ = (
        "_by_bucket",
        "_excerpts",
        "_only_new",
        "_redact",
        "_taken",
        "_tally",
        "count",
        "kept",
        "original_paths",
    )

    def __init__(
        self,
        redact: Callable[[str], str],
        only_new: Callable[[list[Finding]], list[Finding]] | None,
        excerpts: Excerpts,
    ) -> None:
        """Starts empty.

        Args:
            redact: Makes the path of a finding safe: keys of the application's data are part of it.
            only_new: Drops findings that another call has reported.
            excerpts: Gives the words around a finding.
        """
        self._redact = redact
        self._excerpts = excerpts
        self._only_new = only_new
        self._by_bucket: Counter[str] = Counter()
        self._tally: Tally = Counter()
        self._taken = 0
        self.kept: list[Finding] = []
        self.count = 0
        self.original_paths: dict[str, str] = {}

    def add(self, found: list[Finding]) -> None:
        """Keeps and counts findings; those without a severity, such as an e-mail address, are only masked."""
        self._excerpts.note(found)
        if found and self._only_new is not None:
            found = self._only_new(found)
        for finding in found:
            if finding.severity == "none":
                continue
            self._tally[finding.rule_id, finding.category, finding.severity] += 1
            self.count += 1
            # What was not scanned decides about a refusal: milder findings must not displace it.
            bucket = INCOMPLETE if finding.rule_id == INCOMPLETE else finding.severity
            if self._by_bucket[bucket] < MAX_FINDINGS:
                self._by_bucket[bucket] += 1
                self.kept.append(self._with_safe_texts(finding))

    def take_new(self) -> NewFindings | None:
        """Returns the findings since the last time; `None` where there are none."""
        if not self._tally:
            return None
        new = NewFindings(self.kept[self._taken :], self._tally)
        self._tally, self._taken = Counter(), len(self.kept)
        return new

    def place(self, placed: Callable[[Finding], Finding]) -> None:
        """Replaces the findings that have no place in the recorded content yet.

        Args:
            placed: Returns a finding with its place, or as it is.
        """
        self.kept[:] = [one if isinstance(one, LocatedFinding) and one.part_id else placed(one) for one in self.kept]

    def peek_new(self) -> list[Finding]:
        """Returns what `take_new` would return of the kept findings, and leaves it there."""
        return self.kept[self._taken :]

    def _with_safe_texts(self, finding: Finding) -> Finding:
        """Redacts the path and the reason, which may repeat data of the application, and adds the words around."""
        if excerpt := self._excerpts.of(finding):
            finding = replace(finding, excerpt=excerpt)
        path, reason = self._redact(finding.path), self._redact(finding.reason)
        if path != finding.path:
            self.original_paths[path] = finding.path
        return (
            finding if (path, reason) == (finding.path, finding.reason) else replace(finding, path=path, reason=reason)
        )
