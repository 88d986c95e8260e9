"""Signed checkpoints of the audit trail: statements that can be kept outside the file and checked with a public key.

A checkpoint says: this store's chain had this link at this number, and the entries since the last checkpoint have this
digest. It is signed with Ed25519; the key is derived from the deployment's secret. Each one stands in the store, as a
line of `<database>.checkpoints` beside it, in the log, and as an event, so also as an OTLP log record.
"""

from __future__ import annotations

import logging
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.audit.chain import Chain, store_id
from cylestio_monitor.store.sqlite import files, keys

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_logger = logging.getLogger("cylestio_monitor.audit")

EVENT: Final = "audit_checkpoint"
FORMAT: Final = 1
UNREADABLE: Final = (msgspec.MsgspecError, TypeError, ValueError, RecursionError)
"""The errors of JSON that somebody else wrote."""

_BEGIN: Final = b'{"format":'
"""The first bytes of the side file: those of `Checkpoint.line`."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One signed statement.

    Attributes:
        format: The version of this form.
        store: The store's own name.
        first: The first entry that the digest covers.
        seq: The last one.
        mac: The chain's link there, hexadecimal.
        digest: SHA-256 over the entries from `first` to `seq`, hexadecimal; see `entry_bytes`.
        previous: SHA-256 of the checkpoint before, hexadecimal; empty for the first.
        time: When it was signed, ISO 8601, UTC.
        public_key: The key that verifies the signature, 32 bytes, hexadecimal.
        signature: Over the JSON of all the other fields, in this order; hexadecimal.
    """

    format: int
    store: str
    first: int
    seq: int
    mac: str
    digest: str
    previous: str
    time: str
    public_key: str
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """Returns the bytes that the signature covers."""
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        del fields["signature"]
        return msgspec.json.encode(fields)

    def line(self) -> bytes:
        """The checkpoint as one line of JSON."""
        return msgspec.json.encode(self) + b"\n"


class Signer:
    """Signs checkpoints of one deployment."""

    def __init__(self, secret: bytes) -> None:
        """Derives the key pair.

        Args:
            secret: The deployment's secret.

        Raises:
            StoreError: The package `cryptography` is not installed.
        """
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 -- 60 ms
        except ImportError as error:
            raise StoreError(f"signed checkpoints need the package cryptography: {keys.INSTALL}") from error
        self._chain = Chain(secret)
        self._key = Ed25519PrivateKey.from_private_bytes(keys.derive(secret, "audit signing"))
        self.public_key = self._key.public_key().public_bytes_raw().hex()

    def sign(self, data: bytes) -> str:
        """Returns the signature of any bytes, hexadecimal."""
        signature: bytes = self._key.sign(data)
        return signature.hex()

    def make(self, connection: sqlite3.Connection) -> Checkpoint | None:
        """Signs what came since the last checkpoint, in the caller's transaction; `None` where nothing did."""
        trail, before = self._chain.begin(connection), newest(connection)
        head = trail.head
        if not head.seq or (before is not None and head.seq <= before.seq):
            return None
        trail.finish(sealed=head.seq)
        first = 1 if before is None else before.seq + 1
        covered = sha256()
        for row in connection.execute("SELECT seq, kind, ref, leaf FROM audit WHERE seq >= ? ORDER BY seq", (first,)):
            covered.update(entry_bytes(*row))
        draft = Checkpoint(
            format=FORMAT,
            store=store_id(connection),
            first=first,
            seq=head.seq,
            mac=head.mac.hex(),
            digest=covered.hexdigest(),
            previous="" if before is None else sha256(before.line()).hexdigest(),
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            public_key=self.public_key,
        )
        made = msgspec.structs.replace(draft, signature=self.sign(draft.signed_bytes()))
        connection.execute("INSERT INTO checkpoint (seq, body) VALUES (?, ?)", (made.seq, made.line().decode()))
        return made


def entry_bytes(seq: int, kind: object, ref: object, leaf: object) -> bytes:
    """An entry as a checkpoint's digest takes it: ``seq|kind|ref|`` and the 32 bytes of the fingerprint.

    A fingerprint of another type, which only somebody else than the store writes, is taken as text.
    """
    return f"{seq}|{kind}|{ref}|".encode("utf-8", "surrogatepass") + (
        leaf if isinstance(leaf, bytes) else str(leaf).encode("utf-8", "surrogatepass")
    )


def is_genuine(checkpoint: Checkpoint, public_key: str) -> bool:
    """Returns whether the holder of the key signed exactly this checkpoint."""
    return checkpoint.public_key == public_key and is_signed(
        checkpoint.signed_bytes(), checkpoint.signature, public_key
    )


def is_signed(data: bytes, signature: str, public_key: str) -> bool:
    """Returns whether the holder of the key signed these bytes.

    Args:
        data: The bytes.
        signature: Hexadecimal.
        public_key: 64 hexadecimal digits.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 -- only where something is verified
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 -- as above

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def newest(connection: sqlite3.Connection) -> Checkpoint | None:
    """The last checkpoint that the store holds; one that was made unreadable does not keep the next from being made."""
    for (body,) in connection.execute("SELECT body FROM checkpoint ORDER BY seq DESC"):
        try:
            return msgspec.json.decode(body, type=Checkpoint)
        except UNREADABLE:
            continue
    return None


def held(connection: sqlite3.Connection) -> Iterator[tuple[int, Checkpoint | None]]:
    """The checkpoints of the store by their number; `None` for a row that is none, or one of another number."""
    for seq, body in connection.execute("SELECT seq, body FROM checkpoint ORDER BY seq"):
        try:
            found = msgspec.json.decode(body, type=Checkpoint)
        except UNREADABLE:
            found = None
        yield seq, found if found is not None and found.seq == seq else None


def unsealed(connection: sqlite3.Connection) -> int:
    """Returns the number of entries since the last checkpoint."""
    query = "SELECT (SELECT coalesce(max(seq), 0) FROM audit) - (SELECT coalesce(max(seq), 0) FROM checkpoint)"
    return int(connection.execute(query).fetchone()[0])


def side_file(database: Path) -> Path:
    """Returns the path of the file beside the database that holds the checkpoints."""
    return database.with_name(f"{database.name}.checkpoints")


def publish(database: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint to the side file and to the log, where what replaces the database does not reach it."""
    files.append_private(side_file(database), checkpoint.line(), _BEGIN)
    _logger.info("audit checkpoint %s", checkpoint.line().decode().strip())


def read(lines: Iterable[str], source: str) -> tuple[list[Checkpoint], list[str]]:
    """Reads checkpoints out of lines of JSON; a line of a log may have other text in front.

    Returns:
        The checkpoints, and the place of each line that should be a checkpoint and is none.
    """
    found, wrong = [], []
    for number, line in enumerate(lines, 1):
        _, brace, rest = line.partition("{")
        if brace:
            try:
                found.append(msgspec.json.decode(brace + rest, type=Checkpoint))
            except UNREADABLE:
                wrong.append(f"{source}:{number}")
    return found, wrong
