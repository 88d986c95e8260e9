"""Who does what one process does for all that share a store: one at a time, and the next one when it is gone."""

from __future__ import annotations

import os
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import sqlite3

LEASE_S: Final = 120.0
"""Seconds after which a holder that does not renew the lease loses it; longer than any request takes. A holder on this
machine whose process has ended loses it at once."""


class _Holder(msgspec.Struct, frozen=True):
    token: str
    host: str
    pid: int
    started: str
    until: float


class Lease:
    """The claim of one process. Its methods run inside the caller's transaction, which holds the write lock."""

    def __init__(self, work: str) -> None:
        """Names this process.

        Args:
            work: What one process does for all; the key in `meta`.
        """
        self._key = work
        self._token = secrets.token_hex(8)
        self._host = socket.gethostname()
        self._pid = os.getpid()
        self._started = _started(self._pid)

    def take(self, connection: sqlite3.Connection) -> bool:
        """Takes or renews the lease; whether it is ours now."""
        if not self.may_take(connection):
            return False
        own = _Holder(self._token, self._host, self._pid, self._started, time.time() + LEASE_S)
        connection.execute(
            "REPLACE INTO meta (key, value) VALUES (?, ?)", (self._key, msgspec.json.encode(own).decode())
        )
        return True

    def may_take(self, connection: sqlite3.Connection) -> bool:
        """Returns whether this process holds the lease or the lease is free; needs no lock."""
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (self._key,)).fetchone()
        return row is None or self._free(row[0], time.time())

    def give_up(self, connection: sqlite3.Connection) -> None:
        """Lets the next process send at once."""
        connection.execute(
            "DELETE FROM meta WHERE key = ? AND json_extract(value, '$.token') = ?", (self._key, self._token)
        )

    def _free(self, value: str, now: float) -> bool:
        try:
            holder = msgspec.json.decode(value, type=_Holder)
        except msgspec.DecodeError:
            return True
        if holder.token == self._token or not now < holder.until <= now + 2 * LEASE_S:
            return True  # ours, over, or from a clock that was wrong
        return holder.host == self._host and _started(holder.pid) != holder.started


def current_process() -> str:
    """Returns a name of this process that no later process has: host, process id and start, as JSON."""
    pid = os.getpid()
    return msgspec.json.encode([socket.gethostname(), pid, _started(pid)]).decode()


def is_gone(process: str) -> bool:
    """Returns whether the process that `current_process` named has ended; false for a process of another machine."""
    try:
        host, pid, started = msgspec.json.decode(process, type=tuple[str, int, str])
    except (msgspec.MsgspecError, TypeError):
        return True
    return host == socket.gethostname() and _started(pid) != started


def _started(pid: int) -> str:
    """When a process of this machine began, as the kernel counts; empty where there is no such process."""
    try:
        # Field 22; the second one, in brackets, may hold spaces itself.
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return "alive"
    return "alive"
