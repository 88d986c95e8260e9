"""A set of rules compiled for the engines: the rules of the package, or those of the user.

The rules of the package are the same for all settings, so one compiled set serves all scanners of a process. It comes
from the file that the build of the package wrote, or from the private cache, or it is compiled. Until the database of
the multi-pattern engine is there, the engine in pure Python answers, with the same findings.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor.rules import Rule
from cylestio_monitor.scan.matching.compiled_rule import CompiledRule, compile_rule
from cylestio_monitor.scan.matching.hyperscan_engine import HyperscanEngine, HyperscanIndex, compile_index
from cylestio_monitor.scan.matching.literal_index import LiteralIndex
from cylestio_monitor.scan.matching.python_engine import PythonEngine
from cylestio_monitor.scan.matching.searched_text import Lead

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cylestio_monitor.scan.matching.engine import Engine
    from cylestio_monitor.scan.matching.searched_text import SearchedText

_log = logging.getLogger(__name__)


class CompiledGroup(msgspec.Struct, array_like=True):
    """The rules for one kind of text.

    Attributes:
        rules: The rules; the place of a rule is its number in both indexes.
        literals: Their literals.
        database: The compiled database; ``None`` where the engine is not installed or the group is small.
    """

    rules: list[CompiledRule]
    literals: LiteralIndex
    database: HyperscanIndex | None = None


class CompiledSet(msgspec.Struct, array_like=True):
    """All groups of a set, as the files keep them.

    Attributes:
        texts: Rules for all texts.
        arguments: Rules for arguments of tools, beside those for all texts.
        foreign: Rules for texts with characters beyond ASCII, beside those for all texts.
        names: Rules for names of called tools.
        unsearched: Rules without a pattern, raised by an evasion or a detector.
        metadata: The rules without their examples, as MessagePack: read only when somebody asks for them.
        engine: Version of the engine that compiled the databases; ``None`` before they are compiled.
    """

    texts: CompiledGroup
    arguments: CompiledGroup
    foreign: CompiledGroup
    names: CompiledGroup
    unsearched: list[CompiledRule]
    metadata: bytes
    engine: str | None = None

    def rules(self) -> dict[str, Rule]:
        """Returns the rules by id."""
        return {rule.id: rule for rule in msgspec.msgpack.decode(self.metadata, type=list[Rule])}


def compile_set(rules: Sequence[Rule], signs: Mapping[str, Sequence[str]]) -> CompiledSet:
    """Compiles rules for the engine in pure Python; takes about a millisecond for each.

    Args:
        rules: The rules.
        signs: The literals that are signs of a disguise, by its name: searched for with the rules for all texts.
    """
    compiled = [one for rule in rules for one in compile_rule(rule)]
    searched = [rule for rule in compiled if rule.regex]

    def group(chosen: Callable[[CompiledRule], bool], signs: Mapping[str, Sequence[str]]) -> CompiledGroup:
        members = [rule for rule in searched if chosen(rule)]
        return CompiledGroup(members, LiteralIndex.of(members, signs))

    return CompiledSet(
        texts=group(lambda rule: rule.of_texts and not rule.beyond_ascii, signs),
        arguments=group(lambda rule: rule.of_arguments, {}),
        foreign=group(lambda rule: rule.of_texts and rule.beyond_ascii, {}),
        names=group(lambda rule: rule.of_names, {}),
        unsearched=[rule for rule in compiled if not rule.regex],
        metadata=msgspec.msgpack.encode(rules),
    )


def compile_databases(compiled: CompiledSet, engine: str) -> None:
    """Compiles the databases of a set: some 15 seconds of processor time for the package's own; other threads run.

    Args:
        compiled: Receives them.
        engine: Version of the engine.

    Raises:
        hyperscan.error: The engine refuses an expression.
    """
    for group in (compiled.texts, compiled.arguments, compiled.foreign):
        group.database = compile_index(group.rules, group.literals.sign_literals())
    compiled.engine = engine


class SearchableGroup:
    """A group of rules and the engine that searches for them.

    Attributes:
        rules: The rules.
        always: Numbers of the rules that match only at the start of a text, or in any text.
        engine: The fastest engine that is ready.
    """

    def __init__(self, group: CompiledGroup) -> None:
        """Takes the group; it is searched in pure Python until its database is in use."""
        self.rules = group.rules
        self.always = group.literals.always
        self._always = [(number, Lead.of(group.literals.leads[number].values())) for number in self.always]
        self._group = group
        self.engine: Engine = PythonEngine(group.rules, group.literals)

    def always_places(self, text: SearchedText, wanted: Sequence[bool]) -> dict[int, Sequence[int]]:
        """Returns the places of the wanted ones among `always`; see `Candidates`."""
        return {number: text.places_of(lead) for number, lead in self._always if wanted[number]}

    def use_database(self) -> None:
        """Takes the compiled database into use.

        Raises:
            hyperscan.error: It is of another version or for another processor.
        """
        group = self._group
        if group.database is not None:
            fallback = PythonEngine(group.rules, group.literals)
            self.engine = HyperscanEngine(group.rules, group.database, group.literals.leads, fallback)
            group.database = None  # the engine has its own copy


class SearchableSet:
    """A compiled set in use.

    Attributes:
        compiled: The set.
        texts: See `CompiledSet`; likewise the other groups.
    """

    def __init__(self, compiled: CompiledSet) -> None:
        """Takes the set; it is searched in pure Python until databases are loaded or compiled."""
        self.compiled = compiled
        self.texts = SearchableGroup(compiled.texts)
        self.arguments = SearchableGroup(compiled.arguments)
        self.foreign = SearchableGroup(compiled.foreign)
        self.names = SearchableGroup(compiled.names)
        self._ready = threading.Event()

    def load_databases(self, engine: str) -> bool:
        """Takes the set's databases into use; returns whether they fit this engine and this processor."""
        if self.compiled.engine != engine:
            return False
        try:
            for group in (self.texts, self.arguments, self.foreign):
                group.use_database()
        except Exception as error:  # noqa: BLE001 -- whatever the engine says of the bytes: they are compiled again
            _log.info("the compiled rules cannot be loaded and are compiled again: %s", error)
            return False
        self._ready.set()
        return True

    def compile_in_background(self, engine: str, keep: Callable[[CompiledSet], None]) -> None:
        """Compiles the databases in a thread and takes them into use.

        Args:
            engine: Version of the engine.
            keep: Receives the set when it is compiled.
        """

        def work() -> None:
            try:
                compile_databases(self.compiled, engine)
                keep(self.compiled)
                self.load_databases(engine)
            except Exception as error:  # noqa: BLE001 -- whatever the engine refuses: the pure-Python engine goes on
                _log.warning("the rules could not be compiled; the pure-Python engine is used: %s", error)
            finally:
                self._ready.set()

        threading.Thread(target=work, name="cylestio-compile-rules", daemon=True).start()

    def wait_compiled(self, timeout: float) -> bool:
        """Waits until the databases are in use or cannot be; returns whether that is so.

        Args:
            timeout: Longest wait, in seconds.
        """
        return self._ready.wait(timeout)
