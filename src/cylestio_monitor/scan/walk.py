"""Walks any JSON-like value and gives its texts, each with its place."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cylestio_monitor.scan.budget import Budget

_log = logging.getLogger(__name__)
MAX_DEPTH = 40
MAX_NODES = 50_000
MAX_NAME = 200
"""Code points of a key that a path shows; the key itself is scanned whole."""

LONG_KEY = 16
"""Code points beyond which a key is a text of its own."""

_LONG_NUMBER = 10**7  # a shorter number is no card, phone or national id


class Leaf(NamedTuple):
    """One text of a value.

    Attributes:
        path: Its place, such as ``arguments.files[2].name``.
        key: The nearest key above it; empty at the top.
        text: The text.
        is_key: Whether the text is a key.
    """

    path: str
    key: str
    text: str
    is_key: bool = False


def leaves(value: object, path: str = "", budget: Budget | None = None) -> Iterator[Leaf]:
    """Gives every text in the value: strings, long numbers, long keys.

    A value that contains itself is walked once. A part that is deeper than `MAX_DEPTH`, beyond `MAX_NODES` values, or
    raises is passed over, and the budget notes the reason.

    Args:
        value: Mappings, sequences, models, anything else by its text.
        path: The place of the value.
        budget: Notes what was passed over.
    """
    stack: list[tuple[object, str, str, int]] = [(value, path, "", 0)]
    seen: dict[int, object] = {}  # keeps what it saw, so that no id is given twice
    nodes = 0
    while stack:
        item, place, key, depth = stack.pop()
        nodes += 1
        if nodes > MAX_NODES:
            _stop(budget, "values")
            return
        try:
            text = _text(item)
            if text is not None:
                if text:
                    yield Leaf(place, key, text)
                continue
            if item is None or isinstance(item, (bool, int, float)) or id(item) in seen:
                continue
            seen[id(item)] = item
            if depth >= MAX_DEPTH:
                _stop(budget, "depth")
                continue
            children = _children(item, place, key)
        except Exception as error:  # noqa: BLE001 -- code of the value: it may raise anything, and the others are walked
            _log.debug("%s at %s cannot be walked: %r", type(item).__name__, place, error)
            _stop(budget, type(error).__name__)
            continue
        if len(children) > MAX_NODES:
            _stop(budget, "values")
            del children[MAX_NODES:]
        for _child, name, child_key in children:
            if child_key is not key and len(child_key) > LONG_KEY:
                yield Leaf(name, "", child_key, is_key=True)
        stack.extend((child, name, child_key, depth + 1) for child, name, child_key in reversed(children))


def _stop(budget: Budget | None, reason: str) -> None:
    if budget is not None:
        budget.stop(reason)


def _text(item: object) -> str | None:
    """Returns the text of a leaf; ``None`` for what is no leaf."""
    if isinstance(item, str):
        return item if type(item) is str else str.__str__(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item).decode("utf-8", "replace")
    if isinstance(item, int) and not isinstance(item, bool) and abs(item) >= _LONG_NUMBER:
        return str(item) if abs(item) < 10**40 else None
    return None


def _children(item: object, place: str, key: str) -> list[tuple[object, str, str]]:
    fields = as_mapping(item)
    if fields is not None:
        items = islice(list(fields.items()), MAX_NODES + 1)
        pairs = [(name if type(name) is str else str(name), child) for name, child in items]
        return [(child, f"{place}.{name[:MAX_NAME]}" if place else name[:MAX_NAME], name) for name, child in pairs]
    if isinstance(item, (Sequence, AbstractSet)):
        return [(child, f"{place}[{number}]", key) for number, child in enumerate(islice(item, MAX_NODES + 1))]
    return [(str(item), place, key)]


def as_mapping(item: object) -> Mapping[Any, Any] | None:
    """Returns a mapping, a model of pydantic or a dataclass as a mapping; ``None`` for anything else."""
    if isinstance(item, Mapping):
        return item
    dump = getattr(type(item), "model_dump", None)
    if callable(dump):
        dumped = dump(item)
        return dumped if isinstance(dumped, Mapping) else None
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name, None) for field in dataclasses.fields(item)}
    return None
