"""The conditions of a policy rule, each as one entry of a table: key in the document to test of the facts.

A test returns ``True``, ``False``, or ``None`` for a replay that lacks the content it needs. A value that cannot be
read counts against the caller: an ``allow`` rule does not fit it, every other rule does.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from operator import attrgetter, ge, le
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from cylestio_monitor.govern.facts import digest, is_masked
from cylestio_monitor.govern.policy.document import SECONDS, ArgumentCondition, PolicyRule, texts
from cylestio_monitor.govern.policy.question import argument_of
from cylestio_monitor.govern.readings.hosts import canonical, ipv4_of
from cylestio_monitor.govern.readings.numbers import magnitude, spelling
from cylestio_monitor.govern.readings.paths import from_home, is_below, leads_out, normal_path
from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.rules import pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.govern.facts import ArgumentFact, CallFacts
    from cylestio_monitor.govern.policy.document import (
        AfterCondition,
        BudgetCondition,
        FindingCondition,
        OriginCondition,
        RateCondition,
        Texts,
    )
    from cylestio_monitor.govern.policy.question import PolicyQuestion

    Outcome: TypeAlias = bool | None
    Test: TypeAlias = Callable[["PolicyQuestion"], "Outcome"]
    ValueTest: TypeAlias = Callable[["ArgumentFact"], "Outcome"]


_PATTERN = frozenset("*?[")
_WORDS = {"true": True, "false": False}
_EXACT = 10**6
"""Numbers beyond this may be personal data: a store keeps their magnitude alone."""
_DATA = {"secret": ("secret",), "personal": ("sensitive_data",)}


def tests_of(rule: PolicyRule, key: bytes) -> list[Test]:
    """The tests of a rule, cheapest first; the tool is not among them, because rules are looked up by it.

    Args:
        rule: The rule.
        key: Key of the digests that equality is tested with.

    Raises:
        ValueError: A pattern or schema of the rule cannot be used; the message starts with the key.
    """
    strict = rule.action != "allow"
    found = [make(getattr(rule, name)) for name, make in _WHO.items() if getattr(rule, name) is not None]
    if rule.definition is not None:
        found.append(_name_test("definition")(rule.definition))
    if rule.findings is not None:
        found.append(_finding(rule.findings))
    if rule.origin is not None:
        found.append(_origin(rule.origin))
    for name, condition in (rule.arguments or {}).items():
        found.append(_argument(name, condition, key, strict=strict))
    if rule.after is not None:
        found.append(_after(rule.after))
    if rule.rate is not None:
        found.append(_rate(rule.id, rule.rate))
    if rule.budget is not None:
        found.append(_budget(rule.budget))
    return found


def matcher(patterns: Texts) -> Callable[[str], bool]:
    """A test whether a name matches one of the patterns; `*` is any run of characters, case counts."""
    names = texts(patterns)
    if all(_PATTERN.isdisjoint(name) for name in names):
        return frozenset(names).__contains__
    expression = re.compile("|".join(translate(name) for name in names))
    return lambda name: expression.match(name) is not None


def fits_tool(fits: Callable[[str], bool], facts: CallFacts) -> bool:
    """Returns whether the facts are of a tool whose name, with or without its server, passes a test."""
    return bool(facts.tool) and (fits(facts.full_tool) or fits(facts.tool))


def _name_test(field: str) -> Callable[[Texts], Test]:
    name_of = attrgetter(field)

    def make(patterns: Texts) -> Test:
        fits = matcher(patterns)

        def test(question: PolicyQuestion) -> Outcome:
            name = name_of(question.facts)
            return fits(name) or (None if is_masked(name) else False)

        return test

    return make


def _role_test(patterns: Texts) -> Test:
    fits = matcher(patterns)

    def test(question: PolicyQuestion) -> Outcome:
        roles = question.facts.roles
        return any(map(fits, roles)) or (None if any(map(is_masked, roles)) else False)

    return test


_WHO: dict[str, Callable[[Any], Test]] = {
    "agent": _name_test("agent"),
    "user": _name_test("user"),
    "role": _role_test,
    "session": _name_test("session"),
}


def _finding(condition: FindingCondition) -> Test:
    category, rule, surface = (
        matcher(value) if value is not None else _always
        for value in (condition.category, condition.rule, condition.surface)
    )
    least = SEVERITY_NUMBER[condition.severity or "low"]
    return lambda question: (
        bool(question.facts.findings)
        and any(
            SEVERITY_NUMBER[one.severity] >= least
            and category(one.category)
            and rule(one.rule)
            and surface(one.surface)
            for one in question.facts.findings
        )
    )


def _origin(condition: OriginCondition) -> Test:
    tool = matcher(condition.tool) if condition.tool is not None else _always
    argument = matcher(condition.argument) if condition.argument is not None else _always
    least = SEVERITY_NUMBER[condition.severity or "low"]
    return lambda question: (
        bool(question.facts.origins)
        and any(
            SEVERITY_NUMBER[one.severity] >= least
            and condition.shape in {None, one.shape}
            and tool(one.tool)
            and (argument(one.argument) or argument(argument_of(one.argument)))
            for one in question.facts.origins
        )
    )


def _after(condition: AfterCondition) -> Test:
    tool = matcher(condition.tool) if condition.tool is not None else None
    category = matcher(condition.category) if condition.category is not None else _always
    rule = matcher(condition.rule) if condition.rule is not None else _always
    kinds = {name for data in condition.data or () for name in _DATA[data]}
    asks_finding = condition.category is not None or condition.rule is not None or bool(kinds)

    def test(question: PolicyQuestion) -> bool:
        if tool is not None and not any(map(tool, question.earlier_tools())):
            return False
        return not asks_finding or any(
            category(name) and rule(rule_id) and (not kinds or name in kinds)
            for name, rule_id in question.earlier_findings()
        )

    return test


def _rate(rule_id: str, condition: RateCondition) -> Test:
    return lambda question: question.history.exceeds(rule_id, condition, question.facts)


def _budget(condition: BudgetCondition) -> Test:
    def test(question: PolicyQuestion) -> bool:
        tokens, cost = question.history.used(condition.by, SECONDS[condition.per], question.facts)
        return (condition.tokens is not None and tokens >= condition.tokens) or (
            condition.cost is not None and cost >= condition.cost
        )

    return test


def _argument(name: str, given: Any, key: bytes, *, strict: bool) -> Test:
    condition = _condition(given)
    is_pattern, wanted = not _PATTERN.isdisjoint(name), matcher(name)
    try:
        # A negated test reads an unreadable value the other way round, so that it still counts against the caller.
        value_tests = _value_tests(condition, key, strict=strict is not condition.negate)
    except (ValueError, re.error) as error:
        raise ValueError(f"arguments.{name}: {error}") from error
    present, fits = condition.present, _whole(value_tests, negate=condition.negate)

    def test(question: PolicyQuestion) -> Outcome:
        values, is_unread = question.arguments_like(wanted) if is_pattern else question.arguments(name)
        if present is not None and bool(values or is_unread) is not present:
            return strict and is_unread  # the argument may be among what could not be read
        if fits is None:
            return True
        if strict and is_unread:
            return True  # a value that was not looked at may fit
        if not strict and (not values or not question.facts.complete):
            return False  # it may not fit
        is_undecided = False
        for value in values:
            outcome = fits(value)
            if outcome is strict:  # one value that fits is enough to deny, one that does not is enough not to allow
                return outcome
            is_undecided = is_undecided or outcome is None
        return None if is_undecided else not strict

    return test


def _whole(value_tests: list[ValueTest], *, negate: bool) -> ValueTest | None:
    """The tests of one value as one; ``None`` where there are none."""
    if not value_tests:
        return None
    if len(value_tests) == 1 and not negate:
        return value_tests[0]

    def test(value: ArgumentFact) -> Outcome:
        outcomes = [one(value) for one in value_tests]
        outcome = False if False in outcomes else None if None in outcomes else True
        return outcome if outcome is None else outcome is not negate

    return test


def _condition(given: Any) -> ArgumentCondition:
    if isinstance(given, ArgumentCondition):
        return given
    if isinstance(given, tuple | list):
        return ArgumentCondition(one_of=tuple(given))
    return ArgumentCondition(equals=given)


def _value_tests(condition: ArgumentCondition, key: bytes, *, strict: bool) -> list[ValueTest]:
    return [
        make(value, key, strict)
        for name, make in _VALUE.items()
        if (value := getattr(condition, name)) is not msgspec.UNSET and (value is not None or name == "equals")
    ]


def _equals(value: Any, key: bytes, strict: bool) -> ValueTest:
    return _one_of((value,), key, strict)


def _one_of(values: Any, key: bytes, _strict: bool) -> ValueTest:
    digests = frozenset(digest(value, key) for value in values)
    return lambda fact: fact.digest in digests


def _glob(value: Any, _key: bytes, _strict: bool) -> ValueTest:
    fits = matcher(value)
    return lambda fact: None if (spelled := _spelled(fact)) is None else fits(spelled)


def _regex(value: Any, _key: bytes, _strict: bool) -> ValueTest:
    shape = pattern.shape(value, ignore_case=False)
    expression = re.compile(shape.regex, shape.flags)
    return lambda fact: None if (spelled := _spelled(fact)) is None else expression.fullmatch(spelled) is not None


def _host(value: Any, _key: bytes, strict: bool) -> ValueTest:
    fits = matcher(tuple(form for name in texts(value) for form in canonical(name.strip().lower())))
    if not strict:
        return lambda fact: bool(fact.hosts) and all(map(fits, fact.hosts))
    return lambda fact: any(map(fits, fact.hosts)) or (fact.number is not None and fits(ipv4_of(fact.number)))


def _path(value: Any, _key: bytes, strict: bool) -> ValueTest:
    folders = tuple({form: None for name in texts(value) for form in (normal_path(name), from_home(normal_path(name)))})
    folded = tuple(folder.casefold() for folder in folders)  # the file systems of macOS and Windows know no capitals
    leads_anywhere = any(folder.startswith("/") for folder in folders)

    def test(fact: ArgumentFact) -> bool:
        if not fact.folder:
            return strict and fact.size > 0 and fact.number is None  # what cannot be read as a path may be one
        if not strict:
            return all(
                any(is_below(from_home(seen), folder) for folder in folders)
                for seen in (fact.folder, fact.other_folder)
                if seen
            )
        for path in _places(fact):
            if leads_anywhere and leads_out(path):
                return True  # the folder of the process decides where it leads
            if any(is_below(path, folder) for folder in folded):
                return True
        return False

    return test


@lru_cache(maxsize=1024)
def _places(fact: ArgumentFact) -> tuple[str, ...]:
    """The folders that a path lies in and, while its text is there, the path itself: it may be the folder of a rule."""
    own = () if fact.text is None else (normal_path(fact.text.strip()),)
    return tuple(from_home(one).casefold() for one in (fact.folder, *own, fact.other_folder) if one)


def _bound(holds: Callable[[float, float], bool]) -> Callable[[Any, bytes, bool], ValueTest]:
    def make(bound: Any, _key: bytes, strict: bool) -> ValueTest:
        def test(fact: ArgumentFact) -> Outcome:
            if fact.number is None:
                return strict
            return None if _is_near(fact, bound) else holds(fact.number, bound)

        return test

    return make


def _is_near(fact: ArgumentFact, bound: float) -> bool:
    """Returns whether a number of a replay, kept by its magnitude alone, may lie on either side of a bound."""
    is_exact = fact.text is not None or fact.number is None or abs(fact.number) <= _EXACT
    return not is_exact and fact.number == magnitude(bound)


def _length(value: Any, _key: bytes, _strict: bool) -> ValueTest:
    return lambda fact: fact.size <= value


def _schema(value: Any, _key: bytes, _strict: bool) -> ValueTest:
    from cylestio_monitor.govern import schemas  # noqa: PLC0415 -- few policies have a schema

    validator = schemas.validator(value)
    return lambda fact: None if _is_unknown(fact) else validator.is_valid(_value(fact))


_VALUE: dict[str, Callable[[Any, bytes, bool], ValueTest]] = {
    "equals": _equals,
    "one_of": _one_of,
    "host": _host,
    "path": _path,
    "min": _bound(ge),
    "max": _bound(le),
    "max_length": _length,
    "glob": _glob,
    "regex": _regex,
    "json_schema": _schema,
}


def _is_unknown(fact: ArgumentFact) -> bool:
    """Returns whether a value is content that a replay does not have: all but numbers that are kept exactly."""
    return fact.text is None and (fact.number is None or fact.kind != "number" or abs(fact.number) > _EXACT)


def _spelled(fact: ArgumentFact) -> str | None:
    if fact.text is not None:
        return fact.text
    return None if _is_unknown(fact) or fact.number is None else spelling(fact.number)


def _value(fact: ArgumentFact) -> object:
    if fact.kind == "text" or fact.text is None:
        return fact.number if fact.text is None else fact.text
    return fact.number if fact.kind == "number" else _WORDS.get(fact.text)


def _always(_: str) -> bool:
    return True
