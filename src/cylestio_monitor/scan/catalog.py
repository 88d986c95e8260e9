"""From settings to what the scanner searches with: rules read, planned, compiled and kept."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from cylestio_monitor.errors import ConfigError
from cylestio_monitor.rules import literals, load_packs, lowering, pattern, shipped_files
from cylestio_monitor.scan import cache, fields, hyper, plan
from cylestio_monitor.scan.engine import Engine, PythonEngine
from cylestio_monitor.scan.hyper import HyperscanEngine, compile_database, engine_version
from cylestio_monitor.scan.keywords import keyword_rules
from cylestio_monitor.scan.plan import Catalogue, catalogue, select
from cylestio_monitor.scan.validators import VALIDATORS

if TYPE_CHECKING:
    from cylestio_monitor.config import Settings
    from cylestio_monitor.rules import Rule

_log = logging.getLogger(__name__)
_LOWERING = tuple(Path(str(module.__file__)) for module in (literals, lowering, pattern, plan, hyper))
_PATIENCE_S = 3.0
_SHIPPED_KEYWORDS = "keywords.yaml"


class Catalog:
    """The rules in force, and the engine that looks for them.

    With a cached database the start takes milliseconds. Without one, mode ``auto`` starts with the pure-Python engine
    and changes to the compiled database when a background thread has it.

    Attributes:
        plans: What is searched for; a plan's place is its number.
        problems: Rules and files that could not be used.
        engine: The engine in use now.
        name_engine: The one for names of called tools.
        evasions: The plans that a disguise raises, by the disguise.
        named_field: The plan of the rule that goes by a value's key.
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
        name = cache.stamp([*files, *_LOWERING], settings, version)
        cached = cache.load(cache_dir, name) if cache_dir else None
        if cached is None:
            found: list[ConfigError] = []
            made = catalogue(read_rules(settings, files, found), settings.rules.override, found)
            cached = cache.Cached(made, [(p.reason, p.source, p.line, p.key) for p in found])
        self._made: Catalogue = cached.catalogue
        self.plans = self._made.plans
        self.problems += cached.errors()
        self.named_field = next((one for one in self.plans if one.rule_id == fields.RULE), None)
        self.evasions = {one.evasion: one for one in self.plans if one.evasion is not None}
        self._rules: dict[str, Rule] | None = None
        # Names are short and few rules look at them: no database is worth it.
        self.name_engine: Engine = PythonEngine(self.plans, names=True)
        self._ready = threading.Event()
        self._wanted = threading.Event()
        self._cache = (cache_dir, name)
        self.engine: Engine = self._start(cached.database, version, wait=settings.scan.engine == "hyperscan")

    @property
    def rules(self) -> dict[str, Rule]:
        """The rules by id, without their examples."""
        if self._rules is None:
            self._rules = self._made.metadata()
        return self._rules

    def wait(self, timeout_s: float) -> bool:
        """Has the engine of the settings made at once and waits until it is in use; whether it is."""
        self._wanted.set()
        return self._ready.wait(timeout_s)

    def _start(self, database: bytes, version: str | None, *, wait: bool) -> Engine:
        folder, name = self._cache
        if folder is not None and not self._kept():
            # Before the database is compiled: the next start, which may come first, need not read the rules anew.
            cache.save(folder, name, self._made, self.problems, b"")
        if version is None:
            self._ready.set()
            return PythonEngine(self.plans)
        if database:
            try:
                engine = HyperscanEngine(database, self.plans)
            except Exception as error:  # noqa: BLE001 -- the engine's own error class is not at hand; all mean: build anew
                _log.info("the compiled rules cannot be loaded and are built anew: %s", error)
            else:
                self._ready.set()
                return engine
        self.engine = PythonEngine(self.plans)
        if wait:
            self._compile()
            return self.engine
        threading.Thread(target=self._compile_later, name="cylestio-compile-rules", daemon=True).start()
        return self.engine

    def _kept(self) -> bool:
        folder, name = self._cache
        return folder is not None and (folder / f"rules-{name}.bin").exists()

    def _compile_later(self) -> None:
        # A process that lives for a moment has no use for a database that takes seconds to build.
        self._wanted.wait(_PATIENCE_S)
        self._compile()

    def _compile(self) -> None:
        try:
            database = compile_database(self.plans)
            self.engine = HyperscanEngine(database, self.plans)
            folder, name = self._cache
            if folder is not None:
                cache.save(folder, name, self._made, self.problems, database)
        except Exception as error:  # noqa: BLE001 -- whatever the engine refuses, the pure-Python matcher goes on
            _log.warning("the rules could not be compiled; the pure-Python matcher stays in use: %s", error)
        finally:
            self._ready.set()


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
