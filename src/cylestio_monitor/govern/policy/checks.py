"""Checks of a policy as a whole: rules that can never decide, contradictions, doubled ids."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.govern.policy.document import STRICTNESS, ArgumentCondition, PolicyDocument, PolicyRule, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cylestio_monitor.govern.policy.document import Texts

_NAMES = ("tool", "agent", "user", "role", "session")
_MAY_BE_UNNAMED = ("agent", "user", "session")
_REST = ("definition", "arguments", "findings", "origin", "after", "rate", "budget", "surfaces")


class PolicyProblem(NamedTuple):
    """One problem of a policy.

    Attributes:
        key: The dotted key, such as ``rules[2].tool``.
        reason: What is wrong with it.
        is_error: Whether the policy cannot be used; a warning leaves it in force.
    """

    key: str
    reason: str
    is_error: bool


def check(document: PolicyDocument) -> Iterator[PolicyProblem]:
    """The problems of a document, in its order."""
    first: dict[str, int] = {}
    if document.restore is not None and (not texts(document.restore) or not all(texts(document.restore))):
        yield PolicyProblem("restore", "is empty, so no tool gets a value back", is_error=True)
    elif document.restore is not None and all(rule.action != "redact" for rule in document.rules):
        yield PolicyProblem("restore", "has no effect: no rule has the action `redact`", is_error=False)
    for number, rule in enumerate(document.rules):
        key = f"rules[{number}]"
        if rule.id in first:
            yield PolicyProblem(f"{key}.id", f"the id {rule.id} is taken by rules[{first[rule.id]}]", is_error=True)
        first.setdefault(rule.id, number)
        yield from _empty(rule, key)
        yield from _arguments(rule, key)
        yield from _surfaces(rule, key)
        yield from _covered(document, number, rule, key)
        if rule.action == "allow" and _is_without_effect(document, rule):
            yield PolicyProblem(key, "never changes a decision: the default allows already", is_error=False)


def _empty(rule: PolicyRule, key: str) -> Iterator[PolicyProblem]:
    for name in _NAMES:
        given = getattr(rule, name)
        if given is not None and (not texts(given) or (name not in _MAY_BE_UNNAMED and not all(texts(given)))):
            yield PolicyProblem(f"{key}.{name}", "is empty, so the rule never fits", is_error=True)
    for name, wanted in (("findings", rule.findings), ("after", rule.after), ("budget", rule.budget)):
        if wanted is not None and all(getattr(wanted, field) in {None, ()} for field in wanted.__struct_fields__[:4]):
            yield PolicyProblem(f"{key}.{name}", "names no condition", is_error=True)
    if rule.budget is not None and rule.budget.tokens is None and rule.budget.cost is None:
        yield PolicyProblem(f"{key}.budget", "needs `tokens` or `cost`", is_error=True)


def _arguments(rule: PolicyRule, key: str) -> Iterator[PolicyProblem]:
    for name, condition in (rule.arguments or {}).items():
        if not isinstance(condition, ArgumentCondition):
            continue
        place = f"{key}.arguments.{name}"
        if condition.min is not None and condition.max is not None and condition.min > condition.max:
            yield PolicyProblem(place, f"`min` {condition.min:g} is above `max` {condition.max:g}", is_error=True)
        if condition == ArgumentCondition(negate=condition.negate):
            yield PolicyProblem(place, "names no condition", is_error=True)


def _surfaces(rule: PolicyRule, key: str) -> Iterator[PolicyProblem]:
    if rule.surfaces is None:
        return
    if rule.action != "redact":
        reason = f"is for the action `redact`, not for `{rule.action}`"
        yield PolicyProblem(f"{key}.surfaces", reason, is_error=True)
    elif rule.tool is not None and not {"prompts", "answers"}.isdisjoint(rule.surfaces):
        reason = "model calls have `prompts` and `answers`: a rule with `tool` is about `arguments` and `results`"
        yield PolicyProblem(f"{key}.surfaces", reason, is_error=True)


def _covered(document: PolicyDocument, number: int, rule: PolicyRule, key: str) -> Iterator[PolicyProblem]:
    for other_number, other in enumerate(document.rules):
        if other_number == number or not _covers(other, rule):
            continue
        name = f"rules[{other_number}] ({other.id})"
        if _covers(rule, other):
            if rule.action != other.action and number > other_number:
                yield PolicyProblem(key, f"contradicts {name}: the same conditions, another action", is_error=True)
            elif number > other_number:
                yield PolicyProblem(key, f"repeats {name}", is_error=False)
        elif STRICTNESS[other.action] >= STRICTNESS[rule.action]:
            yield PolicyProblem(
                key, f"never decides: {name} fits the same calls and is at least as strict", is_error=False
            )
        else:
            continue
        return


def _covers(wide: PolicyRule, narrow: PolicyRule) -> bool:
    """Returns whether each call that fits `narrow` fits `wide`, as far as the conditions show."""
    for name in _NAMES:
        asked = getattr(wide, name)
        if asked is not None and not _names_cover(asked, getattr(narrow, name)):
            return False
    return all(getattr(wide, name) is None or getattr(wide, name) == getattr(narrow, name) for name in _REST)


def _names_cover(wide: Texts, narrow: Texts | None) -> bool:
    return narrow is not None and all(any(_pattern_covers(name, one) for name in texts(wide)) for one in texts(narrow))


def _pattern_covers(wide: str, narrow: str) -> bool:
    is_name = not set(narrow) & set("*?[")
    return wide in {narrow, "*"} or (is_name and fnmatchcase(narrow, wide))


def _is_without_effect(document: PolicyDocument, rule: PolicyRule) -> bool:
    agents = texts(rule.agent)
    defaults = {document.default, *(own.default for own in document.agents.values())}
    if agents and not any(set(name) & set("*?[") for name in agents):
        defaults = {document.agents[name].default if name in document.agents else document.default for name in agents}
    return defaults == {"allow"}
