"""The multi-pattern engine: the patterns of all rules in a few compiled databases.

Each pattern is an expression of its own (see `expressions`) that reports where its matches end. A pattern that would
make the database slow is represented by its clauses of literals. The serialised database fits one version of the engine
and the features of the processor that it was compiled on.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor.rules.literals import MARK
from cylestio_monitor.rules.prefilter import CODE, DIGITS, START, TOKEN
from cylestio_monitor.scan.matching.engine import Candidates
from cylestio_monitor.scan.matching.expressions import MAX_POSITIONS, literal_expression, whole_expression
from cylestio_monitor.scan.matching.searched_text import Lead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule
    from cylestio_monitor.scan.matching.engine import Engine
    from cylestio_monitor.scan.matching.searched_text import SearchedText

_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
_LOCATED_FORMS = {*DIGITS, TOKEN, CODE}
"""The literals that `SearchedText` locates faster than the engine reports their many ends."""

_SMALL = 150  # positions of an expression that any number of others can be compiled with
_MOST_TOGETHER = 10_000  # positions of larger expressions in one database
_MOST_HITS = 50_000
"""Hits of one search, beside one for each 16 bytes; at a further one the search stops and is incomplete."""


class HyperscanIndex(msgspec.Struct, frozen=True, array_like=True):
    """A serialised database and the meaning of its expression ids.

    Attributes:
        databases: The serialised databases; none where the group has no expression.
        rules: For each expression id, the number of the rule, or -1 for the sign of a disguise.
        clauses: For each expression id, the number of the clause within the rule.
        clause_count: For each rule that has several expressions, how many of them a match needs.
        located: The rules whose expression, or whose first clause, reports every end; the others are located by their
            literals.
        signs: For each expression id of a sign, the disguise.
        always: The rules that match only at the start of a text. They are no part of the database.
    """

    databases: list[bytes]
    rules: list[int]
    clauses: list[int]
    clause_count: dict[int, int]
    located: frozenset[int]
    signs: dict[int, str]
    always: list[int]


def engine_version() -> str | None:
    """Returns the version of the engine's wheel; ``None`` where it is not installed."""
    try:
        from hyperscan import _version  # noqa: PLC0415 -- the engine is an optional part of the platform
    except ImportError:
        return None
    return str(_version.__version__)


def compile_index(rules: Sequence[CompiledRule], signs: Mapping[str, Sequence[str]]) -> HyperscanIndex:
    """Compiles the rules of a group; takes about 20 ms for each. Other threads run meanwhile.

    Args:
        rules: The rules; those without a pattern are passed over.
        signs: The literals that are signs of a disguise, by its name.

    Raises:
        hyperscan.error: The engine refuses an expression.
    """
    import hyperscan  # noqa: PLC0415 -- the engine is an optional part of the platform

    once = int(hyperscan.HS_FLAG_SINGLEMATCH)
    common = int(hyperscan.HS_FLAG_DOTALL | hyperscan.HS_FLAG_MULTILINE)
    caseless = int(hyperscan.HS_FLAG_CASELESS)
    index = HyperscanIndex([], [], [], {}, frozenset(), {}, [])
    expressions: list[str] = []
    flags: list[int] = []
    sizes: list[int] = []
    located: set[int] = set()

    def add(text: str, rule: int, clause: int, flag: int, positions: int = 0) -> None:
        expressions.append(text)
        sizes.append(positions)
        flags.append(common | flag)
        index.rules.append(rule)
        index.clauses.append(clause)

    for name, literals in signs.items():
        index.signs[len(expressions)] = name
        add("|".join(f"(?:{literal_expression(literal)})" for literal in literals), -1, 0, once | caseless)
    for number, rule in enumerate(rules):
        if not rule.regex:
            continue
        if rule.clauses[0][0] == START:
            index.always.append(number)
            continue
        whole = whole_expression(rule.regex, rule.flags)
        if whole.positions <= MAX_POSITIONS and whole.text:
            by_literals = bool(rule.groups) or rule.clauses[0][0] in _LOCATED_FORMS
            if not by_literals:
                located.add(number)
            flag = (once if by_literals else 0) | (caseless if whole.caseless else 0)
            add(whole.text, number, 0, flag, whole.positions)
            continue
        clauses = [clause for clause in rule.clauses if clause[0] != MARK]
        if len(clauses) != 1:
            index.clause_count[number] = len(clauses)
        is_located = clauses[0][0] not in _LOCATED_FORMS
        if is_located:
            located.add(number)
        for clause_number, clause in enumerate(clauses):
            text = "|".join(f"(?:{literal_expression(literal)})" for literal in clause)
            add(text, number, clause_number, (0 if is_located and not clause_number else once) | caseless)
    for numbers in _parts(sizes):
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        encoded = [expressions[number].encode() for number in numbers]
        chosen = [flags[number] for number in numbers]
        database.compile(expressions=encoded, ids=numbers, elements=len(encoded), flags=chosen)
        index.databases.append(bytes(hyperscan.dumpb(database)))
    return msgspec.structs.replace(index, located=frozenset(located))


def _parts(sizes: Sequence[int]) -> list[list[int]]:
    """Returns the numbers of the expressions of each database: the small ones together, the large ones in parts.

    The time of a compilation grows faster than the number of large expressions in a database, and so does its size.

    Args:
        sizes: The positions of each expression.
    """
    parts: list[list[int]] = [[number for number, size in enumerate(sizes) if size <= _SMALL]]
    filled = _MOST_TOGETHER
    for number, size in enumerate(sizes):
        if size <= _SMALL:
            continue
        if filled + size > _MOST_TOGETHER:
            parts.append([])
            filled = 0
        parts[-1].append(number)
        filled += size
    return [part for part in parts if part]


class HyperscanEngine:
    """Loaded databases with one scratch space each for each thread.

    A child process after a fork has its own copy of both.
    """

    name = "hyperscan"

    def __init__(
        self,
        rules: Sequence[CompiledRule],
        index: HyperscanIndex,
        leads: Mapping[int, Mapping[int, str]],
        fallback: Engine,
    ) -> None:
        """Loads the databases.

        Args:
            rules: The rules of the group.
            index: The compiled rules.
            leads: For each rule, the literals of its first clause; see `LiteralIndex`.
            fallback: The engine that searches while the scratch space of this thread is in use.

        Raises:
            hyperscan.error: A database is of another version or for another processor.
        """
        import hyperscan  # noqa: PLC0415 -- the engine is an optional part of the platform

        self._rules = rules
        self._index = msgspec.structs.replace(index, databases=[])
        self._literals = leads
        self._leads: dict[int, Lead] = {}  # made when a text has a candidate: most rules never have one
        self._fallback = fallback
        self._error = hyperscan.error
        self._terminated = hyperscan.ScanTerminated
        self._scratch = hyperscan.Scratch
        self._databases = [hyperscan.loadb(one, mode=hyperscan.HS_MODE_BLOCK) for one in index.databases]
        self._local = threading.local()
        self._always = [(number, self._lead(number)) for number in index.always]

    def find(self, text: SearchedText, wanted: Sequence[bool]) -> Candidates:
        """Returns the candidates for a text; see `Engine`."""
        hits = self._search(text)
        if hits is None:
            return self._fallback.find(text, wanted)
        places: dict[int, Sequence[int]] = {}
        for number, lead in self._always:
            if wanted[number]:
                places[number] = text.places_of(lead)
        if not hits:
            return Candidates(places, set())
        signs: set[str] = set()
        for number, ends in self._grouped(hits, wanted, signs):
            if number in self._index.located:
                places[number] = ends if text.is_ascii else _code_points(text.data, ends)
                continue
            rule = self._rules[number]
            found = text.groups(rule.groups) if rule.groups else text.places_of(self._lead(number))
            if found:
                places[number] = found
        return Candidates(places, signs)

    def _lead(self, number: int) -> Lead:
        lead = self._leads.get(number)
        if lead is None:
            lead = self._leads[number] = Lead.of(self._literals[number].values())
        return lead

    def quiet(self, text: SearchedText, wanted: Sequence[bool]) -> bool:
        """Returns whether no rule has a candidate in any part of the text; see `Engine`."""
        hits = self._search(text)
        if hits is None:
            return self._fallback.quiet(text, wanted)
        return not any(rule < 0 or wanted[rule] for rule in (self._index.rules[number] for number, _ in hits))

    def _search(self, text: SearchedText) -> list[tuple[int, int]] | None:
        """Returns expression ids and ends, in bytes; ``None`` where this engine cannot search now."""
        scratches = getattr(self._local, "scratches", None)
        if scratches is None:
            scratches = self._local.scratches = [self._scratch(database) for database in self._databases]
        hits: list[tuple[int, int]] = []
        most = _MOST_HITS + len(text.data) // 16

        def collect(number: int, _start: int, end: int, _flags: int, _context: object) -> bool:
            hits.append((number, end))
            return len(hits) > most

        try:
            for database, scratch in zip(self._databases, scratches, strict=True):
                database.scan(text.data, collect, 0, None, scratch)
        except self._terminated:
            text.is_partial = True
        except self._error:
            # A signal handler that scans while this thread scans finds the scratch space in use.
            return None
        return hits

    def _grouped(
        self, hits: list[tuple[int, int]], wanted: Sequence[bool], signs: set[str]
    ) -> Iterator[tuple[int, list[int]]]:
        """Gives each wanted rule with all its clauses met, ascending, and the ends; fills in the signs."""
        index = self._index
        ends: dict[int, list[int]] = {}
        met: dict[int, set[int]] = {}
        for expression, end in hits:
            number = index.rules[expression]
            if number < 0:
                signs.add(index.signs[expression])
            elif wanted[number]:
                clause = index.clauses[expression]
                if not clause:
                    ends.setdefault(number, []).append(end)
                if number in index.clause_count:
                    met.setdefault(number, set()).add(clause)
        for number in sorted(ends):
            if number not in met or len(met[number]) == index.clause_count[number]:
                yield number, sorted(set(ends[number]))


def _code_points(data: bytes, ends: list[int]) -> list[int]:
    """Returns ends in code points for ends in bytes, both ascending."""
    found: list[int] = []
    before = count = 0
    for end in ends:
        count += len(data[before:end].translate(None, _CONTINUATION_BYTES))
        before = end
        found.append(count)
    return found
