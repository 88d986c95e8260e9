"""Small pieces of reading that the providers' modules share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cylestio_monitor.model import AttributeValue


def members(value: Any) -> Callable[[str], Any]:
    """Gives the fields of an SDK's object by name, and ``None`` for one that is absent.

    An absent attribute of a Pydantic model costs more than all that are there: its error is made to be read.

    Args:
        value: An object of the SDK, parsed JSON, or ``None``.
    """
    if isinstance(value, dict):
        return value.get
    own: dict[str, Any] = getattr(value, "__dict__", {})
    extra = getattr(value, "__pydantic_extra__", None)
    return {**extra, **own}.get if extra else own.get


def as_dict(value: Any) -> dict[str, Any]:
    """An item of a request or answer as a mapping, also where it is an object of the SDK."""
    if isinstance(value, dict):
        return value
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else {}


def as_list(value: Any) -> list[Any]:
    """A list; anything else counts as an empty one."""
    return value if isinstance(value, list) else []


def arguments(text: Any) -> Any:
    """The arguments of a tool call: what their JSON says, or the text itself where it is none."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


def numbers_and_texts(body: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, AttributeValue]:
    """Fields of a request as span attributes: those that hold a text, a number or a flag.

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
    """The texts in a list, or the one text."""
    return [value] if isinstance(value, str) else [item for item in as_list(value) if isinstance(item, str)]


def count(*values: Any) -> int | None:
    """The sum of the counts that are given; ``None`` where none is."""
    given = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return sum(given) if given else None


def number(value: Any) -> int | None:
    """A count, where it is one."""
    return value if type(value) is int else None


def text_or_none(value: Any) -> str | None:
    """A text that says something."""
    return value if isinstance(value, str) and value else None


def data_url_type(url: str) -> str | None:
    """The MIME type of a ``data:`` URL; ``None`` for any other."""
    return url[5:].partition(",")[0].partition(";")[0] if url.startswith("data:") else None
