"""Parts of recorded messages and their texts, out of the JSON of the GenAI conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.model import TOOL_CALLS, TOOL_RESULTS
from cylestio_monitor.store.read.values import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cylestio_monitor.store.read.queries import Row

MAX_LEAVES: Final = 200
"""Values of one tool call or result that are listed one by one."""

_MAX_DEPTH: Final = 12


class TextLeaf(NamedTuple):
    """One text of a part.

    Attributes:
        path: Its place inside the part, such as ``statement`` or ``[0].text``; empty where it is the whole part.
        text: The text; a number or another constant as JSON.
    """

    path: str
    text: str


class PartPlace(NamedTuple):
    """One place where a part was recorded.

    Attributes:
        span_id: The span.
        attribute: The content attribute.
        pointer: JSON pointer of the part in the attribute.
    """

    span_id: str
    attribute: str
    pointer: str


class TurnPart(msgspec.Struct):
    """One part of a turn.

    Attributes:
        kind: ``text``, ``tool_call``, ``tool_result``, or the part's own type.
        leaves: Its texts, at most `MAX_LEAVES`.
        left_out: Texts beyond that.
        places: Where it was recorded, the first place first.
        name: The tool, of a call or a result.
        call_id: The id of the tool call.
        tool_span: The span of the call, where one was recorded.
        is_answered: Whether the tool call has an answer in the conversation.
    """

    kind: str
    leaves: list[TextLeaf]
    left_out: int = 0
    places: list[PartPlace] = []
    name: str = ""
    call_id: str = ""
    tool_span: Row | None = None
    is_answered: bool = False


def part_of(item: Any, place: PartPlace) -> TurnPart:
    """A part of a message.

    Args:
        item: Its decoded JSON, of any shape.
        place: Where it was recorded.
    """
    fields: Mapping[str, Any] = item if isinstance(item, dict) else {"content": item}
    kind = str(fields.get("type") or "text")
    name, call_id = str(fields.get("name") or ""), str(fields.get("id") or "")
    if kind in TOOL_CALLS:
        content, kind = fields.get("arguments", fields.get(kind)), "tool_call"
    elif kind in TOOL_RESULTS:
        content, kind = fields.get("response", fields.get(kind, fields.get("content"))), "tool_result"
    else:
        content = fields.get("content", fields.get("uri", fields.get("file_id")))
    found, left_out = leaves_of(content)
    return TurnPart(kind, found, left_out, [place], name, call_id)


def leaves_of(value: Any) -> tuple[list[TextLeaf], int]:
    """The texts of a value, each with its place, and the number of those beyond `MAX_LEAVES`.

    Args:
        value: Decoded JSON; a text that is a JSON object or array is read as such.
    """
    if isinstance(value, str) and value[:1] in {"{", "["}:
        value = decoded(value, value)
    found: list[TextLeaf] = []
    left_out = 0
    for leaf in _leaves(value):
        if len(found) < MAX_LEAVES:
            found.append(leaf)
        else:
            left_out += 1
    return found, left_out


def leaves_of_json(text: str | None) -> tuple[list[TextLeaf], int]:
    """The same for an attribute that holds JSON; what is none is one text."""
    return leaves_of(decoded(text, text))


def _leaves(value: Any) -> Iterator[TextLeaf]:
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    while waiting:
        path, item, depth = waiting.pop()
        if isinstance(item, dict) and item and depth < _MAX_DEPTH:
            waiting += [(f"{path}.{key}" if path else str(key), item[key], depth + 1) for key in reversed(item)]
        elif isinstance(item, list) and item and depth < _MAX_DEPTH:
            waiting += [(f"{path}[{number}]", item[number], depth + 1) for number in reversed(range(len(item)))]
        elif item is not None:
            yield TextLeaf(path, item if isinstance(item, str) else msgspec.json.encode(item).decode())


def items_of(text: str | None) -> list[Any]:
    """The items of a content attribute; what is no JSON array is the only item."""
    value = decoded(text, text)
    return value if isinstance(value, list) else [] if value is None else [value]
