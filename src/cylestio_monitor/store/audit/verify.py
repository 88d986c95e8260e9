"""Checks the audit trail: what was edited, deleted, inserted, moved, cut off or replaced, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from cylestio_monitor.store.audit import checkpoint as checkpoints
from cylestio_monitor.store.audit.chain import (
    BREAK,
    BREAKS,
    GAP,
    TABLES,
    Chain,
    is_entry,
    last,
    loss_fingerprint,
    newest_sealed,
    noted_head,
    parse_head,
)
from cylestio_monitor.store.sqlite import schema
from cylestio_monitor.store.sqlite.rows import (
    EVENT_COLUMNS,
    FINDING_COLUMNS,
    SPAN_COLUMNS,
    covered_values,
    digest,
    seal,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from cylestio_monitor.store.audit.checkpoint import Checkpoint

What: TypeAlias = Literal["edited", "deleted", "inserted", "reordered", "truncated", "replaced", "forged", "key lost"]


def _of(table: str, columns: str) -> str:
    """Returns the columns of a table whose rows belong to a run; a row of another trace's run has no trace id."""
    names = ", ".join(f"{table}.{name}" for name in columns.split(", ")[1:])
    return f"CASE WHEN run.trace_id = {table}.trace_id THEN {table}.trace_id END, {names}"


_RECORD: Final = {
    "span": (
        f"SELECT span.seq, source.digest, source.body, common.digest, common.body, {_of('span', SPAN_COLUMNS)} "  # noqa: S608 -- constants
        "FROM span LEFT JOIN run ON run.id = span.run "
        "LEFT JOIN shared AS source ON source.id = span.source LEFT JOIN shared AS common ON common.id = span.common "
        "WHERE span.id = ?"
    ),
    "finding": (
        f"SELECT findings.seq, NULL, NULL, NULL, NULL, {_of('findings', FINDING_COLUMNS)} FROM findings "  # noqa: S608 -- constants
        "LEFT JOIN run ON run.id = findings.run WHERE findings.id = ?"
    ),
    "event": f"SELECT seq, NULL, NULL, NULL, NULL, {EVENT_COLUMNS} FROM event WHERE id = ?",  # noqa: S608 -- constants
}
_COVERED: Final = {
    "span": "(event_type IS NOT NULL OR operation IS NOT NULL OR action IS NOT NULL OR severity_number IS NOT 0 "
    "OR alert IS NOT 'none' OR record.seq IS NOT NULL)",
    "finding": "1",
    "event": "1",
}
"""The rows that must be in the trail: of the spans those that a program without monitoring would not have."""

_BROKEN: Final[dict[bytes, What]] = {
    b"head": "truncated",
    b"counters": "edited",
    b"checkpoints": "deleted",
    b"key": "key lost",
}


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        what: The kind.
        seq: The entry of the audit trail it is at; 0 where it has none.
        detail: One sentence.
    """

    what: What
    seq: int
    detail: str


@dataclass(slots=True)
class TrailReport:
    """The result of a check of the audit trail.

    Attributes:
        problems: In the order of the trail; empty for a sound one.
        entries: Entries that were checked.
        removed: Entries that retention condensed.
        withheld: Entries whose record is not in the evidence; their fingerprints are.
        last_seq: The last number.
        sealed_seq: The last number that a genuine checkpoint covers.
        checkpoints: Genuine checkpoints that were compared.
        public_key: Which key verifies them.
    """

    problems: list[Problem] = field(default_factory=list)
    entries: int = 0
    removed: int = 0
    withheld: int = 0
    last_seq: int = 0
    sealed_seq: int = 0
    checkpoints: int = 0
    public_key: str = ""

    @property
    def unsealed(self) -> int:
        """Entries at the end that no checkpoint covers: only the keyed head guards them."""
        return self.last_seq - self.sealed_seq

    @property
    def sound(self) -> bool:
        """True if the check found no problem."""
        return not self.problems


def verify(connection: sqlite3.Connection, secret: bytes | None, outside: Iterable[Checkpoint] = ()) -> TrailReport:
    """Checks the whole trail against the records, the chain, its head and every checkpoint, and the layout of the file.

    Args:
        connection: To the store; read in one transaction.
        secret: The deployment's secret; `None` where it is lost: then only what needs no key is checked.
        outside: Checkpoints that were kept elsewhere.

    Raises:
        StoreError: The package `cryptography` is not installed.
        sqlite3.Error: The file cannot be read.
    """
    connection.execute("BEGIN")
    try:
        report = TrailReport()
        report.problems += [Problem(what, 0, detail) for what, detail in schema.changes(connection)]
        if any(one.what != "inserted" and one.detail.startswith("table ") for one in report.problems):
            report.problems.append(Problem("replaced", 0, "a table is another one: records and trail are not checked"))
            return report
        store = connection.execute("SELECT value FROM meta WHERE key = 'store.id'").fetchone()
        name = "" if store is None else str(store[0])
        chain = None if secret is None else Chain(secret)
        if chain is None:
            report.problems.append(
                Problem("key lost", 0, "the key is missing: neither links nor checkpoints are checked")
            )
        elif _is_foreign(connection, chain, name):
            detail = "the trail was written with another key: neither links nor checkpoints are checked"
            report.problems.append(Problem("key lost", 0, detail))
            chain = None
        walk = _ChainCheck(connection, chain, report)
        walk.run(None if chain is None else chain.genesis(name))
        report.problems += _inserted(connection, walk.moved)
        held = _held(connection, report)
        if chain is not None:
            report.problems += _head(connection, chain)
        if secret is not None:
            report.public_key = checkpoints.Signer(secret).public_key
            for one in {item.signature: item for item in (*held, *outside)}.values():
                is_ours = checkpoints.is_genuine(one, report.public_key)
                if is_ours or (chain is not None and one.seq > walk.foreign_until):
                    _compare(connection, report, one, name, is_genuine=is_ours)
    finally:
        connection.execute("ROLLBACK")
    report.problems.sort(key=lambda problem: problem.seq)
    return report


def _is_foreign(connection: sqlite3.Connection, chain: Chain, store: str) -> bool:
    """Returns whether another key wrote all of the trail: neither head nor first nor last link is of this one."""
    noted = noted_head(connection)
    head = None if noted is None else parse_head(noted)
    if head is None or chain.head_tag(head) == noted or not chain.is_of_another_key(connection):
        return False
    seq, kind, ref, leaf, mac = connection.execute(
        "SELECT seq, kind, ref, leaf, mac FROM audit ORDER BY seq LIMIT 1"
    ).fetchone()
    if not is_entry(kind, ref, leaf, mac):
        return False
    if kind == GAP:
        return bool(chain.gap_tag(ref, seq, mac) != leaf)
    return bool(chain.link(chain.genesis(store), seq, kind, ref, leaf) != mac)


class _ChainCheck:
    """One walk along the chain.

    Attributes:
        moved: Kind and id of the records whose entry stands elsewhere.
        foreign_until: The last entry that was written with another key.
    """

    def __init__(self, connection: sqlite3.Connection, chain: Chain | None, report: TrailReport) -> None:
        self._connection = connection
        self._chain = chain
        self._report = report
        self.moved: set[tuple[str, int]] = set()
        self.foreign_until = self._last_of_another_key()

    def run(self, before: bytes | None) -> None:
        expected = 1
        for seq, kind, ref, leaf, mac in self._connection.execute(
            "SELECT seq, kind, ref, leaf, mac FROM audit ORDER BY seq"
        ):
            if not is_entry(kind, ref, leaf, mac):
                self._find("edited", seq, "the entry is no entry any more")
                before, expected = None, seq + 1
                continue
            first = ref if kind == GAP else seq
            if first > expected:
                self._find("deleted", expected, f"entries {expected} to {first - 1} are missing")
                before = None  # the link over the hole cannot be checked; the next ones can
            chain = self._chain if seq > self.foreign_until else None
            linked = kind == GAP or before is None or chain is None or chain.link(before, seq, kind, ref, leaf) == mac
            if kind == GAP:
                self._report.removed += seq - first + 1
                if chain is not None and chain.gap_tag(first, seq, mac) != leaf:
                    self._find("forged", seq, f"entries {first} to {seq} were taken out without the key")
            elif kind == BREAK:
                self._break(seq, leaf, linked=linked)
            else:
                self._entry(seq, kind, ref, leaf, linked=linked)
            if not linked or (kind, ref) in self.moved:
                before, expected = None, seq + 1  # found here; the next entry is not at fault for it
                continue
            before, expected = mac, seq + 1
        self._report.last_seq = expected - 1

    def _last_of_another_key(self) -> int:
        """Returns the number before the last entry that says, with this key, that another key was used before."""
        row = self._connection.execute(
            "SELECT seq, ref, mac, "
            "(SELECT mac FROM audit AS earlier WHERE earlier.seq < audit.seq ORDER BY earlier.seq DESC LIMIT 1) "
            "FROM audit WHERE kind = ? AND leaf = ? ORDER BY seq DESC LIMIT 1",
            (BREAK, b"key"),
        ).fetchone()
        if row is None or self._chain is None:
            return 0
        seq, ref, mac, before = row
        if not is_entry(BREAK, ref, before, mac) or self._chain.link(before, seq, BREAK, ref, b"key") != mac:
            return 0
        return int(seq) - 1

    def _break(self, seq: int, leaf: bytes, *, linked: bool) -> None:
        if linked and leaf in BREAKS:
            self._find(_BROKEN[leaf], seq, BREAKS[leaf])
        else:
            self._find("forged", seq, "the entry was written without the key")

    def _entry(self, seq: int, kind: str, ref: int, leaf: bytes, *, linked: bool) -> None:
        self._report.entries += 1
        row = self._connection.execute(_RECORD[kind], (ref,)).fetchone() if kind in _RECORD else None
        if row is None:
            self._find("deleted", seq, f"{kind} {ref} is gone")
            return
        if row[0] != seq:
            self._find("reordered", seq, f"{kind} {ref} stood at {row[0]}, the trail has it at {seq}")
            self.moved.add((kind, ref))
        elif _leaf(row) != leaf:
            self._find("edited", seq, f"{kind} {ref} is not what it was")
        elif not linked:
            self._find("edited", seq, f"the entry of {kind} {ref} was rewritten without the key")

    def _find(self, what: What, seq: int, detail: str) -> None:
        self._report.problems.append(Problem(what, seq, detail))


def record_values(row: Any) -> list[Any]:
    """Returns the values that the fingerprint of a record covers, from a row of `_RECORD`."""
    values: list[Any]
    _, source_digest, source_body, common_digest, common_body, *values = row
    if source_digest is None:
        return covered_values(values)
    shared = []
    for stored, body in ((source_digest, source_body), (common_digest, common_body)):
        # A changed body counts as a changed record.
        shared.append(stored if type(body) is str and digest(body.encode()) == stored else b"")
    return [*values, *shared]


def records(connection: sqlite3.Connection) -> Iterator[tuple[int, str, int, bytes, list[Any] | None]]:
    """The trail with its records: number, kind, id, fingerprint and the values it is over."""
    for seq, kind, ref, leaf in connection.execute("SELECT seq, kind, ref, leaf FROM audit ORDER BY seq"):
        row = connection.execute(_RECORD[kind], (ref,)).fetchone() if kind in _RECORD else None
        yield seq, kind, ref, leaf, None if row is None else record_values(row)


def _leaf(row: Any) -> bytes:
    return seal(record_values(row))[1]


def _inserted(connection: sqlite3.Connection, moved: set[tuple[str, int]]) -> list[Problem]:
    """Records that the trail does not know; those that it has elsewhere are known."""
    problems = []
    for kind, table in TABLES.items():
        query = (
            f"SELECT record.id, record.seq FROM {table} AS record "  # noqa: S608 -- constants
            "LEFT JOIN audit ON audit.seq = record.seq "
            f"WHERE {_COVERED[kind]} AND (audit.seq IS NULL OR audit.kind <> ? OR audit.ref <> record.id)"
        )
        for number, seq in connection.execute(query, (kind,)):
            if (kind, number) not in moved:
                at = seq if type(seq) is int else 0
                problems.append(Problem("inserted", at, f"{kind} {number} is not in the trail"))
    return problems


def _head(connection: sqlite3.Connection, chain: Chain) -> list[Problem]:
    """Compares the end of the chain, the checkpoints and the counters with what the last writer noted of them."""
    end, noted = last(connection), noted_head(connection)
    if noted is None:
        return [] if end is None else [Problem("truncated", end.seq, "the head of the trail is gone")]
    head = parse_head(noted)
    if head is None:
        return [Problem("forged", 0, "the head of the trail is no head")]
    seq = head.seq
    if chain.head_tag(head) != noted:
        return [Problem("forged", seq, "the head of the trail was not written with the key")]
    problems = []
    reached = 0 if end is None else end.seq
    if reached < seq:
        problems.append(Problem("truncated", seq, f"entries {reached + 1} to {seq} at the end are missing"))
    if reached > seq:
        detail = f"entries {seq + 1} to {reached} at the end were added without the key"
        problems.append(Problem("inserted", reached, detail))
    if newest_sealed(connection) < head.sealed:
        problems.append(Problem("deleted", head.sealed, f"the checkpoint at {head.sealed} is missing in the store"))
    if head.counters and head.counters != loss_fingerprint(connection):
        problems.append(Problem("edited", 0, BREAKS[b"counters"]))
    return problems


def _held(connection: sqlite3.Connection, report: TrailReport) -> list[Checkpoint]:
    """The checkpoints that the store holds, each of which names the one before it."""
    found: list[Checkpoint] = []
    for seq, one in checkpoints.held(connection):
        at = seq if type(seq) is int else 0
        if one is None:
            report.problems.append(Problem("forged", at, "what stands for a checkpoint in the store is none"))
            continue
        if one.previous != (sha256(found[-1].line()).hexdigest() if found else ""):
            report.problems.append(Problem("deleted", at, "the checkpoint before this one is missing in the store"))
        found.append(one)
    return found


def _compare(
    connection: sqlite3.Connection, report: TrailReport, one: Checkpoint, store: str, *, is_genuine: bool
) -> None:
    if not is_genuine:
        report.problems.append(Problem("forged", one.seq, "a checkpoint was not signed with this deployment's key"))
        return
    report.checkpoints += 1
    if one.store != store:
        report.problems.append(
            Problem("replaced", one.seq, f"a checkpoint of {one.time} is of another file than the one that lies here")
        )
        return
    row = connection.execute("SELECT mac FROM audit WHERE seq = ?", (one.seq,)).fetchone()
    if row is not None and (type(row[0]) is not bytes or row[0].hex() != one.mac):
        detail = f"the trail up to {one.seq} is not the one that was sealed at {one.time}"
        report.problems.append(Problem("replaced", one.seq, detail))
    elif row is None and one.seq > report.last_seq:
        detail = f"entries {report.last_seq + 1} to {one.seq}, sealed at {one.time}, are missing"
        report.problems.append(Problem("truncated", one.seq, detail))
    else:
        report.sealed_seq = max(report.sealed_seq, one.seq)
