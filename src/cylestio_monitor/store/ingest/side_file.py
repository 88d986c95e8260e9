"""A private file beside the database for rows that the database cannot take now.

A database that another process keeps locked takes nothing for as long as the lock lasts. What must be durable by then,
and what a process has not written when it ends, is appended to `<database>.pending-<random>` and synced. The process
itself, or any later one, inserts the rows once the lock is gone and removes the file.

The process that writes the file holds a lock (`flock`) on it. How far a file has been inserted stands in `meta`,
written in the transaction that inserts the rows, so that no row is inserted twice.
"""

from __future__ import annotations

import os
import secrets
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.ingest import batch as batches
from cylestio_monitor.store.sqlite import files

try:
    import fcntl
except ImportError:  # not on Windows, where a file that is open cannot be removed either
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cylestio_monitor.store.ingest.batch import Batch

HEADER: Final = b"cylestio-monitor pending rows 1\n"
_FRAME: Final = 8
_LARGEST: Final = 256_000_000
_MOST_BYTES: Final = 512_000_000
"""Size from which a process appends nothing more."""


class SideFile:
    """The side file of this process; created with the first append."""

    def __init__(self, database: Path) -> None:
        """Creates nothing yet.

        Args:
            database: The database.
        """
        self._database = database
        self._descriptor = -1
        self._size = 0
        self.path: Path | None = None

    def append(self, batch: Batch, *, sync: bool = True) -> None:
        """Appends a batch.

        Args:
            batch: The rows.
            sync: Whether to return only when they are on the disk; without it they survive a kill, not a power cut.

        Raises:
            OSError: It cannot be written.
        """
        if self._descriptor < 0:
            self._create()
        data = batches.encode(batch)
        frame = len(data).to_bytes(4, "big") + zlib.crc32(data).to_bytes(4, "big") + data
        if self._size + len(frame) > _MOST_BYTES:
            raise OSError("the side file is full")
        written = os.write(self._descriptor, frame)
        if written < len(frame):  # a disk that is full takes a part
            os.ftruncate(self._descriptor, self._size)
            raise OSError("the disk is full")
        self._size += len(frame)
        if sync:
            os.fsync(self._descriptor)

    def sync(self) -> None:
        """Brings what was appended to the disk."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Closes the file, so that any process may insert its rows."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self.path, self._size = -1, None, 0

    def _create(self) -> None:
        path = self._database.with_name(f"{self._database.name}.pending-{secrets.token_hex(8)}")
        self._descriptor = files.create(path)
        if fcntl is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        os.write(self._descriptor, HEADER)
        self._size = len(HEADER)
        self.path = path


def waiting(database: Path) -> list[Path]:
    """Returns the side files beside a database, of this and other processes."""
    try:
        return sorted(database.parent.glob(f"{_escaped(database.name)}.pending-*"))
    except OSError:
        return []


class Reader:
    """One side file that this process inserts, under a lock that excludes other processes."""

    def __init__(self, path: Path) -> None:
        """Opens and locks the file.

        Args:
            path: The side file.

        Raises:
            BlockingIOError: The process that writes it, or one that inserts it, holds the lock.
            StoreError: The file is not one of ours.
            OSError: It cannot be read.
        """
        self.path = path
        self._descriptor = files.open_private(path)
        try:
            if fcntl is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.pread(self._descriptor, len(HEADER), 0) != HEADER:
                raise StoreError(f"{path}: is no side file of a store")  # noqa: TRY301 -- closes the file below
        except BaseException:
            os.close(self._descriptor)
            raise

    def batches(self, offset: int) -> Iterator[tuple[int, Batch | None]]:
        """Yields the batches from an offset on, each with the offset after it.

        A batch that is damaged is `None`. A frame that is cut off, as a kill leaves it, ends the file.
        """
        place = max(offset, len(HEADER))
        while True:
            head = os.pread(self._descriptor, _FRAME, place)
            length = int.from_bytes(head[:4], "big")
            data = os.pread(self._descriptor, length, place + _FRAME) if length <= _LARGEST else b""
            if len(head) < _FRAME or len(data) < length or length > _LARGEST:
                return
            place += _FRAME + length
            try:
                is_sound = zlib.crc32(data) == int.from_bytes(head[4:], "big")
                yield place, batches.decode(data) if is_sound else None
            except msgspec.MsgspecError:
                yield place, None

    def remove(self) -> None:
        """Removes the file, all of which is inserted."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


def _escaped(name: str) -> str:
    """Returns a file name as a glob pattern that matches just it."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
