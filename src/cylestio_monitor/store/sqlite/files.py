"""Files that belong to their owner alone: made private under any umask, never through somebody else's link."""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
from pathlib import Path
from typing import Final

from cylestio_monitor.errors import StoreError

SIBLINGS: Final = ("", "-wal", "-shm")
"""The suffixes of the files of a database in WAL mode, the database itself first."""

_SQLITE: Final = b"SQLite format 3\0"
_APPLICATION: Final = b"CYLS"
_known: set[tuple[int, int]] = set()
"""Device and inode of the files that this process has checked."""

_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)


def prepare(path: Path) -> None:
    """Makes sure that `path` is a private file in a folder that no other user can change.

    A missing folder is created with mode 0700, a missing file with 0600. An existing folder keeps its mode: it may be
    the user's project folder.

    Raises:
        StoreError: The folder or a file is a symbolic link, belongs to someone else or to another program, or cannot be
            created.
    """
    try:
        _prepare_folder(path.parent)
        for suffix in SIBLINGS:
            check_file(Path(f"{path}{suffix}"))
        _check_is_ours(path)
        if not path.exists():
            _create_known(path)
        elif stat.S_IMODE(path.stat().st_mode) & 0o077:
            # SQLite gives its side files the mode of the database. By path, not by descriptor: closing one of our
            # own would drop the locks that SQLite holds on the file in this process.
            path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or 'cannot be used'}") from error


def create(path: Path) -> int:
    """Creates a file that must not exist, mode 0600 whatever the umask; returns its descriptor, open for writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC, 0o600)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)
    return descriptor


def _create_known(path: Path) -> None:
    descriptor = create(path)
    try:
        status = os.fstat(descriptor)
        _known.add((status.st_dev, status.st_ino))
    finally:
        os.close(descriptor)


def check_file(path: Path) -> None:
    """Raises `StoreError` where the file is a link, no regular file, or another user's."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path}: is no regular file")
    _check_owner(path, status)


def _check_is_ours(path: Path) -> None:
    """Raises `StoreError` where the file was made by another program, before anything of it is changed.

    A store is known by the header of SQLite with our application id, or by its tables. Any other file is a damaged or a
    new store only if our key or lock is beside it, or if it is empty and private.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    # A file is read once in a process, before SQLite opens it: closing it drops the locks that SQLite holds on it, and
    # then another process takes itself for the last one, and removes the log that this one still writes to.
    identity = (status.st_dev, status.st_ino)
    if identity in _known:
        return
    if status.st_size == 0 and not status.st_mode & 0o077:
        _known.add(identity)
        return
    descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _CLOEXEC)
    try:
        header = os.read(descriptor, 100)
    finally:
        os.close(descriptor)
    is_ours = header.startswith(_SQLITE) and (header[68:72] == _APPLICATION or _has_our_tables(path))
    if not is_ours and not any(_is_private(Path(f"{path}{suffix}")) for suffix in (".key", ".lock")):
        raise StoreError(f"{path}: is a file of another program, not a store of Cylestio")
    _known.add(identity)


def _has_our_tables(path: Path) -> bool:
    """Tells if a database without an application id has our tables, or no tables yet; reads without any lock."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            names = {
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' LIMIT 1000")
            }
            marked = connection.execute("PRAGMA application_id").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return not marked and (not names or names >= {"meta", "span"})


def _is_private(path: Path) -> bool:
    """Returns whether the path is a regular file of this user that no other user can read."""
    try:
        status = path.lstat()
    except OSError:
        return False
    is_own = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return stat.S_ISREG(status.st_mode) and is_own and not status.st_mode & 0o077


def create_once(path: Path, data: bytes) -> None:
    """Creates a private file with its content, where there is none: of two processes one wins, with a whole file.

    Raises:
        OSError: It cannot be made.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = create(draft)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first, and its content counts
    finally:
        draft.unlink(missing_ok=True)


def open_private(path: Path) -> int:
    """Opens a file of ours to be read; returns its descriptor.

    Raises:
        StoreError: It is a link, no regular file, another user's, or open to others.
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | _NOFOLLOW | _NONBLOCK | _CLOEXEC)
    try:
        _check_private(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path}: is no regular file")
    _check_owner(path, status)
    if stat.S_IMODE(status.st_mode) & 0o077 and os.name == "posix":
        raise StoreError(f"{path}: is open to other users")


def append_private(path: Path, data: bytes) -> None:
    """Appends to a private file and syncs it; the file is created where it is missing."""
    check_file(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NOFOLLOW | _CLOEXEC, 0o600)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, stamp: str) -> Path:
    """Moves a damaged database and its side files out of the way; returns where the database now is."""
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    # The side files first: a database without its log is stale, a log beside another database is destruction.
    for suffix in reversed(SIBLINGS):
        source = Path(f"{path}{suffix}")
        if source.exists():
            source.rename(f"{target}{suffix}")
    return target


def size_on_disk(path: Path) -> int:
    """Bytes of the database and its side files together."""
    total = 0
    for suffix in SIBLINGS:
        try:
            total += Path(f"{path}{suffix}").stat().st_size
        except OSError:  # another process has removed it
            continue
    return total


def _prepare_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise StoreError(f"{folder}: is no folder")
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise StoreError(f"{folder}: everybody may replace files there")


def _check_owner(path: Path, status: os.stat_result) -> None:
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise StoreError(f"{path}: belongs to another user")
