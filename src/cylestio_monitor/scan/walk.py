"""Walks any JSON-like value and gives its texts, each with its place."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

_log = logging.getLogger(__name__)
MAX_DEPTH = 40
MAX_NODES = 50_000
_LONG_NUMBER = 10**7  # a shorter number is no card, phone or national id
_LONG_KEY = 16


class Leaf(NamedTuple):
    """One text of a value.

    Attributes:
        path: Its place, such as ``arguments.files[2].name``.
        key: The nearest key above it; empty at the top.
        text: The text.
    """

    path: str
    key: str
    text: str


def leaves(value: object, path: str = "") -> Iterator[Leaf]:
    """Every text in the value: strings, long numbers, long keys.

    Goes at most `MAX_DEPTH` deep and `MAX_NODES` wide, passes a value that holds itself once, and steps over what
    raises.
    """
    stack: list[tuple[object, str, str, int]] = [(value, path, "", 0)]
    seen: dict[int, object] = {}  # holds what it saw, so that no id is given twice
    nodes = 0
    while stack:
        item, place, key, depth = stack.pop()
        nodes += 1
        if nodes > MAX_NODES:
            return
        text = _text(item)
        if text is not None:
            yield Leaf(place, key, text)
            continue
        if item is None or isinstance(item, (bool, int, float)) or depth >= MAX_DEPTH:
            continue
        if id(item) in seen:
            continue
        seen[id(item)] = item
        try:
            children = _children(item, place, key)
        except Exception as error:  # noqa: BLE001 -- the value's own code: whatever it raises, the others are walked
            _log.debug("%s at %s cannot be walked: %r", type(item).__name__, place, error)
            continue
        for _child, name, child_key in children:
            if child_key is not key and len(child_key) > _LONG_KEY:
                yield Leaf(name, "", child_key)
        stack.extend((child, name, child_key, depth + 1) for child, name, child_key in reversed(children))


def _text(item: object) -> str | None:
    if isinstance(item, str):
        return item or None
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item).decode("utf-8", "replace") or None
    if isinstance(item, int) and not isinstance(item, bool) and _LONG_NUMBER <= item < 10**40:
        return str(item)
    return None


def _children(item: object, place: str, key: str) -> list[tuple[object, str, str]]:
    fields = as_mapping(item)
    if fields is not None:
        pairs = [(str(name)[:200], child) for name, child in list(fields.items())[:MAX_NODES]]
        return [(child, f"{place}.{name}" if place else name, name) for name, child in pairs]
    if isinstance(item, (Sequence, AbstractSet)):
        return [(child, f"{place}[{number}]", key) for number, child in enumerate(list(item)[:MAX_NODES])]
    return [(str(item), place, key)]


def as_mapping(item: object) -> Mapping[Any, Any] | None:
    """A mapping, a model of pydantic or a dataclass as a mapping; ``None`` for anything else."""
    if isinstance(item, Mapping):
        return item
    dump = getattr(type(item), "model_dump", None)
    if callable(dump):
        dumped = dump(item)
        return dumped if isinstance(dumped, Mapping) else None
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name, None) for field in dataclasses.fields(item)}
    return None
