"""A policy replayed over the facts of calls that happened: what it would have decided, rule by rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cylestio_monitor.govern.history import CallHistory
from cylestio_monitor.govern.policy.document import STRICTNESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cylestio_monitor.govern.facts import CallFacts
    from cylestio_monitor.govern.policy.document import Action
    from cylestio_monitor.govern.policy.engine import Policy, PolicyDecision

_MAX_TRACES = 5


class Replayed(NamedTuple):
    """One call and the decision about it."""

    facts: CallFacts
    decision: PolicyDecision


class RuleSummary(msgspec.Struct):
    """The calls that one rule decided.

    Attributes:
        rule: Id of the rule; ``default`` for calls that no rule fitted.
        action: Its action.
        calls: Calls that it decided.
        traces: The first trace ids among them, at most 5.
    """

    rule: str
    action: Action
    calls: int = 0
    traces: list[str] = msgspec.field(default_factory=list)


class ReplaySummary(msgspec.Struct):
    """A whole replay.

    Attributes:
        calls: Calls replayed.
        rules: The rules that decided a call, the strictest first.
        undecided: Calls by rule that the replay could not test because no content is stored.
    """

    calls: int
    rules: list[RuleSummary]
    undecided: dict[str, int]


def replay(policy: Policy, calls: Iterable[CallFacts], *, enforce: bool = False) -> Iterator[Replayed]:
    """The decisions of a policy about stored tool calls, in their order.

    Args:
        policy: The policy, compiled with the key of the store.
        calls: Facts in the order in which the calls happened; what model calls used counts for `budget`.
        enforce: Whether a call that is denied counts as one that never ran, as in mode ``block``.
    """
    history = CallHistory()
    for facts in calls:
        if not facts.tool:
            history.record(facts)
            continue
        decision = policy.decide(facts, history)
        if not enforce or decision.action != "deny":
            history.record(facts)
        yield Replayed(facts, decision)


def summary(policy: Policy, calls: Iterable[CallFacts], *, enforce: bool = False) -> ReplaySummary:
    """A replay as counts by rule. Arguments as of `replay`."""
    rules: dict[tuple[str, Action], RuleSummary] = {}
    undecided: dict[str, int] = {}
    for facts, decision in replay(policy, calls, enforce=enforce):
        found = rules.get((decision.rule, decision.action))
        if found is None:
            found = rules[decision.rule, decision.action] = RuleSummary(decision.rule, decision.action)
        found.calls += 1
        if facts.trace and facts.trace not in found.traces and len(found.traces) < _MAX_TRACES:
            found.traces.append(facts.trace)
        for rule in decision.undecided:
            undecided[rule] = undecided.get(rule, 0) + 1
    ordered = sorted(rules.values(), key=lambda one: (-STRICTNESS[one.action], -one.calls, one.rule))
    return ReplaySummary(sum(one.calls for one in ordered), ordered, undecided)
