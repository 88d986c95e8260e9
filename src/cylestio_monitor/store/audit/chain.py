"""The audit trail as it grows: a gap-free, keyed hash chain over monitored spans, findings and events.

Entry n holds the fingerprint of one record and ``mac[n] = MAC(key, mac[n-1] | n | kind | ref | fingerprint)``. Who has
no key can neither change a record nor drop, add or move an entry without breaking a link. The head stands in `meta` and
is keyed as well: the last number and link, so that a tail cannot be cut off, the number of the last checkpoint, and a
fingerprint of the counters of lost rows. Where retention removes records, their run of entries is condensed into one of
kind `gap`, keyed too, from which the chain goes on unchanged.

A writer that finds another end of the chain than the last one left goes on from the end that the head names. Where the
head itself was changed, an entry of kind `break` says so, because the next head would hide it.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from cylestio_monitor.store.sqlite import database
from cylestio_monitor.store.sqlite.keys import derive

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

Kind: TypeAlias = Literal["span", "finding", "event", "break"]

GAP: Final = "gap"
BREAK: Final = "break"
"""The kind of an entry for what a writer found at the end of the chain: one of `BREAKS` in place of a fingerprint."""

BREAKS: Final[dict[bytes, str]] = {
    b"head": "the head of the trail was removed or changed: entries before may have been cut off",
    b"counters": "the counters of lost rows were changed",
    b"checkpoints": "the last checkpoint was removed from the store",
    b"key": "the entries before were written with another key",
}
HEAD: Final = "audit.head"
STORE_ID: Final = "store.id"
_LOSSES: Final = ("count.dropped.", "count.removed.", "count.salvaged.")

TABLES: Final[dict[str, str]] = {"span": "span", "finding": "findings", "event": "event"}
"""The table that each kind of record lives in."""


class Head(NamedTuple):
    """Where the chain ends.

    Attributes:
        seq: The last number; 0 for an empty chain.
        mac: The last link.
        sealed: The number of the last checkpoint; 0 where there is none.
        counters: Fingerprint of the counters of lost rows, hexadecimal.
    """

    seq: int
    mac: bytes
    sealed: int = 0
    counters: str = ""


class Chain:
    """Appends to the chain inside the caller's transaction, which must hold the write lock."""

    def __init__(self, secret: bytes) -> None:
        """Derives the chain's key.

        Args:
            secret: The deployment's secret.
        """
        self._keyed = blake2b(digest_size=32, key=derive(secret, "audit chain"))

    def begin(self, connection: sqlite3.Connection) -> TrailAppender:
        """Entries for one transaction, from where the chain ends now."""
        head, found = self._end(connection)
        appender = TrailAppender(self, connection, head)
        for damage in found:
            appender.add(BREAK, head.seq, damage)
        return appender

    def _end(self, connection: sqlite3.Connection) -> tuple[Head, list[bytes]]:
        """Returns where the chain goes on, and which of `BREAKS` were found there."""
        end, noted = last(connection), noted_head(connection)
        sealed = newest_sealed(connection)
        counters = loss_fingerprint(connection)
        if noted is None and end is None:
            return Head(0, self.genesis(store_id(connection)), sealed, counters), []
        head = None if noted is None else parse_head(noted)
        if head is None or self.head_tag(head) != noted:
            found = end or Head(0, self.genesis(store_id(connection)))
            damage = b"key" if head is not None and self.is_of_another_key(connection) else b"head"
            return Head(found.seq, found.mac, sealed, counters), [damage]
        damages = []
        if head.counters and head.counters != counters:
            damages.append(b"counters")
        if sealed < head.sealed:
            damages.append(b"checkpoints")
            head = head._replace(sealed=sealed)
        if end is not None and end.seq > head.seq:
            head = head._replace(seq=end.seq, mac=end.mac)  # their links are wrong, which `verify` finds
        return head, damages

    def is_of_another_key(self, connection: sqlite3.Connection) -> bool:
        """Returns whether the last two entries do not link with this key; a head alone may be forged."""
        rows = connection.execute("SELECT seq, kind, ref, leaf, mac FROM audit ORDER BY seq DESC LIMIT 2").fetchall()
        if not rows or not all(is_entry(*row[1:]) for row in rows):
            return False
        seq, kind, ref, leaf, mac = rows[0]
        if kind == GAP:
            return bool(self.gap_tag(ref, seq, mac) != leaf)
        before = rows[1][4] if len(rows) > 1 else self.genesis(store_id(connection))
        return bool(self.link(before, seq, kind, ref, leaf) != mac)

    def genesis(self, store: str) -> bytes:
        """The link before the first entry: each store has its own."""
        return self._mac(b"genesis|" + store.encode())

    def link(self, before: bytes, seq: int, kind: str, ref: int, leaf: bytes) -> bytes:
        """The link of one entry."""
        return self._mac(b"%b|%d|%b|%d|%b" % (before, seq, kind.encode(), ref, leaf))

    def head_tag(self, head: Head) -> str:
        """Returns the value that `meta` stores for the end of the chain: the head and a keyed tag over it.

        A head without a fingerprint of the counters has the form of earlier versions.
        """
        if not head.counters:
            tag = self._mac(b"head|%d|%b" % (head.seq, head.mac))
            return f"{head.seq}:{head.mac.hex()}:{tag.hex()}"
        tag = self._mac(b"head|%d|%b|%d|%b" % (head.seq, head.mac, head.sealed, head.counters.encode()))
        return f"{head.seq}:{head.mac.hex()}:{head.sealed}:{head.counters}:{tag.hex()}"

    def gap_tag(self, first: int, end: int, mac: bytes) -> bytes:
        """The fingerprint of a condensed run: only who has the key can condense."""
        return self._mac(b"gap|%d|%d|%b" % (first, end, mac))

    def _mac(self, message: bytes) -> bytes:
        """Keyed BLAKE2b (RFC 7693), 32 bytes: a MAC like HMAC-SHA256, at a fifth of its time for a short message."""
        state = self._keyed.copy()
        state.update(message)
        return state.digest()

    def condense(self, connection: sqlite3.Connection, removed: Sequence[int]) -> None:
        """Replaces the entries of removed records by one entry a run, joined with the runs beside it.

        Args:
            connection: With an open transaction.
            removed: Their numbers.
        """
        for first, end in _runs(removed):
            before = connection.execute("SELECT ref FROM audit WHERE seq = ? AND kind = ?", (first - 1, GAP)).fetchone()
            after = connection.execute(
                "SELECT seq, kind, ref FROM audit WHERE seq > ? ORDER BY seq LIMIT 1", (end,)
            ).fetchone()
            start = first if before is None else before[0]
            stop = after[0] if after is not None and after[1] == GAP and after[2] == end + 1 else end
            row = connection.execute("SELECT mac FROM audit WHERE seq = ?", (stop,)).fetchone()
            if row is None:  # the entry is missing already: that is for `verify` to find, not for us to cover up
                continue
            connection.execute("DELETE FROM audit WHERE seq >= ? AND seq < ?", (start, stop))
            connection.execute(
                "UPDATE audit SET kind = ?, ref = ?, leaf = ? WHERE seq = ?",
                (GAP, start, self.gap_tag(start, stop, row[0]), stop),
            )


class TrailAppender:
    """The entries of one transaction."""

    def __init__(self, chain: Chain, connection: sqlite3.Connection, head: Head) -> None:
        """Use `Chain.begin`."""
        self._chain = chain
        self._connection = connection
        self._begun = head
        self._seq, self._mac = head.seq, head.mac
        self._entries: list[tuple[int, str, int, bytes, bytes]] = []

    @property
    def next_seq(self) -> int:
        """The number that the next entry will have."""
        return self._seq + 1

    @property
    def head(self) -> Head:
        """Where the chain ends with the entries so far."""
        return self._begun._replace(seq=self._seq, mac=self._mac)

    def add(self, kind: Kind, ref: int, leaf: bytes) -> None:
        """One record; `leaf` is its fingerprint of 32 bytes."""
        self._seq += 1
        self._mac = self._chain.link(self._mac, self._seq, kind, ref, leaf)
        self._entries.append((self._seq, kind, ref, leaf, self._mac))

    def finish(self, sealed: int | None = None) -> None:
        """Writes the entries and the head.

        Args:
            sealed: The number of a checkpoint that was made in this transaction.
        """
        head = self.head._replace(counters=loss_fingerprint(self._connection))
        if sealed is not None:
            head = head._replace(sealed=sealed)
        if head == self._begun and not self._entries:
            return
        if self._entries:
            database.insert(self._connection, "INSERT INTO audit (seq, kind, ref, leaf, mac)", self._entries)
        self._connection.execute("REPLACE INTO meta (key, value) VALUES (?, ?)", (HEAD, self._chain.head_tag(head)))


def last(connection: sqlite3.Connection) -> Head | None:
    """The last entry of the chain; one whose link was made something else than bytes has an empty link."""
    row = connection.execute("SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else Head(row[0], row[1] if type(row[1]) is bytes else b"")


def newest_sealed(connection: sqlite3.Connection) -> int:
    """The number of the last checkpoint in the store; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM checkpoint").fetchone()[0])


def noted_head(connection: sqlite3.Connection) -> str | None:
    """Returns the note of the last writer about the end of the chain."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (HEAD,)).fetchone()
    return None if row is None else str(row[0])


def parse_head(noted: str) -> Head | None:
    """Returns the head without a check of its tag; `None` for what is no head."""
    try:
        seq, mac, *more, _ = noted.split(":")
        return Head(int(seq), bytes.fromhex(mac), *((int(more[0]), more[1]) if more else ()))
    except (ValueError, IndexError):
        return None


def is_entry(kind: object, ref: object, leaf: object, mac: object) -> bool:
    """Returns whether the values have the types of an entry: SQLite lets any column hold any type."""
    return type(kind) is str and type(ref) is int and type(leaf) is bytes and type(mac) is bytes


def loss_fingerprint(connection: sqlite3.Connection) -> str:
    """Returns a fingerprint of the counters of rows that were dropped, removed or salvaged."""
    rows = connection.execute("SELECT key, value FROM meta WHERE key GLOB 'count.*' ORDER BY key")
    lost = [(name, value) for name, value in rows if name.startswith(_LOSSES)]
    return blake2b(repr(lost).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def store_id(connection: sqlite3.Connection) -> str:
    """The store's own name, made with its first transaction."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (STORE_ID,)).fetchone()
    if row is not None:
        return str(row[0])
    made = secrets.token_hex(16)
    connection.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (STORE_ID, made))
    return made


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
