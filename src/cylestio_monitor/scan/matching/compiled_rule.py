"""Rules as the engines and the confirmation use them, without their examples and descriptions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor.model import ALERT_OF, Alert, Severity
from cylestio_monitor.rules import Rule, pattern
from cylestio_monitor.rules.heads import head
from cylestio_monitor.rules.literals import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.config import OverrideSettings

SLACK = 80
"""Code points beyond the end of a window that a look-ahead or a word border may read."""

WHOLE_STATEMENT = frozenset({"rm", "sql", "concrete", "sql-injected"})
"""Validators that read beyond the match, the rest of the command or statement."""

_COSTLY = 10_000  # ways to match at one place; see `rules.backtracking`
_BEYOND_ASCII = re.compile(rf"{MARK}(?:\(\?:)*\\x[89a-f]")
_ARGUMENT_SURFACES = {"tool_call", "tool_name"}


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One pattern of a rule, ready to be searched for.

    Attributes:
        rule_id: The id of the rule. A rule has one compiled rule for each of its patterns or signs.
        regex: Bounded pattern for `re`; empty for a rule that only an evasion or a detector raises.
        flags: Flags of `re.compile`.
        width: Most code points of a match.
        clauses: Sets of literals; every match contains a literal of each set. See `rules.pattern`.
        held: Sets of words; every match contains a word of each set. They are looked up in a window before the pattern.
        groups: Sequences of lengths of runs of digits; every match contains one sequence. See `rules.groups`.
        validators: Names of the checks on a match.
        context: Words of which one must be near, in lower case.
        within: How near, in code points.
        surfaces: Surfaces to which the rule applies; empty means all but ``tool_name``.
        targets: Sides of a call to which it applies; empty means both.
        generic: Whether it gives way to another rule of its category at the same place.
        unfold: Whether it applies to texts decoded from an evasion too.
        masks: Whether a match is replaced in recorded content.
        evasion: The evasion that raises it.
        least: How many different signs of the rule must be in the text; 0 where each match counts by itself.
        experimental: Whether it applies only where the settings ask for experimental rules.
        locales: Countries of a national form.
        ruleset: Name of the pack.
        is_costly: Whether a search for the pattern may take long at one place of a text.
        head: For a costly pattern, a look-ahead that holds where a match can begin; see `rules.heads`. May be empty.
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
    experimental: bool = False
    locales: tuple[str, ...] = ()
    ruleset: str = ""
    is_costly: bool = False
    head: str = ""

    @property
    def of_names(self) -> bool:
        """Returns whether it applies to names of called tools."""
        return "tool_name" in self.surfaces

    @property
    def of_texts(self) -> bool:
        """Returns whether it applies to other texts than arguments and names of tools."""
        return not self.of_arguments and self.surfaces != ("tool_name",)

    @property
    def beyond_ascii(self) -> bool:
        """Returns whether only a text with characters beyond ASCII can match."""
        return all(literal[0] > "\x7f" or _BEYOND_ASCII.match(literal) for literal in self.clauses[0])

    @property
    def of_arguments(self) -> bool:
        """Returns whether it applies to arguments of tools and to no other text."""
        return "tool_call" in self.surfaces and not set(self.surfaces) - _ARGUMENT_SURFACES

    def applies(self, target: str, surface: str) -> bool:
        """Returns whether the rule applies to this side and surface of a call."""
        if self.targets and target not in self.targets:
            return False
        return surface in self.surfaces if self.surfaces else surface != "tool_name"

    @property
    def reads_statement(self) -> bool:
        """Returns whether a validator reads the whole statement."""
        return any(name.partition(":")[0] in WHOLE_STATEMENT for name in self.validators)

    def needs_more(self, text: str, end: int) -> bool:
        """Returns whether more of a text that still arrives could change the answer for a match that ends at `end`.

        A validator that reads the whole statement decides when the line or the statement is complete.
        """
        if not self.reads_statement:
            return False
        return "\n" not in text[end:] and ";" not in text[end:]


def compile_rule(rule: Rule) -> list[CompiledRule]:
    """Compiles a rule: one result for each of its patterns or signs."""
    validators = rule.validators
    expressions = tuple(rule.expressions().values()) or ("",)
    if rule.keywords:
        expressions = ("|".join(sorted(map(phrase, rule.keywords), key=len, reverse=True)),)
        validators = ("identifier", *validators)
    base = CompiledRule(
        rule_id=rule.id,
        category=rule.category,
        severity=rule.severity,
        alert=ALERT_OF[rule.severity],
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
        experimental=rule.status != "stable",
        locales=rule.locales,
        ruleset=rule.ruleset,
    )
    return [_with_pattern(base, one, rule.case == "insensitive") if one else base for one in expressions]


def _with_pattern(rule: CompiledRule, expression: str, ignore_case: bool) -> CompiledRule:
    shape = pattern.shape(expression, ignore_case=ignore_case)
    is_costly = shape.ways > _COSTLY
    return msgspec.structs.replace(
        rule,
        regex=shape.regex,
        flags=shape.flags,
        width=shape.width,
        clauses=shape.clauses,
        held=shape.held,
        groups=shape.groups,
        is_costly=is_costly,
        head=head(shape.regex, shape.flags) if is_costly else "",
    )


def with_severity(rule: CompiledRule, overrides: Sequence[OverrideSettings]) -> CompiledRule:
    """Returns the rule with the severity of the last override that selects it."""
    for override in reversed(overrides):
        if selects(override.rule, rule.rule_id):
            return msgspec.structs.replace(rule, severity=override.severity, alert=ALERT_OF[override.severity])
    return rule


def selects(selector: str, rule_id: str) -> bool:
    """Returns whether a selector of the settings, an id or a prefix ending in ``.*``, selects the rule."""
    if selector.endswith(".*"):
        return rule_id.startswith(selector[:-1])
    return selector == rule_id


def phrase(words: str) -> str:
    """Returns a word or phrase as a pattern that ignores letter case and matches any run of blanks for a blank.

    Beyond ASCII the pattern spells out both cases of a letter, because patterns fold ASCII letters only.
    """
    return r"\s+".join("".join(map(_either_case, word)) for word in words.split())


_SPECIAL = frozenset("\\.^$*+?{}[]|()#&~-")


def _either_case(character: str) -> str:
    if character < "\x80":
        return f"\\{character}" if character in _SPECIAL else character
    cases = sorted({character, character.lower(), character.upper(), character.casefold()})
    return cases[0] if len(cases) == 1 else f"(?:{'|'.join(cases)})"
