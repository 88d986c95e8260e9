"""Field access that the readers of every provider share: typed, tolerant of wrong types, and contained on errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cylestio_monitor import sanitize
from cylestio_monitor.capture.parsing.reading import pass_over, unread
from cylestio_monitor.model import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cylestio_monitor.model import AttributeValue

_INT64 = 1 << 63


class Fields(dict[str, Any]):
    """A JSON object whose members are also attributes, as on the objects of an SDK; absent ones are ``None``."""

    __getattr__ = dict.get


_CONTAINERS = (str, list, dict, tuple, Fields)
_NOTHING: dict[str, Any] = {}


def members(value: Any) -> Callable[[str], Any]:
    """Returns a getter of the fields of an SDK object by name, which gives ``None`` for an absent field.

    An absent attribute of a Pydantic model costs more than all present ones, because its error message is built.

    Args:
        value: An object of the SDK, parsed JSON, or ``None``.
    """
    if isinstance(value, dict):
        return value.get
    own: dict[str, Any] | None = getattr(value, "__dict__", None)
    if own is None:
        pass_over(value)
        return _NOTHING.get
    extra = getattr(value, "__pydantic_extra__", None)
    return {**extra, **own}.get if extra else own.get


def as_dict(value: Any) -> dict[str, Any]:
    """Returns an item of a request or answer as a plain mapping; anything else counts as an empty one."""
    if type(value) is dict or type(value) is Fields:
        return value
    if isinstance(value, dict):
        return dict(value.items())  # a subclass is serialised by its `items`, whatever its other methods return
    dumped = _dumped(value)
    if isinstance(dumped, dict):
        return dumped
    pass_over(value)
    return {}


def _dumped(value: Any) -> Any:
    """Returns what a Pydantic model dumps; it says nothing of values that are not of the type of their field."""
    dump = getattr(value, "model_dump", None)
    if not callable(dump):
        return None
    try:
        return dump(warnings=False)
    except (TypeError, ValueError):  # Pydantic 1, behind an SDK that has the method of Pydantic 2
        return dump()


def as_object(value: Any) -> Any:
    """Returns an object of an SDK, or parsed JSON with attributes; anything else counts as one without fields."""
    if type(value) is dict:
        return Fields(value)
    if isinstance(value, dict) or hasattr(value, "__dict__"):
        return value
    pass_over(value)
    return Fields()


def as_list(value: Any) -> list[Any]:
    """Returns a list or tuple as a list; anything else counts as an empty one."""
    if type(value) is list:
        return value
    if isinstance(value, (list, tuple)):
        return list(value)
    pass_over(value)
    return []


def plain_text(value: Any) -> str | None:
    """Returns the characters of a text, also of a subclass that overrides its methods; ``None`` for other types."""
    if type(value) is str:
        return value
    return str.__str__(value) if isinstance(value, str) else None


def text_or_none(value: Any) -> str | None:
    """Returns a text that is not empty, else ``None``."""
    text = plain_text(value)
    if text is None:
        pass_over(value)
    return text or None


def label(value: Any) -> str:
    """Returns a name of any type as text; an empty one for nothing."""
    text = plain_text(value)
    return text if text is not None else "" if is_empty(value) else sanitize.clean_text(value)


def is_empty(value: Any) -> bool:
    """Returns whether a value is nothing, or an empty text, list or object; the code of a subclass does not run."""
    return value is None or (type(value) in _CONTAINERS and not value)


def place_of(value: Any) -> int | str:
    """Returns the index of a block or a choice as it may be a key; an empty one where it is of another type."""
    return value if type(value) is int or type(value) is str else ""


def role_of(entry: Mapping[str, Any], default: str = "user") -> str:
    """Returns the role of a message, or the default where it is missing or no text."""
    return text_or_none(entry.get("role")) or default


def parse_json(text: str | bytes) -> Any:
    """Parses JSON into `Fields` and lists; a key that occurs twice in an object keeps all of its values.

    Parsers differ in the value that they take, so each one is kept: the last under its key, the others under the key
    with a suffix.

    Raises:
        ValueError: The text is no JSON.
        RecursionError: It is nested too deep.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> Fields:
    found = Fields(pairs)
    if len(found) != len(pairs):
        last = {key: number for number, (key, _) in enumerate(pairs)}
        for number, (key, value) in enumerate(pairs):
            if last[key] != number:
                found[f"{key} (duplicate {number})"] = value
    return found


def arguments(text: Any) -> Any:
    """Returns the arguments of a tool call: the value of their JSON, or the text itself where it is no JSON."""
    plain = plain_text(text)
    if plain is None:
        return text
    try:
        return parse_json(plain) if plain.strip() else {}
    except (ValueError, RecursionError):
        return plain


def contained(read: Callable[[Any, str], list[Part]], item: Any, path: str) -> list[Part]:
    """Reads one item; an item that cannot be read becomes one unreadable part and does not affect the others."""
    try:
        return read(item, path)
    except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; the other items are still read
        return unread(error, item, path)


def read_items(read: Callable[[Any, str], list[Part]], value: Any, path: str) -> list[Part]:
    """Reads the items of a list, or one item that stands in place of a list."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        return contained(read, value, path)
    return [part for place, item in enumerate(value) for part in contained(read, item, f"{path}[{place}]")]


def other_fields(entry: Mapping[str, Any], known: frozenset[str], path: str) -> list[Part]:
    """Returns the fields of an object that no reader knows, as one part, so that they are scanned too.

    Args:
        entry: The object.
        known: The fields that were read, and those without any text for the model.
        path: The place of the object.
    """
    if entry.keys() <= known:
        return []
    rest = {name: value for name, value in entry.items() if name not in known and not is_empty(value)}
    return [Part("json", rest, path=path)] if rest else []


def numbers_and_texts(body: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, AttributeValue]:
    """Returns fields of a request that hold a text, a number or a flag, as span attributes.

    Args:
        body: The request.
        table: From the field to the attribute.
    """
    return {
        attribute: body[field]
        for field, attribute in table.items()
        if field in body and isinstance(body[field], (str, int, float))
    }


def texts(value: Any) -> list[str]:
    """Returns the texts in a list, or the one text."""
    if isinstance(value, str):
        return [value]
    given = as_list(value)
    for item in given:
        if not isinstance(item, str):
            pass_over(item)
    return [item for item in given if isinstance(item, str)]


def count(*values: Any) -> int | None:
    """Returns the sum of the given counts; ``None`` where none is given."""
    given = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return sum(given) if given else None


def number(value: Any) -> int | None:
    """Returns an integer of 64 bits, else ``None``."""
    return value if type(value) is int and -_INT64 <= value < _INT64 else None


def whole(value: Any) -> int | None:
    """Returns an integer that a server may also write as a number with a fraction of zero, else ``None``."""
    return int(value) if type(value) is float and value.is_integer() else number(value)


def joined(texts_: Iterable[Any]) -> str:
    """Returns the pieces that are texts as one text."""
    return "".join(piece for piece in texts_ if isinstance(piece, str))
