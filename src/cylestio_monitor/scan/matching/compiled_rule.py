"""Rules made ready to be searched for: what the engines, the confirmation and the cache need, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor.model import ALERT_OF, Alert, Severity
from cylestio_monitor.rules import Rule, pattern
from cylestio_monitor.rules.literals import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cylestio_monitor.config import OverrideSettings
    from cylestio_monitor.errors import ConfigError

SLACK = 80
"""Code points beyond a window's end that a look-ahead or a border may want to see."""


_FOREIGN = re.compile(rf"{MARK}(?:\(\?:)*\\x[89a-f]")
_OF_CALLS = {"tool_call", "tool_name"}
WHOLE_STATEMENT = frozenset({"rm", "sql", "concrete", "sql-injected"})
"""Validators that look beyond the match, at the rest of the command or statement."""


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One rule, ready to be searched for.

    Attributes:
        rule_id: The rule's id. A rule has one plan, or one for each of its patterns or signs.
        regex: Bounded pattern for `re`; empty for a rule that only an evasion raises.
        flags: Flags of `re.compile`.
        width: Most code points of a match.
        clauses: Sets of literals, of each of which every match holds one; see `rules.pattern`.
        held: Sets of words, of each of which every match holds one; asked of a window before the pattern is.
        groups: Lengths of runs of digits, of which every match has one sequence; see `rules.groups`.
        validators: Checks on a match, by name.
        context: Words of which one must stand near, lower-case.
        within: How near, in code points.
        surfaces: Surfaces it looks at; empty means all but ``tool_name``.
        targets: Sides it looks at; empty means both.
        generic: Gives way to another rule of its category at the same place.
        unfold: Whether undone evasions are looked at too.
        masks: Whether a match is replaced in recorded content.
        evasion: The evasion that raises it.
        least: How many different signs of the rule must stand in the text; 0 where each match counts by itself.
    """

    rule_id: str
    category: str
    severity: Severity
    alert: Alert
    owasp: tuple[str, ...] = ()
    atlas: tuple[str, ...] = ()
    regex: str = ""
    flags: int = 0
    width: int = 0
    clauses: tuple[tuple[str, ...], ...] = ()
    held: tuple[tuple[str, ...], ...] = ()
    groups: tuple[bytes, ...] = ()
    validators: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    within: int = 0
    surfaces: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    generic: bool = False
    unfold: bool = False
    masks: bool = True
    evasion: str | None = None
    least: int = 0

    @property
    def of_names(self) -> bool:
        """Whether it looks at names of called tools."""
        return "tool_name" in self.surfaces

    @property
    def of_texts(self) -> bool:
        """Whether it looks at texts of more kinds than arguments of tools."""
        return not self.of_arguments and self.surfaces != ("tool_name",)

    @property
    def beyond_ascii(self) -> bool:
        """Whether only a text with characters beyond ASCII can match."""
        return all(literal[0] > "\x7f" or _FOREIGN.match(literal) for literal in self.clauses[0])

    @property
    def of_arguments(self) -> bool:
        """Whether it looks at arguments of tools and at no other text."""
        return bool(self.surfaces) and "tool_call" in self.surfaces and not set(self.surfaces) - _OF_CALLS

    def applies(self, target: str, surface: str) -> bool:
        """Whether the rule looks at this side and surface of a call."""
        if self.targets and target not in self.targets:
            return False
        return surface in self.surfaces if self.surfaces else surface != "tool_name"

    @property
    def looks_further(self) -> bool:
        """Whether a validator reads the whole statement."""
        return any(name.partition(":")[0] in WHOLE_STATEMENT for name in self.validators)

    def needs_more(self, text: str, end: int) -> bool:
        """Whether more of a text that is still coming could change the answer about a match that ends at `end`.

        A validator that reads the whole statement is asked when its line, or its statement, has come whole.
        """
        if not self.looks_further:
            return False
        return "\n" not in text[end:] and ";" not in text[end:]


def plans_of(rule: Rule, overrides: Sequence[OverrideSettings] = ()) -> list[CompiledRule]:
    """The plans of a rule; the last override that names it decides the severity."""
    severity: Severity = rule.severity
    for override in overrides:
        if names(override.rule, rule.id):
            severity = override.severity
    validators = rule.validators
    expressions = tuple(rule.expressions().values()) or ("",)
    if rule.keywords:
        expressions = ("|".join(sorted(map(phrase, rule.keywords), key=len, reverse=True)),)
        validators = ("identifier", *validators)
    base = CompiledRule(
        rule_id=rule.id,
        category=rule.category,
        severity=severity,
        alert=ALERT_OF[severity],
        owasp=rule.owasp,
        atlas=rule.atlas,
        validators=validators,
        context=tuple(word.lower() for word in rule.context.words) if rule.context else (),
        within=rule.context.within if rule.context else 0,
        surfaces=rule.surfaces,
        targets=rule.targets,
        generic=rule.generic,
        unfold=rule.unfold,
        masks=rule.masks,
        evasion=rule.evasion,
        least=rule.least if rule.signs else 0,
    )
    return [_shaped(base, expression, rule.case == "insensitive") if expression else base for expression in expressions]


def _shaped(plan: CompiledRule, expression: str, ignore_case: bool) -> CompiledRule:
    shape = pattern.shape(expression, ignore_case=ignore_case)
    return msgspec.structs.replace(
        plan,
        regex=shape.regex,
        flags=shape.flags,
        width=shape.width,
        clauses=shape.clauses,
        held=shape.held,
        groups=shape.groups,
    )


def names(selector: str, rule_id: str) -> bool:
    """Whether a selector of the settings, an id or a prefix ending in ``.*``, names the rule."""
    if selector.endswith(".*"):
        return rule_id.startswith(selector[:-1])
    return selector == rule_id


def phrase(words: str) -> str:
    """A word or phrase as a pattern: letter case folded, any run of blanks where it has one.

    Beyond ASCII the two cases of a letter are spelt out, because patterns fold ASCII letters only.
    """
    return r"\s+".join("".join(map(_either_case, word)) for word in words.split())


_SPECIAL = frozenset("\\.^$*+?{}[]|()#&~-")


def _either_case(character: str) -> str:
    if character < "\x80":
        return f"\\{character}" if character in _SPECIAL else character
    cases = sorted({character, character.lower(), character.upper(), character.casefold()})
    return cases[0] if len(cases) == 1 else f"(?:{'|'.join(cases)})"


def select(rules: Iterable[Rule], *, experimental: bool, locales: Sequence[str]) -> list[Rule]:
    """The rules that apply: the stable ones, and of the national ones those of the wanted countries."""
    wanted = {name.upper() for name in locales}
    return [
        rule
        for rule in rules
        if (experimental or rule.status == "stable") and (not wanted or not rule.locales or wanted & set(rule.locales))
    ]


class Catalogue(msgspec.Struct, kw_only=True, array_like=True):
    """What the cache keeps: the plans, and beside them the rules as MessagePack, read only when asked for."""

    plans: list[CompiledRule]
    rules: bytes

    def metadata(self) -> dict[str, Rule]:
        """The rules by id, without their examples."""
        return {rule.id: rule for rule in msgspec.msgpack.decode(self.rules, type=list[Rule])}


def catalogue(rules: Sequence[Rule], overrides: Sequence[OverrideSettings], problems: list[ConfigError]) -> Catalogue:
    """Plans every rule; an override that names none is a problem."""
    from cylestio_monitor.errors import ConfigError  # noqa: PLC0415 -- only where there is one to report

    for number, override in enumerate(overrides):
        if not any(names(override.rule, rule.id) for rule in rules):
            key = f"rules.override[{number}].rule"
            problems.append(ConfigError(f"names no rule: `{override.rule}`", source="settings", key=key))
    return Catalogue(
        plans=[plan for rule in rules for plan in plans_of(rule, overrides)],
        rules=msgspec.msgpack.encode(rules),
    )
