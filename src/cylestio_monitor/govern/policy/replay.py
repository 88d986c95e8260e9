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


class ChangedCalls(msgspec.Struct):
    """Calls of one tool that two policies decide differently in the same way.

    Attributes:
        tool: ``server/tool``, or the tool's name.
        now: Action of the first policy.
        then: Action of the second one.
        rule: The rule of the second one that decided.
        calls: Number of calls.
        traces: The first trace ids among them, at most 5.
    """

    tool: str
    now: Action
    then: Action
    rule: str
    calls: int = 0
    traces: list[str] = msgspec.field(default_factory=list)


class Comparison(msgspec.Struct):
    """Two policies over the same calls.

    Attributes:
        calls: Calls replayed.
        unchanged: Calls with the same action under both.
        changes: The others, the strictest action of the second policy first.
        actions: Calls by action of the second policy.
        rules: Calls by rule of the second policy that decided.
        undecided: Calls by rule of the second policy that could not be tested because no content is stored.
    """

    calls: int = 0
    unchanged: int = 0
    changes: list[ChangedCalls] = msgspec.field(default_factory=list)
    actions: dict[str, int] = msgspec.field(default_factory=dict)
    rules: dict[str, int] = msgspec.field(default_factory=dict)
    undecided: dict[str, int] = msgspec.field(default_factory=dict)


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
        _add(found, facts)
        for rule in decision.undecided:
            undecided[rule] = undecided.get(rule, 0) + 1
    ordered = sorted(rules.values(), key=lambda one: (-STRICTNESS[one.action], -one.calls, one.rule))
    return ReplaySummary(sum(one.calls for one in ordered), ordered, undecided)


def compare(now: Policy | None, then: Policy, calls: Iterable[CallFacts]) -> Comparison:
    """The decisions of two policies about the same calls.

    Args:
        now: The policy in force; without one every call is allowed.
        then: The other policy; both are compiled with the key of the store.
        calls: As of `replay`.
    """
    made = Comparison()
    changes: dict[tuple[str, Action, Action, str], ChangedCalls] = {}
    before, after = CallHistory(), CallHistory()
    for facts in calls:
        if facts.tool:
            action: Action = now.decide(facts, before).action if now is not None else "allow"
            decision = then.decide(facts, after)
            _count(made, decision, is_same=action == decision.action)
            if action != decision.action:
                key = (facts.full_tool, action, decision.action, decision.rule)
                _add(changes.setdefault(key, ChangedCalls(*key)), facts)
        before.record(facts)
        after.record(facts)
    made.changes = sorted(changes.values(), key=lambda one: (-STRICTNESS[one.then], -one.calls, one.tool))
    return made


def _add(found: RuleSummary | ChangedCalls, facts: CallFacts) -> None:
    """Counts a call, and keeps its trace if it is one of the first."""
    found.calls += 1
    if facts.trace and facts.trace not in found.traces and len(found.traces) < _MAX_TRACES:
        found.traces.append(facts.trace)


def _count(made: Comparison, decision: PolicyDecision, *, is_same: bool) -> None:
    made.calls += 1
    made.unchanged += is_same
    made.actions[decision.action] = made.actions.get(decision.action, 0) + 1
    made.rules[decision.rule] = made.rules.get(decision.rule, 0) + 1
    for rule in decision.undecided:
        made.undecided[rule] = made.undecided.get(rule, 0) + 1
