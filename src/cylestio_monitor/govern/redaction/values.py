"""Values of any kind with their texts changed, and their types kept."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[str, str], str]
    """Returns a text changed; the second argument is the nearest key above it."""

_MAX_DEPTH: Final = 40
_MAX_NODES: Final = 50_000
_BINARY: Final = re.compile(r"data:[^\s,]*;base64,[A-Za-z0-9+/_=%-]*|[A-Za-z0-9+/_=-]{256,}", re.ASCII)
_LONG_NUMBER: Final = 10**7  # a shorter number is no card, phone or national id


class UnchangeableError(ValueError):
    """A value holds something to be changed at a place that cannot be."""


class ContentKeys(NamedTuple):
    """The keys of a provider's JSON whose values are no plain text.

    Attributes:
        fixed: Keys whose values are no content, such as ids: they stay as they are.
        json_keys: Keys whose text is JSON: the texts inside it are changed.
        free: Keys whose values are made by a model or a tool, in which the names of `fixed` mean something else.
        binary: Keys whose text stays as it is where it is base64 or a ``data:`` URL.
        repeating: Fields of a request that ask for the answer a second time, in pieces: such an answer is not changed.
    """

    fixed: frozenset[str] = frozenset()
    json_keys: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()
    binary: frozenset[str] = frozenset()
    repeating: frozenset[str] = frozenset()


NO_KEYS: Final = ContentKeys()


class ChangedValue:
    """One walk over a value. What is not changed stays the same object; what is changed is a copy of its type."""

    def __init__(self, change: Change, keys: ContentKeys = NO_KEYS) -> None:
        """Takes the change.

        Args:
            change: Changes a text.
            keys: The keys whose values are no plain text.
        """
        self._change = change
        self._keys = keys
        self._left = _MAX_NODES

    def of(self, item: Any, key: str = "", depth: int = 0, above: tuple[int, ...] = ()) -> Any:
        """Returns the value changed.

        Args:
            item: The value.
            key: The nearest key above it.
            depth: Its depth.
            above: Identities of the values that contain it.

        Raises:
            UnchangeableError: The value is too deep or too large, contains itself, or cannot be copied with a change.
        """
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH or id(item) in above:
            raise UnchangeableError("too large, too deep, or part of itself")
        if item is None or isinstance(item, bool):
            return item
        if isinstance(item, str):
            return self._text(item, key)
        if isinstance(item, (int, float)):
            return self._number(item, key)
        if isinstance(item, (bytes, bytearray, memoryview)):
            text = bytes(item).decode("utf-8", "surrogateescape")
            changed = self._change(text, key)
            kind = bytes if isinstance(item, memoryview) else type(item)
            return item if changed == text else kind(changed.encode("utf-8", "surrogateescape"))
        inside = (*above, id(item))
        if isinstance(item, Mapping):
            return self._mapping(item, depth, inside)
        if isinstance(item, (list, tuple, set, frozenset)):
            return self._items(item, key, depth, inside)
        fields = _fields(item)
        if fields is not None:
            return self._object(item, fields, depth, inside)
        self._refuse(item, key, depth, inside)
        return item

    def _refuse(self, item: object, key: str, depth: int, inside: tuple[int, ...]) -> None:
        """Raises `UnchangeableError` where the text of an object, or a value that it holds, would be changed."""
        if isinstance(item, Iterator) and not hasattr(item, "read"):
            raise UnchangeableError(f"the values of a {type(item).__name__} are not known")
        text = str(item)
        held = [value for _, value in _held(item)] if type(item).__repr__ is object.__repr__ else []
        if self._change(text, key) != text or any(self.of(one, key, depth + 1, inside) is not one for one in held):
            raise UnchangeableError(f"an object of the type {type(item).__name__}")

    def _text(self, item: str, key: str) -> str:
        text = item if type(item) is str else str.__str__(item)
        if key in self._keys.binary and _BINARY.fullmatch(text):
            return item
        if key in self._keys.json_keys:
            try:
                inner = msgspec.json.decode(text)
            except ValueError:
                pass
            else:
                changed = ChangedValue(self._change).of(inner)
                # A key that stands twice in the text is once in the value: what is only in the text counts too.
                is_same = changed is inner and self._change(text, "") == text
                return item if is_same else msgspec.json.encode(changed).decode()
        replaced = self._change(text, key)
        return item if replaced == text else replaced

    def _number(self, item: float, key: str) -> object:
        if not _LONG_NUMBER <= abs(item) < 10**40 or item != int(item):
            return item
        text = str(abs(int(item)))
        changed = self._change(text, key)
        return item if changed == text else changed

    def _field(self, name: str, child: Any, depth: int, inside: tuple[int, ...]) -> Any:
        if name in self._keys.free and isinstance(child, Mapping):
            return ChangedValue(self._change).of(child, name, depth + 1, inside)
        return self.of(child, name, depth + 1, inside)

    def _mapping(self, item: Mapping[Any, Any], depth: int, inside: tuple[int, ...]) -> object:
        out: dict[Any, Any] = {}
        is_same = True
        for name, child in item.items():
            if isinstance(name, str) and name in self._keys.fixed:
                out[name] = child
                continue
            new_name = self.of(name, "", depth + 1, inside)
            changed = self._field(str(name), child, depth, inside)
            is_same = is_same and changed is child and new_name == name
            out[new_name] = changed
        if is_same:
            return item
        if type(item) is dict:
            return out
        try:
            return type(item)(out)  # type: ignore[call-arg]  # a mapping of any class
        except Exception as error:  # whatever the class does
            raise UnchangeableError(f"a mapping of the type {type(item).__name__}") from error

    def _items(self, item: Any, key: str, depth: int, inside: tuple[int, ...]) -> object:
        children = list(item)
        changed = [self.of(child, key, depth + 1, inside) for child in children]
        if all(new is old for new, old in zip(changed, children, strict=True)):
            return item
        try:
            return item._make(changed) if hasattr(item, "_make") else type(item)(changed)
        except Exception as error:  # whatever the class does
            raise UnchangeableError(f"a sequence of the type {type(item).__name__}") from error

    def _object(self, item: Any, fields: dict[str, Any], depth: int, inside: tuple[int, ...]) -> object:
        changes: dict[str, Any] = {}
        for name, child in fields.items():
            if name in self._keys.fixed:
                continue
            changed = self._field(name, child, depth, inside)
            if changed is not child:
                changes[name] = changed
        if not changes:
            return item
        try:
            if hasattr(item, "model_copy"):
                return item.model_copy(update=changes)
            made = copy.copy(item)
            for name, child in changes.items():
                object.__setattr__(made, name, child)
        except Exception as error:  # whatever the class does
            raise UnchangeableError(f"an object of the type {type(item).__name__}") from error
        return made


def _held(item: object) -> Iterator[tuple[str, Any]]:
    """Yields what an object without a text of its own holds in its attributes."""
    yield from getattr(item, "__dict__", {}).items()
    for kind in type(item).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(item, name):
                yield name, getattr(item, name)


def _fields(item: Any) -> dict[str, Any] | None:
    """The fields of a model of pydantic, a dataclass or a struct, with their values; ``None`` for another object."""
    if isinstance(item, type):
        return None
    if hasattr(type(item), "model_copy"):
        return {**vars(item), **(getattr(item, "__pydantic_extra__", None) or {})}
    if dataclasses.is_dataclass(item):
        return {field.name: getattr(item, field.name, None) for field in dataclasses.fields(item)}
    if isinstance(item, msgspec.Struct):
        return {name: getattr(item, name) for name in item.__struct_fields__}
    return None
