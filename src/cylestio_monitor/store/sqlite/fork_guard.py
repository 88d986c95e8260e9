"""No connection and no lock crosses a fork.

SQLite keeps the locks of a process in tables of its own. A child that opened the file beside an inherited connection
would believe itself the holder of its parent's locks. So before a fork every connection is closed, with the guard
held so that none is in use; afterwards both sides open their own when they next need one.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Final, Protocol

from cylestio_monitor import forks

if TYPE_CHECKING:
    import sqlite3

_PATIENCE_S: Final = 2.0
"""Longest that a fork waits for a write that is under way."""


class Forkable(Protocol):
    """An object that holds connections or threads."""

    def before_fork(self) -> None:
        """Closes connections; the guard is held."""

    def after_fork_in_child(self) -> None:
        """Forgets what belongs to the parent: its queue, its threads, its locks."""


class _Guard:
    """The lock around every use of SQLite by a thread of ours."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._forking = threading.local()  # several threads may fork at a time

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def take_for_fork(self) -> bool:
        """Takes the lock for the fork of this thread; whether that was possible in time."""
        self._forking.has_lock = self.lock.acquire(timeout=_PATIENCE_S)
        return bool(self._forking.has_lock)

    def release_after_fork(self) -> None:
        """Releases the lock in the parent, where this thread has taken it."""
        if getattr(self._forking, "has_lock", False):
            self._forking.has_lock = False
            self.lock.release()

    def renew_in_child(self) -> None:
        """Replaces the lock: its holder may be a thread that the child does not have."""
        self.lock = threading.RLock()
        self._forking = threading.local()


guard: Final = _Guard()
_inherited: Final[list[sqlite3.Connection]] = []
_members: weakref.WeakSet[Forkable] = weakref.WeakSet()


def register(member: Forkable) -> None:
    """Calls the hooks of the member at every fork while the member exists."""
    _members.add(member)


def leave_open(connection: sqlite3.Connection | None) -> None:
    """Keeps an inherited connection from being closed: closing would touch the files of the parent."""
    if connection is not None:
        _inherited.append(connection)


def before() -> None:
    """Closes every connection; the guard stays held until the fork is through."""
    if guard.take_for_fork():
        for member in list(_members):
            member.before_fork()


def _in_child() -> None:
    guard.renew_in_child()
    for member in list(_members):
        member.after_fork_in_child()


forks.register("store", forks.Order.STORE, before=before, in_parent=guard.release_after_fork, in_child=_in_child)
