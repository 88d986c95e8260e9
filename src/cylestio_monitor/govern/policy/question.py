"""One call as the rules of a policy ask about it: what several rules ask for is looked up once."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cylestio_monitor.govern.facts import ArgumentFact, CallFacts
    from cylestio_monitor.govern.policy.document import RateCondition


class History(Protocol):
    """The earlier calls that a decision may ask about."""

    def tools(self, facts: CallFacts) -> Iterable[str]:
        """Full names of the tools that ran earlier in the session or trace."""

    def findings(self, facts: CallFacts) -> Iterable[tuple[str, str]]:
        """Category and rule of the findings reported earlier in the session or trace."""

    def exceeds(self, rule: str, condition: RateCondition, facts: CallFacts) -> bool:
        """Counts this call for the rule, and tells whether it is beyond the rate."""

    def used(self, subject: str, seconds: int, facts: CallFacts) -> tuple[int, float]:
        """Tokens and cost used by the calls with the same subject within the last `seconds`."""


class PolicyQuestion:
    """The facts of one call and what happened before it.

    Attributes:
        facts: The facts.
        history: The earlier calls.
    """

    __slots__ = ("_by_name", "_findings", "_tools", "_unread", "facts", "history")

    def __init__(self, facts: CallFacts, history: History) -> None:
        """Looks nothing up yet."""
        self.facts = facts
        self.history = history
        self._by_name: dict[str, list[ArgumentFact]] | None = None
        self._unread: list[str] = []
        self._tools: Iterable[str] | None = None
        self._findings: Iterable[tuple[str, str]] | None = None

    def arguments(self, name: str) -> tuple[Sequence[ArgumentFact], bool]:
        """The values of an argument or at a place, and whether some could not be read.

        The values of the argument ``to`` are those at ``to``, ``to[0]`` and ``to[1].mail``. A fact without a name is
        one for an argument of any name, as the names could not be read.
        """
        found = self._by_name
        if found is None:
            found = self._by_name = {}
            for one in self.facts.arguments:
                if one.kind == "unread":
                    self._unread.append(one.name)
                    continue
                argument = argument_of(one.name)
                found.setdefault(argument, []).append(one)
                if argument != one.name:
                    found.setdefault(one.name, []).append(one)
        is_unread = any(name in {argument_of(place), place} or not place for place in self._unread)
        return found.get(name, ()), is_unread

    def arguments_like(self, wanted: Callable[[str], bool]) -> tuple[Sequence[ArgumentFact], bool]:
        """The values whose argument or place fits a test; else as `arguments`."""
        found = [
            one
            for one in self.facts.arguments
            if wanted(argument_of(one.name)) or wanted(one.name) or (one.kind == "unread" and not one.name)
        ]
        values = [one for one in found if one.kind != "unread"]
        return values, len(values) < len(found)

    def earlier_tools(self) -> Iterable[str]:
        """Full names of the tools that ran earlier in the session or trace."""
        if self._tools is None:
            self._tools = self.history.tools(self.facts)
        return self._tools

    def earlier_findings(self) -> Iterable[tuple[str, str]]:
        """Category and rule of the findings reported earlier in the session or trace."""
        if self._findings is None:
            self._findings = self.history.findings(self.facts)
        return self._findings


@lru_cache(maxsize=4096)
def argument_of(place: str) -> str:
    """The argument that a place belongs to: ``recipients[0].mail`` to ``recipients``."""
    return re.split(r"[.\[]", place, maxsplit=1)[0]
