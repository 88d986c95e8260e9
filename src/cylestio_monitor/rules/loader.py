"""Reads rule files; a rule that cannot be used is named with file, line and key, and the others stay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cylestio_monitor import yamlfile
from cylestio_monitor.errors import ConfigError
from cylestio_monitor.rules import pattern, words
from cylestio_monitor.rules.examples import filler
from cylestio_monitor.rules.model import Pack, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_PACKS = Path(__file__).parent / "packs"
MAX_WAYS = 100_000
"""Most ways in which `re` may try to match a pattern of a user at one place; see `backtracking`."""

_BACKTRACKS = (
    "may be matched in too many ways at one place, which takes exponential time: let no repetition be followed by what "
    "it can match itself, and no alternative begin as another does"
)

_NO_RULES = "Cylestio applies no rule of this file"
NOT_APPLIED = "Cylestio does not apply this rule"
"""The consequence of a mistake in one rule."""


def shipped_files() -> list[Path]:
    """The rule files of this package, by name."""
    return sorted(_PACKS.glob("*.yaml"))


def load_packs(files: Iterable[Path], *, known: Sequence[str] = ()) -> tuple[list[Rule], list[ConfigError]]:
    """Reads several rule files.

    Args:
        files: The files, the earlier winning where an id stands twice.
        known: Names of the validators that exist; empty skips that check.

    Returns:
        The rules that can be used, in order, and what cannot be.
    """
    rules: dict[str, Rule] = {}
    problems: list[ConfigError] = []
    for file in files:
        found, wrong = load_pack(file, known=known)
        problems.extend(wrong)
        for rule, line in found:
            if rule.id in rules:
                reason = f"`{rule.id}` is already a rule of `{rules[rule.id].ruleset}`"
                problems.append(ConfigError(reason, source=str(file), line=line, key="id", used=NOT_APPLIED))
                continue
            rules[rule.id] = rule
    return list(rules.values()), problems


def load_pack(file: Path, *, known: Sequence[str] = ()) -> tuple[list[tuple[Rule, int]], list[ConfigError]]:
    """Reads one rule file: its rules, each with its line, and what cannot be used."""
    try:
        tree, lines = yamlfile.read_mapping(file)
    except ConfigError as error:
        return [], [error.but_used(_NO_RULES)]
    source = str(file)
    entries = tree.get("rules")
    defaults = tree.get("defaults", {})
    if not isinstance(entries, list) or not isinstance(defaults, dict):
        return [], [ConfigError("needs a list `rules`", source=source, line=1, key="rules", used=_NO_RULES)]
    try:
        pack = msgspec.convert({**tree, "rules": []}, Pack)
    except msgspec.ValidationError as error:
        reason, key = yamlfile.split_error(str(error))
        return [], [ConfigError(reason, source=source, line=lines.get(key, 1), key=key, used=_NO_RULES)]
    rules: list[tuple[Rule, int]] = []
    problems: list[ConfigError] = []
    for index, entry in enumerate(entries):
        place = f"rules[{index}]"
        line = lines.get(place, 1)
        try:
            rules.append((_rule(entry, pack, known, shipped=file.parent == _PACKS), line))
        except msgspec.ValidationError as error:
            reason, key = yamlfile.split_error(str(error))
            full = f"{place}.{key}" if key else place
            problems.append(ConfigError(reason, source=source, line=lines.get(full, line), key=full, used=NOT_APPLIED))
        except _UnusableError as error:
            full = f"{place}.{error.key}"
            problems.append(
                ConfigError(error.reason, source=source, line=lines.get(full, line), key=full, used=NOT_APPLIED)
            )
    return rules, problems


class _UnusableError(Exception):
    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason


def _rule(entry: Any, pack: Pack, known: Sequence[str], *, shipped: bool) -> Rule:
    if not isinstance(entry, dict):
        raise msgspec.ValidationError("must be a mapping")
    if "ruleset" in entry:
        raise msgspec.ValidationError("Object contains unknown field `ruleset`")
    rule = msgspec.convert({**pack.defaults, **entry, "ruleset": pack.ruleset}, Rule)
    kinds = (rule.pattern, rule.patterns, rule.keywords, rule.signs, rule.evasion, rule.detector)
    if sum(map(bool, kinds)) != 1:
        reason = "needs one of `pattern`, `patterns`, `keywords`, `signs`, `evasion` and `detector`"
        raise _UnusableError("pattern", reason)
    rule = _with_words(rule, pack.words)
    for key, expression in _expanded(rule).items():
        try:
            shape = pattern.shape(expression, ignore_case=rule.case == "insensitive")
        except (pattern.PatternError, re.error) as error:
            raise _UnusableError(key, f"cannot be used: {error}") from error
        if not shipped and shape.ways > MAX_WAYS:
            raise _UnusableError(key, _BACKTRACKS)
    for number, name in enumerate(rule.validators):
        if known and name.partition(":")[0] not in known:
            raise _UnusableError(f"validators[{number}]", f"no validator is called `{name.partition(':')[0]}`")
    for number, miss in enumerate(rule.examples.miss):
        if filler(rule, miss, number):
            raise _UnusableError(
                f"examples.miss[{number}]", "has nothing of what the rule looks for: it proves nothing"
            )
    return rule


def _with_words(rule: Rule, shared: Mapping[str, tuple[str, ...]]) -> Rule:
    """The rule with the word lists of the pack that it refers to."""
    for name in rule.words:
        if name in shared:
            raise _UnusableError(f"words.{name}", "is a word list of the pack too: give it another name")
    written = (*rule.patterns, *rule.signs, rule.pattern or "")
    lists = words.used_by(written, {**shared, **rule.words})
    unused = next((name for name in rule.words if name not in lists), None)
    if unused is not None:
        raise _UnusableError(f"words.{unused}", "is used by no pattern of the rule")
    return msgspec.structs.replace(rule, words=lists)


def _expanded(rule: Rule) -> dict[str, str]:
    try:
        return rule.expressions()
    except words.WordListError as error:
        key = next((key for key in ("pattern", "patterns", "signs") if getattr(rule, key)), "pattern")
        raise _UnusableError(key, f"cannot be used: {error}") from error
