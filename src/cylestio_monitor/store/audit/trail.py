"""Operations on the audit trail of a database file: verify, seal and export."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.audit import checkpoint as checkpoints
from cylestio_monitor.store.audit import evidence
from cylestio_monitor.store.audit import verify as verifier
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.read.limits import ReadLimits, explained
from cylestio_monitor.store.sqlite import database, files, keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cylestio_monitor import config
    from cylestio_monitor.store.audit.checkpoint import Checkpoint
    from cylestio_monitor.store.audit.verify import TrailReport


_SECONDS: Final = 3600.0
_TEXT_BYTES: Final = 1 << 40
"""The limits of a check that reads the whole store."""


def verify(path: Path, kept: Path | None = None) -> TrailReport:
    """Checks the trail of a store against its records and every checkpoint at hand. Creates and changes nothing.

    Args:
        path: The database.
        kept: A file with checkpoints that were kept elsewhere: lines of JSON, or log lines with them.

    Raises:
        StoreError: The store or the file cannot be read, or `cryptography` is not installed.
    """
    outside: list[Checkpoint] = []
    wrong: list[str] = []
    side = checkpoints.side_file(path)
    for file, read in ((side, files.read_private), (kept, files.read_regular)):
        if file is None or (file is side and not os.path.lexists(file)):
            continue
        try:
            lines = read(file).decode("utf-8", "replace").splitlines()
        except OSError as error:
            raise StoreError(f"{file}: {error.strerror}") from error
        found, unreadable = checkpoints.read(lines, str(file))
        outside += found
        wrong += unreadable
    secret: bytes | None = None
    with suppress(keys.KeyLostError):
        secret = keys.load(path)[0]
    with explained(path), _reading(path) as connection:
        report = verifier.verify(connection, secret, outside)
    report.problems += [verifier.Problem("forged", 0, f"{place} is no checkpoint") for place in wrong]
    return report


def seal(path: Path, settings: config.StoreSettings) -> Checkpoint | None:
    """Signs what came since the last checkpoint; `None` where nothing did.

    Raises:
        StoreError: The store cannot be written, or `cryptography` is not installed.
    """
    signer = checkpoints.Signer(keys.load(path)[0])
    with database.writable(path, settings) as connection, database.transaction(connection):
        made = signer.make(connection)
    if made is not None:
        checkpoints.publish(path, made)
    return made


def export(path: Path, settings: config.StoreSettings, target: Path) -> int:
    """Seals the trail and writes evidence that a third party can verify; returns the number of lines.

    Raises:
        StoreError: The store cannot be read, or the file cannot be written.
    """
    seal(path, settings)
    lines = 0
    try:
        target.unlink(missing_ok=True)
        with _reading(path) as connection, os.fdopen(files.create(target), "wb") as file:
            connection.execute("BEGIN")
            for line in evidence.export(connection):
                file.write(line)
                lines += 1
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    return lines


def verify_evidence(file: Path, public_key: str) -> TrailReport:
    """Checks an exported file with the public key alone.

    Raises:
        StoreError: The file cannot be read, or is no evidence.
    """
    try:
        with os.fdopen(files.open_regular(file), "rb") as lines:
            return evidence.verify(lines, public_key)
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}") from error


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode whose rows are tuples."""
    with queries.connect(path, ReadLimits(_SECONDS, _TEXT_BYTES)) as connection:
        connection.row_factory = None
        connection.isolation_level = None
        yield connection
