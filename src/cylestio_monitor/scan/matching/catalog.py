"""From settings to what the scanner searches with: rules read, planned, compiled and kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cylestio_monitor.config.names import did_you_mean
from cylestio_monitor.errors import ConfigError
from cylestio_monitor.rules import groups, literals, load_packs, pattern, prefilter, shipped_files
from cylestio_monitor.scan.matching import compiled_rule, engine, hyperscan_engine, named_fields, rule_cache
from cylestio_monitor.scan.matching.compiled_rule import Catalogue, catalogue, names, select
from cylestio_monitor.scan.matching.engine import Engine, Index, PythonEngine
from cylestio_monitor.scan.matching.hyperscan_engine import HyperscanEngine, compile_databases, engine_version
from cylestio_monitor.scan.matching.keywords import keyword_rules
from cylestio_monitor.scan.normalisation import disguises
from cylestio_monitor.scan.normalisation.disguises import SIGNS
from cylestio_monitor.scan.validators.checks import VALIDATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

    from cylestio_monitor.config import Settings
    from cylestio_monitor.rules import Rule
    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule

_log = logging.getLogger(__name__)
_LOWERING = tuple(
    Path(str(module.__file__))
    for module in (literals, prefilter, groups, pattern, compiled_rule, hyperscan_engine, engine, disguises)
)
_SHIPPED_KEYWORDS = "keywords.yaml"
_RULES_IN_CODE = ("classifier.", "scan.")
"""Prefixes of findings that no rule of a pack makes: those of detectors and of the scan itself."""


@dataclass(frozen=True, slots=True)
class Group:
    """The rules for one kind of text."""

    index: Index
    engine: Engine


class Catalog:
    """The rules in force, and the engine that looks for them.

    Attributes:
        plans: What is searched for; a plan's place is its number.
        problems: Rules and files that could not be used.
        texts: What looks at every text.
        arguments: What looks at arguments of tools beside it.
        foreign: What looks at texts with characters beyond ASCII beside it.
        names: What looks at names of called tools.
        evasions: The plans that a disguise raises, by the disguise.
        named_field: The plan of the rule that goes by a value's key.
        gates: Numbers of the literals in `texts` that are signs of a disguise.
    """

    def __init__(self, settings: Settings, *, cache_dir: Path | None, base_dir: Path | None) -> None:
        """Reads, or takes from the cache.

        Args:
            settings: Which packs, words and severities.
            cache_dir: Where compiled rules are kept; ``None`` keeps none.
            base_dir: What relative paths of packs start from.
        """
        self.problems: list[ConfigError] = []
        files = rule_files(settings, base_dir)
        version = engine_version() if settings.scan.engine != "python" else None
        if settings.scan.engine == "hyperscan" and version is None:
            reason = "hyperscan is not installed; the pure-Python matcher gives the same findings"
            self.problems.append(ConfigError(reason, source="settings", key="scan.engine"))
        # What lowers a pattern stands in the stamp too: a changed source must not meet an old database.
        name = rule_cache.stamp([*files, *_LOWERING], settings, version)
        cached = rule_cache.load(cache_dir, name) if cache_dir else None
        if cached is None:
            found: list[ConfigError] = []
            made = catalogue(read_rules(settings, files, found), settings.rules.override, found)
            cached = rule_cache.Cached(made, [(p.reason, p.source, p.line, p.key) for p in found], [])
        self._made: Catalogue = cached.catalogue
        self.plans = self._made.plans
        self.problems += cached.errors()
        self.problems += _unknown_silences(settings, {plan.rule_id for plan in self.plans})
        self.named_field = next((one for one in self.plans if one.rule_id == named_fields.RULE), None)
        self.evasions = {one.evasion: one for one in self.plans if one.evasion is not None}
        self._rules: dict[str, Rule] | None = None
        kept = list(cached.groups)
        self.texts = self._group(
            kept,
            0,
            version,
            lambda plan: plan.of_texts and not plan.beyond_ascii,
            chain(*SIGNS.values()),
        )
        self.arguments = self._group(kept, 1, version, lambda plan: plan.of_arguments)
        self.foreign = self._group(kept, 2, version, lambda plan: plan.of_texts and plan.beyond_ascii)
        # Names are short and few rules look at them: no database is worth it.
        self.names = self._group(kept, 3, None, lambda plan: plan.of_names)
        number = self.texts.index.literals.index  # the signs are the first of them
        self._signs = {name: frozenset(map(number, signs)) for name, signs in SIGNS.items()}
        self.gates = frozenset(chain(*self._signs.values()))
        if cache_dir is not None and kept != cached.groups:
            rule_cache.save(cache_dir, name, self._made, self.problems, kept)

    def signs(self, present: AbstractSet[int]) -> set[str]:
        """The disguises of which a text holds a sign."""
        return {name for name, numbers in self._signs.items() if not numbers.isdisjoint(present)}

    @property
    def rules(self) -> dict[str, Rule]:
        """The rules by id, without their examples."""
        if self._rules is None:
            self._rules = self._made.metadata()
        return self._rules

    def _group(
        self,
        kept: list[rule_cache.Kept],
        place: int,
        version: str | None,
        chosen: Callable[[CompiledRule], bool],
        gates: Iterable[str] = (),
    ) -> Group:
        """The plans that are chosen and the engine for them; what is not kept is made and added to it."""
        if place < len(kept):
            index, databases = kept[place].index, kept[place].databases
            try:
                return Group(index, self._engine(index, databases, version))
            except Exception as error:  # noqa: BLE001 -- whatever the engine says of the bytes: they are built anew
                _log.info("the compiled rules cannot be loaded and are built anew: %s", error)
                del kept[place:]
        index = Index.of(
            self.plans,
            (n for n, compiled_rule in enumerate(self.plans) if compiled_rule.regex and chosen(compiled_rule)),
            gates,
        )
        databases = []
        try:
            databases = compile_databases(index.literals) if version is not None else []
            engine = self._engine(index, databases, version)
        except Exception as error:  # noqa: BLE001 -- whatever the engine refuses, the pure-Python matcher goes on
            _log.warning("the rules could not be compiled; the pure-Python matcher is used: %s", error)
            return Group(index, PythonEngine(index.literals))
        kept.append(rule_cache.Kept(index, databases))
        return Group(index, engine)

    @staticmethod
    def _engine(index: Index, databases: list[bytes], version: str | None) -> Engine:
        return PythonEngine(index.literals) if version is None else HyperscanEngine(databases, index.literals)


def _unknown_silences(settings: Settings, rule_ids: AbstractSet[str]) -> list[ConfigError]:
    """Returns a problem for each silence that names no rule in force."""
    problems = []
    for number, entry in enumerate(settings.rules.silence):
        rule = entry.rule
        if not rule or rule.startswith(_RULES_IN_CODE) or any(names(rule, rule_id) for rule_id in rule_ids):
            continue
        reason = f"names no rule: `{rule}`{did_you_mean(rule, sorted(rule_ids))}"
        problems.append(ConfigError(reason, source="settings", key=f"rules.silence[{number}].rule"))
    return problems


def rule_files(settings: Settings, base_dir: Path | None) -> list[Path]:
    """The rule files that the settings choose: the shipped ones and the user's own."""
    files = [file for file in shipped_files() if settings.keywords.defaults or file.name != _SHIPPED_KEYWORDS]
    for pack in settings.rules.packs:
        path = Path(pack).expanduser()
        files.append(path if path.is_absolute() or base_dir is None else base_dir / path)
    return files


def read_rules(settings: Settings, files: list[Path], problems: list[ConfigError]) -> list[Rule]:
    """The rules of the files and the user's words that the settings choose."""
    rules, wrong = load_packs(files, known=tuple(VALIDATORS))
    problems += wrong
    chosen = select(rules, experimental=settings.rules.experimental, locales=settings.scan.locales)
    return chosen + keyword_rules(settings.keywords, problems)
