"""Memory of recent traces: their findings, which a span around other calls does not report again, and speakers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.model import Finding


class ReportedFindings:
    """The findings that were reported in each of the last traces.

    The span of an agent or a chain repeats the content of the calls inside it. Their findings are not reported twice.
    """

    def __init__(self, traces: int = 1024) -> None:
        """Keeps the findings of at most `traces` traces."""
        self._traces = traces
        self._found: dict[int, set[tuple[str, str]]] = {}
        self._lock = threading.Lock()

    def add(self, trace_id: int, findings: Iterable[Finding]) -> None:
        """Remembers findings of a trace."""
        with self._lock:
            known = self._found.get(trace_id)
            if known is None:
                if len(self._found) >= self._traces:
                    del self._found[next(iter(self._found))]
                known = self._found[trace_id] = set()
            known.update((finding.rule_id, finding.match_hash) for finding in findings)

    def new(self, trace_id: int, findings: Iterable[Finding]) -> list[Finding]:
        """Returns the findings whose rule and match were not reported in the trace."""
        with self._lock:
            known = self._found.get(trace_id, set())
            return [finding for finding in findings if (finding.rule_id, finding.match_hash) not in known]


class FirstSpeakers:
    """The first speaker of each flagged text of recent traces, bounded in number."""

    def __init__(self, size: int = 20_000) -> None:
        """Keeps at most `size` texts."""
        self._size = size
        self._known: OrderedDict[tuple[int, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, trace_id: int, part_id: str, speaker: str) -> str:
        """Returns who said a text first in a trace: the given speaker where nobody is known to have said it before."""
        with self._lock:
            known = self._known.setdefault((trace_id, part_id), speaker)
            if len(self._known) > self._size:
                self._known.popitem(last=False)
            return known
