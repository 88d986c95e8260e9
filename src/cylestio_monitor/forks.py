"""Callbacks around `os.fork`, in one fixed order for the whole package.

A forked child has a copy of every lock but none of the threads that held them. Parts of the package therefore close
connections before a fork and replace locks, queues and threads in the child. `os.register_at_fork` runs callbacks in
an order that depends on the order of imports, so this module registers once and keeps the order itself.
"""

from __future__ import annotations

import logging
import os
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("cylestio_monitor")


class Order(IntEnum):
    """Position of a part in the sequence, lowest first, before the fork and after it."""

    RUNTIME = 0
    """Waits for the thread that creates the pipeline: that thread imports modules and may hold any lock below."""
    STORE = 1
    """Closes database connections."""
    THREADS = 2
    """Replaces worker threads, their queues and their locks."""


class _Callbacks(NamedTuple):
    order: Order
    name: str
    before: Callable[[], None] | None
    in_parent: Callable[[], None] | None
    in_child: Callable[[], None] | None


_registered: dict[str, _Callbacks] = {}


def register(
    name: str,
    order: Order,
    *,
    before: Callable[[], None] | None = None,
    in_parent: Callable[[], None] | None = None,
    in_child: Callable[[], None] | None = None,
) -> None:
    """Adds the callbacks of one part; a second registration under the same name replaces the first.

    Args:
        name: Name of the part. Parts of equal order run by name.
        order: Position in the sequence.
        before: Runs in the parent before the fork.
        in_parent: Runs in the parent after the fork.
        in_child: Runs in the child after the fork.
    """
    _registered[name] = _Callbacks(order, name, before, in_parent, in_child)


def _before() -> None:
    """Runs the callbacks before a fork, including those of parts that are imported meanwhile."""
    done: set[str] = set()
    while waiting := sorted(entry for name, entry in list(_registered.items()) if name not in done):
        done.add(waiting[0].name)
        _run(waiting[0].name, waiting[0].before)


def _in_parent() -> None:
    for entry in sorted(_registered.values()):
        _run(entry.name, entry.in_parent)


def _in_child() -> None:
    for entry in sorted(_registered.values()):
        _run(entry.name, entry.in_child)


def _run(name: str, callback: Callable[[], None] | None) -> None:
    if callback is None:
        return
    try:
        callback()
    except Exception:  # an error of one part must not keep the others from preparing, nor reach the application
        log.debug("The fork callback of %s failed", name, exc_info=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
