"""The earlier calls that a decision may ask about, kept in memory for the open sessions.

The history takes its clock from the facts of each call, so a replay of stored calls in their order gives the same
answers as the calls did when they happened.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, get_args

from cylestio_monitor.govern.policy.document import SECONDS, UseSubject
from cylestio_monitor.govern.recent import entry_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.govern.facts import CallFacts
    from cylestio_monitor.govern.policy.document import RateCondition

_MAX_NAMES: Final = 4096  # different tools and rules kept for one session, more than the packs have rules
_MAX_WINDOWS: Final = 10_000
_MAX_USES: Final = 10_000


class _Past:
    """The earlier calls of one session or trace."""

    __slots__ = ("findings", "tools")

    def __init__(self) -> None:
        self.tools: dict[str, None] = {}
        self.findings: dict[tuple[str, str], None] = {}


class CallHistory:
    """Tools, findings, rates and use of the last sessions, bounded; the session unused for longest goes first."""

    def __init__(self, sessions: int = 4096) -> None:
        """Starts empty.

        Args:
            sessions: Sessions and traces that are kept.
        """
        self._sessions = sessions
        self._past: OrderedDict[str, _Past] = OrderedDict()
        self._calls: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()
        self._uses: OrderedDict[tuple[str, str], deque[tuple[int, int, float]]] = OrderedDict()
        self._lock = threading.Lock()

    def record(self, facts: CallFacts) -> None:
        """Takes a call that happened: the later calls of its session and its trace may be asked about it."""
        with self._lock:
            for key in _keys(facts):
                past = entry_of(self._past, key, _Past, self._sessions)
                if facts.tool and len(past.tools) < _MAX_NAMES:
                    past.tools[facts.full_tool] = None
                for one in facts.findings:
                    if len(past.findings) < _MAX_NAMES:
                        past.findings[one.category, one.rule] = None
            if facts.tokens or facts.cost:
                self._record_use(facts)

    def tools(self, facts: CallFacts) -> Iterable[str]:
        """Full names of the tools that ran earlier in the session or trace."""
        with self._lock:
            return {name for key in _keys(facts) if key in self._past for name in self._past[key].tools}

    def findings(self, facts: CallFacts) -> Iterable[tuple[str, str]]:
        """Category and rule of the findings reported earlier in the session or trace."""
        with self._lock:
            return {found for key in _keys(facts) if key in self._past for found in self._past[key].findings}

    def exceeds(self, rule: str, condition: RateCondition, facts: CallFacts) -> bool:
        """Counts this call for the rule, and tells whether it is beyond the rate.

        Args:
            rule: Id of the rule, which counts for itself.
            condition: Limit, period and subject.
            facts: The call.
        """
        since = facts.time_ns - SECONDS[condition.per] * 1_000_000_000
        with self._lock:
            # A call beyond the limit is not kept: the window never holds more calls than the limit.
            key = (rule, subject_of(condition.by, facts))
            calls: deque[int] = entry_of(self._calls, key, deque, _MAX_WINDOWS)
            while calls and calls[0] <= since:
                calls.popleft()
            if len(calls) >= condition.limit:
                return True
            calls.append(facts.time_ns)
            return False

    def used(self, subject: str, seconds: int, facts: CallFacts) -> tuple[int, float]:
        """Tokens and cost used by the calls with the same subject within the last `seconds`."""
        since = facts.time_ns - seconds * 1_000_000_000
        with self._lock:
            uses = self._uses.get((subject, subject_of(subject, facts)), ())
            within = [(tokens, cost) for time_ns, tokens, cost in uses if time_ns > since]
        return sum(tokens for tokens, _ in within), sum(cost for _, cost in within)

    def _record_use(self, facts: CallFacts) -> None:
        for subject in get_args(UseSubject):
            key = (subject, subject_of(subject, facts))
            uses: deque[tuple[int, int, float]] = entry_of(self._uses, key, deque, _MAX_WINDOWS)
            if len(uses) == _MAX_USES:  # the two oldest become one, so that nothing used is forgotten early
                first, second = uses.popleft(), uses.popleft()
                uses.appendleft((second[0], first[1] + second[1], first[2] + second[2]))
            uses.append((facts.time_ns, facts.tokens, facts.cost))


def subject_of(subject: str, facts: CallFacts) -> str:
    """The value by which calls are counted together: the user id for ``user``, one value for ``all``."""
    if subject == "all":
        return ""
    return facts.full_tool if subject == "tool" else str(getattr(facts, subject))


def _keys(facts: CallFacts) -> tuple[str, ...]:
    return tuple(f"{kind}:{name}" for kind, name in (("session", facts.session), ("trace", facts.trace)) if name)
