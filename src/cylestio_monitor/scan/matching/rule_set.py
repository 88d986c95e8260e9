"""The rules in force: those of the package and those of the user, as the settings select them."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.config.names import did_you_mean
from cylestio_monitor.errors import ConfigError
from cylestio_monitor.model import MASKED_CATEGORIES
from cylestio_monitor.rules import (
    NOT_APPLIED,
    backtracking,
    groups,
    heads,
    literals,
    load_pack,
    load_packs,
    pattern,
    prefilter,
    shipped_files,
    words,
)
from cylestio_monitor.scan.keywords import keyword_rules
from cylestio_monitor.scan.matching import (
    compiled_rule,
    compiled_set,
    expressions,
    hyperscan_engine,
    literal_index,
    rule_cache,
)
from cylestio_monitor.scan.matching.compiled_rule import selects, with_severity
from cylestio_monitor.scan.matching.compiled_set import SearchableGroup, SearchableSet, compile_set
from cylestio_monitor.scan.matching.hyperscan_engine import engine_version
from cylestio_monitor.scan.normalisation import disguises
from cylestio_monitor.scan.normalisation.characters import BEGINNING
from cylestio_monitor.scan.normalisation.disguises import SIGNS
from cylestio_monitor.scan.validators.checks import VALIDATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cylestio_monitor.config import Settings
    from cylestio_monitor.rules import Rule
    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule
    from cylestio_monitor.scan.matching.rule_cache import RuleCache

    Signs = Mapping[str, Sequence[str]]

_COMPILER_SOURCES = tuple(
    Path(str(module.__file__))
    for module in (
        backtracking,
        literals,
        prefilter,
        groups,
        heads,
        pattern,
        words,
        compiled_rule,
        compiled_set,
        expressions,
        hyperscan_engine,
        literal_index,
        disguises,
    )
)
_KEYWORD_RULESET = "keywords"
_RULES_IN_CODE = (
    "authentication.", "classifier.", "limit.", "moderator.", "provenance.", "runaway.", "scan.", "tool."
)  # fmt: skip
"""Prefixes of findings that no rule of a pack makes: those of control, sign-ins, detectors and the scan itself."""

_PATTERN_WORD = re.compile(rf"[a-z]{{{BEGINNING},}}")


class RuleGroup(NamedTuple):
    """A group of rules as one `RuleSet` applies it.

    Attributes:
        rules: The rules with the severities of the settings.
        active: For each rule whether the settings select it.
        group: The engine.
    """

    rules: Sequence[CompiledRule]
    active: Sequence[bool]
    group: SearchableGroup


class RuleSet:
    """The rules in force and the engines that search for them.

    Attributes:
        problems: Rules and files that could not be used.
        texts: Groups of rules that apply to every text.
        arguments: Groups that apply to arguments of tools beside them.
        foreign: Groups that apply to texts with characters beyond ASCII beside them.
        names: Groups that apply to names of called tools.
        evasions: The rules that a disguise raises, by the disguise.
    """

    def __init__(self, settings: Settings, *, cache_dir: Path | None, key: bytes, base_dir: Path | None) -> None:
        """Loads or compiles the rules.

        Args:
            settings: Packs, words, severities and selection.
            cache_dir: Folder of the compiled rules; ``None`` keeps none.
            key: Key of the deployment, which authenticates the compiled rules.
            base_dir: Folder that relative paths of packs start from.
        """
        self.problems: list[ConfigError] = []
        version = engine_version() if settings.scan.engine != "python" else None
        if settings.scan.engine == "hyperscan" and version is None:
            used = "Cylestio uses the pure-Python matcher, which gives the same findings"
            problem = ConfigError("hyperscan is not installed", source="settings", key="scan.engine", used=used)
            self.problems.append(problem)
        cache = rule_cache.RuleCache(cache_dir, key) if cache_dir is not None else None
        self._sets = [_package_rules(version, cache)]
        own = self._own_rules(settings, base_dir)
        if own:
            self._sets.append(_compiled(own, version, cache, rule_cache.stamp(_COMPILER_SOURCES, own), {}))
        self._selected = _selection(settings)
        self._overrides = settings.rules.override
        self.texts = tuple(self._group(one.texts) for one in self._sets)
        self.arguments = tuple(self._group(one.arguments) for one in self._sets)
        self.foreign = tuple(self._group(one.foreign) for one in self._sets)
        self.names = tuple(self._group(one.names) for one in self._sets)
        unsearched = [
            with_severity(rule, self._overrides)
            for one in self._sets
            for rule in one.compiled.unsearched
            if self._selected(rule)
        ]
        self.evasions = {rule.evasion: rule for rule in unsearched if rule.evasion is not None}
        self._unsearched = {rule.rule_id: rule for rule in unsearched}
        self._metadata: dict[str, Rule] | None = None
        self._report_unknown(settings)

    def _own_rules(self, settings: Settings, base_dir: Path | None) -> list[Rule]:
        """Reads the rules of the user's packs and words; an id of the package's rules is refused."""
        files = _own_files(settings, base_dir)
        taken = self._sets[0].compiled.rules() if files else {}
        own: list[Rule] = []
        for file in files:
            found, wrong = load_pack(file, known=tuple(VALIDATORS))
            self.problems += wrong
            for rule, line in found:
                if rule.id in taken:
                    reason = f"`{rule.id}` is already a rule of `{taken[rule.id].ruleset}`"
                    self.problems.append(ConfigError(reason, source=str(file), line=line, key="id", used=NOT_APPLIED))
                    continue
                taken[rule.id] = rule
                own.append(rule)
        return own + keyword_rules(settings.keywords, self.problems)

    def _group(self, group: SearchableGroup) -> RuleGroup:
        rules: Sequence[CompiledRule] = group.rules
        if self._overrides:
            rules = [with_severity(rule, self._overrides) for rule in rules]
        return RuleGroup(rules, [self._selected(rule) for rule in rules], group)

    def _report_unknown(self, settings: Settings) -> None:
        """Reports overrides and silences that select no rule in force."""
        selectors = {f"rules.override[{number}].rule": one.rule for number, one in enumerate(settings.rules.override)}
        for number, entry in enumerate(settings.rules.silence):
            if entry.rule and not entry.rule.startswith(_RULES_IN_CODE):
                selectors[f"rules.silence[{number}].rule"] = entry.rule
        for key, selector in selectors.items():
            if not any(selects(selector, rule_id) for rule_id in self.metadata):
                reason = f"names no rule: `{selector}`{did_you_mean(selector, sorted(self.metadata))}"
                self.problems.append(ConfigError(reason, source="settings", key=key, used="Cylestio ignores the entry"))

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """The first letters of the words in the patterns of rules that apply to texts decoded from a disguise."""
        rules = (rule for one in self.texts for rule in one.rules if rule.unfold)
        words = (word for rule in rules for word in _PATTERN_WORD.findall(rule.regex.lower()))
        return frozenset(word[:BEGINNING] for word in words)

    @property
    def metadata(self) -> dict[str, Rule]:
        """The rules in force by id, without their examples."""
        if self._metadata is None:
            every = [rule for one in self._sets for rule in one.compiled.rules().values()]
            self._metadata = {rule.id: rule for rule in every if self._selected(rule)}
        return self._metadata

    @cached_property
    def _package_severities(self) -> frozenset[str]:
        """The ids of the rules of the package whose severity the settings leave as it is."""
        package = self._sets[0]
        groups = (package.texts, package.arguments, package.foreign, package.names)
        ids = {rule.rule_id for group in groups for rule in group.rules}
        return frozenset(id_ for id_ in ids if not any(selects(one.rule, id_) for one in self._overrides))

    def has_package_severity(self, rule: CompiledRule) -> bool:
        """Returns whether a rule is one of the package, with the severity that the package gives it."""
        return rule.rule_id in self._package_severities

    @property
    def engine(self) -> str:
        """Name of the engine in use: ``hyperscan`` or ``python``."""
        return self.texts[0].group.engine.name

    def rule(self, rule_id: str) -> CompiledRule | None:
        """Returns the rule of that id, of those that a detector or the key of a value raises, if it is in force."""
        known = self._unsearched.get(rule_id)
        if known is not None:
            return known
        members = ((rule, active) for one in self.texts for rule, active in zip(one.rules, one.active, strict=True))
        return next((rule for rule, active in members if active and rule.rule_id == rule_id), None)

    def masking(self) -> list[CompiledRule]:
        """Returns the rules in force whose matches are replaced in what a model reads and says."""
        return [
            rule
            for one in (*self.texts, *self.foreign)
            for rule, active in zip(one.rules, one.active, strict=True)
            if active and rule.masks and rule.category in MASKED_CATEGORIES and rule.applies("input", "llm")
        ]

    def wait_compiled(self, timeout: float) -> bool:
        """Waits until the compiled databases are in use or cannot be; returns whether that is so.

        Args:
            timeout: Longest wait for each set, in seconds.
        """
        return all(one.wait_compiled(timeout) for one in self._sets)


def _selection(settings: Settings) -> Callable[[CompiledRule | Rule], bool]:
    """Returns the condition under which a rule is in force."""
    locales = {name.upper() for name in settings.scan.locales}
    experimental, keywords = settings.rules.experimental, settings.keywords.defaults

    def selected(rule: CompiledRule | Rule) -> bool:
        stable = rule.status == "stable" if not isinstance(rule, compiled_rule.CompiledRule) else not rule.experimental
        return (
            (stable or experimental)
            and (keywords or rule.ruleset != _KEYWORD_RULESET)
            and (not locales or not rule.locales or not locales.isdisjoint(rule.locales))
        )

    return selected


_package_sets: dict[str, SearchableSet] = {}


def _package_rules(version: str | None, cache: RuleCache | None) -> SearchableSet:
    """Returns the rules of the package, one set for all scanners of the process that use the same engine."""
    stamp = rule_cache.stamp([*shipped_files(), *_COMPILER_SOURCES])
    name = f"{stamp}{version}"
    known = _package_sets.get(name)
    # Without a lock, so that a fork meanwhile is safe: two threads may both load it, and one result stays.
    return known or _package_sets.setdefault(name, _loaded(stamp, version, cache))


def _loaded(stamp: str, version: str | None, cache: RuleCache | None) -> SearchableSet:
    compiled = rule_cache.load_shipped(stamp)
    if compiled is not None:
        made = SearchableSet(compiled)
        if version is None or made.load_databases(version):
            return made
    rules = list(compiled.rules().values()) if compiled is not None else load_packs(shipped_files())[0]
    return _compiled(rules, version, cache, stamp, SIGNS)


def _compiled(
    rules: list[Rule], version: str | None, cache: RuleCache | None, stamp: str, signs: Signs
) -> SearchableSet:
    """Returns rules from the cache, or compiles them: at once in pure Python, the databases in a thread."""
    name = f"{stamp}-{version or 'python'}"
    cached = cache.load(name) if cache is not None else None
    if cached is not None:
        made = SearchableSet(cached)
        if version is None or made.load_databases(version):
            return made
    made = SearchableSet(compile_set(rules, signs))

    def keep(compiled: compiled_set.CompiledSet) -> None:
        if cache is not None:
            cache.save(name, compiled)

    if version is None:
        keep(made.compiled)
    else:
        made.compile_in_background(version, keep)
    return made


def _own_files(settings: Settings, base_dir: Path | None) -> list[Path]:
    paths = (Path(pack).expanduser() for pack in settings.rules.packs)
    return [path if path.is_absolute() or base_dir is None else base_dir / path for path in paths]


def read_rules(settings: Settings, base_dir: Path | None, problems: list[ConfigError]) -> list[Rule]:
    """Reads the rules that the settings select, with their examples.

    Args:
        settings: The settings.
        base_dir: Folder that relative paths of packs start from.
        problems: Receives what cannot be used.
    """
    files = [*shipped_files(), *_own_files(settings, base_dir)]
    rules, wrong = load_packs(files, known=tuple(VALIDATORS))
    problems += wrong
    selected = _selection(settings)
    return [rule for rule in rules if selected(rule)] + keyword_rules(settings.keywords, problems)


def build_shipped() -> None:
    """Compiles the rules of the package and writes them to `rule_cache.SHIPPED`, unless that file is up to date.

    Raises:
        hyperscan.error: The engine refuses an expression.
    """
    stamp = rule_cache.stamp([*shipped_files(), *_COMPILER_SOURCES])
    version = engine_version()
    known = rule_cache.load_shipped(stamp)
    if known is not None and (version is None or SearchableSet(known).load_databases(version)):
        return
    compiled = compile_set(load_packs(shipped_files())[0], SIGNS)
    if version is not None:
        compiled_set.compile_databases(compiled, version)
    rule_cache.save_shipped(stamp, compiled)
