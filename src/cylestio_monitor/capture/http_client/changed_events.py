"""Copies of the events of an SDK's stream with other texts in them: objects of pydantic, or parsed JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from cylestio_monitor.govern.redaction.streamed import StreamedRedaction

Place = tuple[str | int, ...]
"""The way to a text in an object: names of fields, and numbers of the items of lists."""

_SAYS_WHERE: Final = frozenset({"index", "type"})
_WHOLE: Final = frozenset({"annotations", "logprobs"})


def fields(item: Any) -> Mapping[str, Any] | None:
    """Returns the fields of an object or a mapping with their values; ``None`` for another value."""
    if isinstance(item, Mapping):
        return item
    if not hasattr(item, "__dict__") or isinstance(item, type):
        return None
    extra = getattr(item, "__pydantic_extra__", None)
    return {**vars(item), **extra} if extra else vars(item)


def changed(item: Any, changes: Mapping[str, Any]) -> Any:
    """Returns a copy of an object or a mapping with other values in some fields; itself without changes."""
    if not changes:
        return item
    if isinstance(item, Mapping):
        return {**item, **changes}
    copy = getattr(item, "model_copy", None) or item.copy  # pydantic 1
    return copy(update=dict(changes))


def redacted(redaction: StreamedRedaction, group: Hashable, item: Any, place: Place, key: str) -> Any:
    """Returns a piece of an answer with what of its texts passes by now; the same object where they are the same.

    Args:
        redaction: The redaction of the answer.
        group: What the texts are parts of.
        item: The piece: a text, a list, an object or a mapping.
        place: Its place.
        key: The nearest key above it.
    """
    if isinstance(item, str):
        passed = redaction.piece(group, place, item, key)
        return item if passed == item else passed
    if isinstance(item, list):
        items = [
            redacted(redaction, group, child, (*place, number_of(child, number)), key)
            for number, child in enumerate(item)
        ]
        return items if any(new is not old for new, old in zip(items, item, strict=True)) else item
    inside = fields(item)
    if inside is None:
        return item
    changes: dict[str, Any] = {}
    for name, child in inside.items():
        if child is None or name in redaction.keys.fixed:
            continue
        whole = name in _WHOLE
        new = redaction.value(child) if whole else redacted(redaction, group, child, (*place, name), name)
        if new is not child:
            changes[name] = new
    return changed(item, changes)


def appended(item: Any, place: Place, text: str) -> Any:
    """Returns a copy with a text behind the one at a place; ``None`` where no text is there."""
    if not place:
        return item + text if isinstance(item, str) else None
    found = _child(item, place[0])
    new = appended(found[1], place[1:], text) if found is not None else None
    if found is None or new is None:
        return None
    if isinstance(item, list):
        return [new if child is found[1] else child for child in item]
    return changed(item, {str(place[0]): new})


def alone(item: Any, place: Place, text: str) -> Any:
    """Returns a copy that holds a text at a place and nothing else but what says where it belongs."""
    if not place:
        return text
    found = _child(item, place[0])
    inner = alone(found[1] if found is not None else None, place[1:], text)
    if isinstance(item, list):
        return [inner]
    names = fields(item) or {}
    if isinstance(item, Mapping):
        return {**{name: item[name] for name in names if name in _SAYS_WHERE}, place[0]: inner}
    return changed(item, {**{name: None for name in names if name not in _SAYS_WHERE}, str(place[0]): inner})


def number_of(item: Any, place: int) -> int:
    """The number of an item of a list: the one that it gives itself, else its place."""
    number = (fields(item) or {}).get("index")
    return number if type(number) is int else place


def _child(item: Any, name: str | int) -> tuple[str | int, Any] | None:
    if isinstance(item, list):
        return next(((name, child) for number, child in enumerate(item) if number_of(child, number) == name), None)
    inside = fields(item) or {}
    return (name, inside[str(name)]) if str(name) in inside else None
