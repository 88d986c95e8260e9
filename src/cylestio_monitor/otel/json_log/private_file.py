"""A log file of JSON lines that only its owner can read, rotated by size, shared by threads and processes.

The log never writes, moves or removes a file that it did not create: it opens without following a link and without
waiting, and checks type, owner, mode and first line before it appends.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cylestio_monitor import forks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: processes that share a log may exceed its limit there
    fcntl = None  # type: ignore[assignment]

_FLAGS: Final = (
    os.O_RDWR | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)
_FIRST_LINE_BYTES: Final = 1 << 20
_OTHERS: Final = 0o022


class LogFileError(OSError):
    """The path names a file or a folder that the log must not use."""


class PrivateLog:
    """Appends lines to a private file and keeps a number of rotated ones.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int, keys: Iterable[str]) -> None:
        """Creates missing folders with mode 0700 and checks the file; the first line creates it.

        Args:
            path: The file.
            max_bytes: Size at which the file is rotated.
            backups: Number of rotated files, ``path.1`` being the newest.
            keys: The keys of the JSON object in the first line of a file of this log.

        Raises:
            OSError: The file cannot be written, or is none of this log.
        """
        self.path = path
        self._max_bytes = max_bytes
        self._backups = [path.with_name(f"{path.name}.{number}") for number in range(1, backups + 1)]
        self._keys = frozenset(keys)
        self._lock = threading.Lock()
        self._descriptor = -1
        self._is_closed = False
        _create_folder(path.parent)
        if os.path.lexists(path):
            self._check(path)
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            raise LogFileError(errno.EACCES, "cannot be written", str(path.parent))
        _logs.add(self)

    def write(self, line: str) -> None:
        """Appends one line; rotates before the file would grow beyond its limit.

        Raises:
            OSError: The line cannot be written, or a rotated file is none of this log.
        """
        data = line.encode("utf-8", "replace") + b"\n"
        with self._lock:
            if self._is_closed:
                return
            if not self._is_current():
                self._reopen()
            if self._descriptor >= 0:
                size = os.fstat(self._descriptor).st_size
                if size + len(data) > self._max_bytes:
                    self._rotate()
            if self._descriptor < 0 and self._create(data):
                return
            written = os.write(self._descriptor, data)
            if written < len(data):  # the disk is full: the second attempt completes the line or raises
                os.write(self._descriptor, data[written:])

    def close(self) -> None:
        """Closes the file; later lines are dropped."""
        with self._lock:
            self._is_closed = True
            self._drop_descriptor()

    def reset_lock(self) -> None:
        """Replaces the lock in a forked child: the thread that held it does not exist there."""
        self._lock = threading.Lock()

    def _is_current(self) -> bool:
        """Tells if the open file is still the one with the name; another process may have rotated it."""
        if self._descriptor < 0:
            return False
        here = os.fstat(self._descriptor)
        try:
            there = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _reopen(self) -> None:
        """Opens the file with the name; afterwards there is no descriptor if there is no such file."""
        self._drop_descriptor()
        with suppress(FileNotFoundError):
            self._check(self.path)
            self._descriptor = os.open(self.path, _FLAGS)

    def _create(self, data: bytes) -> bool:
        """Creates the file with its first line in one step, so that no process ever sees it empty.

        Returns ``False`` if another process was faster: its file is open then.
        """
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        self._descriptor = os.open(draft, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(self._descriptor, 0o600)
            os.write(self._descriptor, data)
            os.link(draft, self.path)
        except FileExistsError:
            self._reopen()
            return False
        finally:
            draft.unlink()
        return True

    def _drop_descriptor(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _rotate(self) -> None:
        """Moves the files up by one; the next line creates the file anew."""
        if fcntl is not None:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return  # another process rotates at this moment: the line goes to the old file
        if not self._is_current():
            self._reopen()
            return
        for path in self._backups:
            if os.path.lexists(path):
                self._check(path)
        sources = [self.path, *self._backups]
        if not self._backups:
            self.path.unlink()
        for source, target in reversed(list(zip(sources, self._backups, strict=False))):
            if os.path.lexists(source):
                source.replace(target)
        self._drop_descriptor()

    def _check(self, path: Path) -> None:
        """Raises `LogFileError` where a file was not written by this log, or others may write it."""
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise LogFileError(errno.ELOOP, "is a symbolic link", str(path))
        if not stat.S_ISREG(status.st_mode):
            raise LogFileError(errno.EINVAL, "is not a regular file", str(path))
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            raise LogFileError(errno.EPERM, "belongs to another user", str(path))
        if hasattr(os, "geteuid") and status.st_mode & _OTHERS:
            raise LogFileError(errno.EPERM, "is writable by other users", str(path))
        if status.st_nlink > 1:
            raise LogFileError(errno.EMLINK, "has a second name (hard link)", str(path))
        if not self._is_ours(path):
            raise LogFileError(errno.EEXIST, "exists and is not a log of Cylestio", str(path))

    def _is_ours(self, path: Path) -> bool:
        descriptor = os.open(path, (_FLAGS & ~(os.O_RDWR | os.O_APPEND)) | os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return False
            line = file.readline(_FIRST_LINE_BYTES)
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            return False
        return isinstance(entry, dict) and self._keys <= entry.keys()


_logs: weakref.WeakSet[PrivateLog] = weakref.WeakSet()


def _in_child() -> None:
    for log in list(_logs):
        log.reset_lock()


forks.register("private_log", forks.Order.THREADS, in_child=_in_child)


def _create_folder(folder: Path) -> None:
    """Creates missing folders with mode 0700; refuses an existing one that others can exchange files in."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            path.chmod(0o700)
    status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise LogFileError(errno.ENOTDIR, "is not a folder", str(folder))
    if hasattr(os, "geteuid"):
        if status.st_uid not in {0, os.geteuid()}:
            raise LogFileError(errno.EPERM, "belongs to another user", str(folder))
        if status.st_mode & _OTHERS and not status.st_mode & stat.S_ISVTX:
            raise LogFileError(errno.EPERM, "is writable by other users", str(folder))
