"""Values that no API documents, put in the place of each value of a recorded payload."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ODD = "zqoddx"
"""A mark that only the odd values hold."""


class Unhashable:
    """An object of the application without a hash, a comparison or a text."""

    __hash__ = None  # type: ignore[assignment]  # the way that Python takes a hash away

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def nested(depth: int) -> Any:
    """A text so deep inside lists and objects."""
    value: Any = ODD
    for level in range(depth):
        value = [value] if level % 2 else {"type": value}
    return value


JSON: dict[str, Any] = {
    "null": None,
    "true": True,
    "minus one": -1,
    "infinity": float("inf"),
    "not a number": float("nan"),
    "empty text": "",
    "text": f" {ODD} ",
    "long text": f" {ODD} " + "x " * 5_000,
    "surrogate": f" {ODD} \ud800 ",
    "empty list": [],
    "empty object": {},
    "list of a list": [[]],
    "list of texts": [f" {ODD} "],
    "object of a list": {"type": []},
    "object of a text": {"type": [], "text": f" {ODD} ", "content": [{}]},
    "list of numbers": [1, 2.5, None],
    "nested": nested(40),
    "huge integer": 10**400,
}
"""Values that a server can send."""

PYTHON: dict[str, Any] = {
    "bytes": ODD.encode(),
    "tuple": (ODD, ()),
    "set": {1, 2},
    "keys that are no texts": {1: ODD, None: [], (2, 3): "x"},
    "object": Unhashable(),
}
"""Values that only an application can hand over."""


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value inside another, as the keys that lead there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in items:
        yield (*at, key)
        yield from places(item, (*at, key))


def with_value(payload: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of a payload with another value at one place."""
    made = copy.deepcopy(payload)
    holder = made
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return made


def at(payload: Any, place: tuple[Any, ...]) -> Any:
    """The value at a place."""
    for key in place:
        payload = payload[key]
    return payload
