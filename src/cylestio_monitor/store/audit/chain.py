"""The audit trail as it grows: a gap-free, keyed hash chain over monitored spans, findings and events.

Entry n holds the fingerprint of one record and ``mac[n] = MAC(key, mac[n-1] | n | kind | ref | fingerprint)``. Who has
no key can neither change a record nor drop, add or move an entry without breaking a link. The head (the last number and
link, keyed as well) stands in `meta`, so that a tail cannot be cut off either. Where retention removes records, their
run of entries is condensed into one of kind `gap`, keyed too, from which the chain goes on unchanged.
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

Kind: TypeAlias = Literal["span", "finding", "event"]

GAP: Final = "gap"
HEAD: Final = "audit.head"
STORE_ID: Final = "store.id"

TABLES: Final[dict[str, str]] = {"span": "span", "finding": "findings", "event": "event"}
"""The table that each kind of record lives in."""


class Head(NamedTuple):
    """Where the chain ends.

    Attributes:
        seq: The last number; 0 for an empty chain.
        mac: The last link.
    """

    seq: int
    mac: bytes


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
        return TrailAppender(self, connection, last(connection) or Head(0, self.genesis(store_id(connection))))

    def genesis(self, store: str) -> bytes:
        """The link before the first entry: each store has its own."""
        return self._mac(b"genesis|" + store.encode())

    def link(self, before: bytes, seq: int, kind: str, ref: int, leaf: bytes) -> bytes:
        """The link of one entry."""
        return self._mac(b"%b|%d|%b|%d|%b" % (before, seq, kind.encode(), ref, leaf))

    def head_tag(self, head: Head) -> str:
        """Returns the value that `meta` stores for the end of the chain: number, link and a keyed tag over both."""
        tag = self._mac(b"head|%d|%b" % head)
        return f"{head.seq}:{head.mac.hex()}:{tag.hex()}"

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
        self._seq, self._mac = head
        self._entries: list[tuple[int, str, int, bytes, bytes]] = []

    @property
    def next_seq(self) -> int:
        """The number that the next entry will have."""
        return self._seq + 1

    def add(self, kind: Kind, ref: int, leaf: bytes) -> None:
        """One record; `leaf` is its fingerprint of 32 bytes."""
        self._seq += 1
        self._mac = self._chain.link(self._mac, self._seq, kind, ref, leaf)
        self._entries.append((self._seq, kind, ref, leaf, self._mac))

    def finish(self) -> None:
        """Writes the entries and the head."""
        if not self._entries:
            return
        database.insert(self._connection, "INSERT INTO audit (seq, kind, ref, leaf, mac)", self._entries)
        self._connection.execute(
            "REPLACE INTO meta (key, value) VALUES (?, ?)", (HEAD, self._chain.head_tag(Head(self._seq, self._mac)))
        )


def last(connection: sqlite3.Connection) -> Head | None:
    """The last entry of the chain."""
    row = connection.execute("SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else Head(row[0], row[1])


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
