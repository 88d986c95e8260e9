"""Bounded memory by key: where there are too many entries, the one used longest ago is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections import OrderedDict
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")


def entry_of(known: OrderedDict[K, V], key: K, make: Callable[[], V], most: int) -> V:
    """Returns the entry of a key, made where there is none, as the one used last. The caller holds the lock.

    Args:
        known: The entries, the one used longest ago first.
        key: The key.
        make: Makes an entry.
        most: The number of entries that are kept, at least 1.
    """
    entry = known.get(key)
    if entry is None:
        entry = known[key] = make()
        if len(known) > most:
            known.popitem(last=False)
    known.move_to_end(key)
    return entry
