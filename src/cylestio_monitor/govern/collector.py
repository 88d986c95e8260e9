"""The findings of a call as control sees them; the inspection of the call collects them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.model import Finding, Subtype, Target


class FindingsView(Protocol):
    """The findings of a call."""

    @property
    def kept(self) -> Sequence[Finding]:
        """The findings that are kept."""


class FindingCollector(Protocol):
    """Collects the findings of a call; the inspection is one."""

    @property
    def found(self) -> FindingsView | None:
        """The findings so far; ``None`` where there are none."""

    def add(self, found: list[Finding]) -> None:
        """Adds findings."""

    def add_incomplete(self, error: Exception, target: Target, subtype: Subtype, path: str) -> None:
        """Reports a part that could not be judged."""


def kept(collector: FindingCollector) -> Sequence[Finding]:
    """The findings that a collector has kept so far."""
    return collector.found.kept if collector.found is not None else ()
