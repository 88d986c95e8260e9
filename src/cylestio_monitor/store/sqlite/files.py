"""Files that belong to their owner alone: made private under any umask, never through somebody else's link."""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cylestio_monitor.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

SIBLINGS: Final = ("", "-journal", "-wal", "-shm")
"""The suffixes of the files that SQLite takes for one database, the database itself first."""

COMPANIONS: Final = (".key", ".lock", ".checkpoints")
"""The suffixes of the files that the store itself keeps beside the database."""

_SQLITE: Final = b"SQLite format 3\0"
_APPLICATION: Final = b"CYLS"
_known: set[tuple[int, int]] = set()
"""Device and inode of the files that this process has checked."""

_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_LARGEST: Final = 256 << 20
"""Most bytes that are read of a file beside the database."""


def prepare(path: Path) -> None:
    """Makes sure that `path` is a private file in a folder that no other user can change.

    Missing folders are created with mode 0700, a missing file with 0600. An existing folder keeps its mode: it may be
    the user's project folder.

    Raises:
        StoreError: The folder, the database or a file beside it is a symbolic link or no regular file, belongs to
            someone else or to another program, can be written by others, or cannot be created.
    """
    try:
        is_shared = _prepare_folder(path.parent)
        for suffix in (*SIBLINGS, *COMPANIONS):
            check_file(Path(f"{path}{suffix}"))
        _check_is_ours(path)
        if not path.exists():
            create_once(path, b"")
            _check_is_ours(path)
        for suffix in SIBLINGS:
            _hide(Path(f"{path}{suffix}"))
        if is_shared:
            _reserve(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or 'cannot be used'}") from error


def _hide(path: Path) -> None:
    """Takes the rights of others off a file of ours that exists."""
    with suppress(FileNotFoundError):  # SQLite removes its side files when the last process closes the database
        if stat.S_IMODE(path.lstat().st_mode) & 0o077:
            # SQLite gives its side files the mode of the database. By path, not by descriptor: closing one of our
            # own would drop the locks that SQLite holds on the file in this process.
            path.chmod(0o600)


def _reserve(path: Path) -> None:
    """Creates the side files of a database where other users may add files, such as a temporary folder.

    SQLite would roll the content of a journal or a log that another user puts there into the database. An empty one
    of ours has no content, and in a folder with the sticky bit nobody else can replace it.
    """
    for suffix in SIBLINGS[1:]:
        create_once(Path(f"{path}{suffix}"), b"")


def create(path: Path) -> int:
    """Creates a file that must not exist, mode 0600 whatever the umask; returns its descriptor, open for writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC, 0o600)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)
    return descriptor


def check_file(path: Path) -> None:
    """Raises `StoreError` where the file is a link, no regular file, another user's, or writable by others."""
    with suppress(FileNotFoundError):
        _check_status(path, path.lstat())


def check_readable(path: Path) -> None:
    """Checks a database that is only read, and that may be another user's, before SQLite opens its files.

    Raises:
        StoreError: It is no regular file, or a file beside it that SQLite would take for a part of it is none, or
            belongs to somebody else than the database.
    """
    try:
        owner = _check_regular(path, path.stat()).st_uid
        for suffix in SIBLINGS[1:]:
            sibling = Path(f"{path}{suffix}")
            with suppress(FileNotFoundError):
                status = _check_regular(sibling, sibling.lstat())
                if hasattr(os, "geteuid") and status.st_uid not in {owner, os.geteuid(), 0}:
                    raise StoreError(f"{sibling}: belongs to another user than the database")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or 'cannot be read'}") from error


def _check_regular(path: Path, status: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path}: is no regular file")
    return status


def _check_status(path: Path, status: os.stat_result) -> None:
    _check_regular(path, status)
    _check_owner(path, status)
    if status.st_mode & _WRITABLE_BY_OTHERS and os.name == "posix":
        raise StoreError(f"{path}: is writable by other users, who may have changed it")


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

    No descriptor of the file is open once it has its name: see `_check_is_ours` for what closing one would do.

    Raises:
        OSError: It cannot be made.
    """
    if os.path.lexists(path):
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = create(draft)
    try:
        if data:
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
    return _open_checked(path, os.O_RDWR, _check_private)


def open_lock(path: Path) -> int:
    """Opens a file of ours to be locked, creating it where it is missing; returns its descriptor.

    Raises:
        StoreError: It is no regular file, another user's, or writable by others.
        OSError: It cannot be opened; a link is not followed.
    """
    return _open_checked(path, os.O_RDWR | os.O_CREAT, _check_status)


def read_private(path: Path) -> bytes:
    """Returns the content of a small file of ours.

    Raises:
        StoreError: It is a link, no regular file, another user's, or writable by others.
        OSError: It cannot be read, for one because there is none.
    """
    check_file(path)
    return _read(_open_checked(path, os.O_RDONLY, _check_status))


def read_regular(path: Path) -> bytes:
    """Returns the content of a file that the user named, whoever it belongs to.

    Raises:
        StoreError: It is no regular file, or larger than 256 MiB.
        OSError: It cannot be read.
    """
    return _read(_open_checked(path, os.O_RDONLY, _check_size, nofollow=0))


def open_regular(path: Path) -> int:
    """Opens a file that the user named to be read, whoever it belongs to; returns its descriptor.

    Raises:
        StoreError: It is no regular file.
        OSError: It cannot be opened.
    """
    return _open_checked(path, os.O_RDONLY, _check_regular, nofollow=0)


def _check_size(path: Path, status: os.stat_result) -> None:
    if _check_regular(path, status).st_size > _LARGEST:
        raise StoreError(f"{path}: is too large")


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_LARGEST)


def _open_checked(
    path: Path, flags: int, check: Callable[[Path, os.stat_result], object], *, nofollow: int = _NOFOLLOW
) -> int:
    descriptor = os.open(path, flags | nofollow | _NONBLOCK | _CLOEXEC, 0o600)
    try:
        check(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_private(path: Path, status: os.stat_result) -> None:
    _check_status(path, status)
    if stat.S_IMODE(status.st_mode) & 0o077 and os.name == "posix":
        raise StoreError(f"{path}: is open to other users")


def append_private(path: Path, data: bytes, begin: bytes) -> None:
    """Appends to a private file and syncs it; the file is created where it is missing.

    Args:
        path: The file.
        data: What is appended.
        begin: The first bytes of any file of this kind.

    Raises:
        StoreError: There is something else than a private file of this kind.
        OSError: It cannot be written; a link is not followed.
    """
    descriptor = _open_checked(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _check_status)
    try:
        if os.fstat(descriptor).st_nlink > 1:
            raise StoreError(f"{path}: has a second name (hard link)")
        if hasattr(os, "pread") and os.pread(descriptor, len(begin), 0) not in {b"", begin}:
            raise StoreError(f"{path}: is a file of another program")
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


def _prepare_folder(folder: Path) -> bool:
    """Creates missing folders with mode 0700; returns whether other users may add files to the folder.

    Raises:
        StoreError: Other users may exchange files in it.
    """
    missing, existing = [], folder
    while not existing.exists():
        missing.append(existing)
        existing = existing.parent
    is_shared = _check_folder(existing)
    for path in reversed(missing):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            path.chmod(0o700)
    return _check_folder(folder) if missing else is_shared


def _check_folder(folder: Path) -> bool:
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        _check_folder_owner(folder, status)
        status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise StoreError(f"{folder}: is no folder")
    _check_folder_owner(folder, status)
    is_shared = bool(status.st_mode & _WRITABLE_BY_OTHERS) and os.name == "posix"
    if is_shared and not status.st_mode & stat.S_ISVTX:
        raise StoreError(f"{folder}: other users may replace files there")
    return is_shared


def _check_folder_owner(folder: Path, status: os.stat_result) -> None:
    """The owner of a folder may replace every file in it."""
    if hasattr(os, "geteuid") and status.st_uid not in {0, os.geteuid()}:
        raise StoreError(f"{folder}: belongs to another user")


def _check_owner(path: Path, status: os.stat_result) -> None:
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise StoreError(f"{path}: belongs to another user")
