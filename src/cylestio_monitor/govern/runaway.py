"""Runaway behaviour of an agent, found without a policy: loops, fan-out, depth and use of tokens."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor.govern.recent import entry_of

if TYPE_CHECKING:
    from cylestio_monitor.govern.facts import CallFacts
    from cylestio_monitor.model import Severity

_MAX_TRACES: Final = 2048
_MAX_CALLS: Final = 1024  # different calls counted for one trace


class Threshold(NamedTuple):
    """A threshold and what reaching it means.

    Attributes:
        rule: Id of the rule.
        reached: The count that is reported; its tenfold is reported again.
        severity: Severity at `reached`.
        raised: Severity at its tenfold.
    """

    rule: str
    reached: int
    severity: Severity
    raised: Severity


LOOP: Final = Threshold("runaway.loop", 8, "low", "medium")
"""The same tool with the same arguments, again and again in one trace."""

FAN_OUT: Final = Threshold("runaway.fan-out", 200, "low", "medium")
"""Tool calls in one trace."""

DEPTH: Final = Threshold("runaway.depth", 12, "low", "medium")
"""Agents and tools inside each other."""

TOKENS: Final = Threshold("runaway.tokens", 1_000_000, "low", "medium")
"""Tokens in one trace."""

_RAISED: Final[dict[Severity, Severity]] = {
    "low": "medium",
    "medium": "high",
    "high": "critical",
    "critical": "critical",
}


class _Trace:
    __slots__ = ("calls", "same", "tokens")

    def __init__(self) -> None:
        self.calls = 0
        self.tokens = 0
        self.same: Counter[bytes] = Counter()


class RunawayDetector:
    """Counts the calls of each trace and reports each threshold once."""

    def __init__(self) -> None:
        """Starts with no trace."""
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._lock = threading.Lock()

    def record(self, facts: CallFacts, *, depth: int = 0) -> list[tuple[str, Severity]]:
        """Takes a call; the rules whose threshold it reaches, with the severity.

        Args:
            facts: Facts of the call.
            depth: Agents and tools around it.
        """
        with self._lock:
            trace = entry_of(self._traces, facts.trace or facts.session, _Trace, _MAX_TRACES)
            before = trace.tokens
            trace.tokens += facts.tokens
            found = _crossed(TOKENS, before, trace.tokens)
            if facts.tool:
                trace.calls += 1
                found += _crossed(FAN_OUT, trace.calls - 1, trace.calls)
                found += _crossed(DEPTH, depth - 1, depth)
                same = _call_digest(facts)
                if same in trace.same or len(trace.same) < _MAX_CALLS:
                    trace.same[same] += 1
                    found += _crossed(LOOP, trace.same[same] - 1, trace.same[same])
            return found


def _crossed(threshold: Threshold, before: int, after: int) -> list[tuple[str, Severity]]:
    if before < threshold.reached <= after:
        return [(threshold.rule, threshold.severity)]
    if before < threshold.reached * 10 <= after:
        return [(threshold.rule, threshold.raised)]
    return []


def _call_digest(facts: CallFacts) -> bytes:
    hasher = hashlib.blake2b(facts.full_tool.encode("utf-8", "surrogatepass"), digest_size=16)
    for one in facts.arguments:
        hasher.update(f"\0{one.name}\0{one.digest}".encode("utf-8", "surrogatepass"))
    return hasher.digest()
