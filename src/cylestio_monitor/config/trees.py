"""Nested mappings addressed by dotted keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import yamlfile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def get(tree: Any, key: str) -> Any:
    """Returns the value at a dotted key of a mapping or of a settings object; ``None`` where there is none."""
    for name in key.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else getattr(tree, name, None)
    return tree


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value at a dotted key and creates the mappings above it."""
    *parents, last = key.split(".")
    for name in parents:
        child = tree.get(name)
        if not isinstance(child, dict):
            child = tree[name] = {}
        tree = child
    tree[last] = value


def drop(tree: Any, key: str) -> bool:
    """Removes the value at a dotted key; an item of a list is removed alone. Returns ``False`` if there is none."""
    steps = yamlfile.steps(key)
    for step in steps[:-1]:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return False
    try:
        del tree[steps[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value that is no mapping, with its dotted key."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def merge(tree: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Sets every value of `more` in `tree`; lists are replaced."""
    for key, value in flatten(more):
        put(tree, key, value)
