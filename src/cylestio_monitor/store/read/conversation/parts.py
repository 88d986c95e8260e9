"""Parts of recorded messages and their texts, out of the JSON of the GenAI conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.model import TOOL_CALLS, TOOL_RESULTS
from cylestio_monitor.sanitize import pointer_token
from cylestio_monitor.store.read.values import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cylestio_monitor.store.read.queries import Row

MAX_LEAVES: Final = 200
"""Values of one tool call or result that are listed one by one."""

_MAX_DEPTH: Final = 12


class TextLeaf(NamedTuple):
    """One text of a part.

    Attributes:
        path: Its place inside the part, such as ``statement`` or ``[0].text``; empty where it is the whole part.
        text: The text; a number or another constant as JSON.
        pointer: JSON pointer of the text in the part; behind a ``#``, the pointer in a text that is itself JSON.
    """

    path: str
    text: str
    pointer: str = ""


class Leaves(NamedTuple):
    """The texts of a value.

    Attributes:
        found: The texts, at most `MAX_LEAVES`.
        left_out: The number of those beyond that.
        whole: The text whose JSON holds them; `None` where the value is no text that holds JSON.
    """

    found: list[TextLeaf]
    left_out: int = 0
    whole: TextLeaf | None = None


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
        base: JSON pointer of the content in the part.
        whole: The text whose JSON holds the leaves; `None` where the content is no text that holds JSON.
    """

    kind: str
    leaves: list[TextLeaf]
    left_out: int = 0
    places: list[PartPlace] = []
    name: str = ""
    call_id: str = ""
    tool_span: Row | None = None
    is_answered: bool = False
    base: str = ""
    whole: TextLeaf | None = None

    def show_whole(self) -> None:
        """Makes the text that holds JSON the only leaf: places in it are those of the whole text."""
        if self.whole is not None:
            self.leaves, self.left_out, self.whole = [self.whole], 0, None


def part_of(item: Any, place: PartPlace) -> TurnPart:
    """A part of a message.

    Args:
        item: Its decoded JSON, of any shape.
        place: Where it was recorded.
    """
    fields: Mapping[str, Any] = item if isinstance(item, dict) else {"content": item}
    kind = str(fields.get("type") or "text")
    name, call_id = str(fields.get("name") or ""), str(fields.get("id") or "")
    names: tuple[str, ...] = ("content", "uri", "file_id")
    if kind in TOOL_CALLS:
        names, kind = ("arguments", kind), "tool_call"
    elif kind in TOOL_RESULTS:
        names, kind = ("response", kind, "content"), "tool_result"
    field = next((one for one in names if one in fields), "")
    base = f"/{field}" if isinstance(item, dict) else ""
    found, left_out, whole = leaves_of(fields.get(field), base)
    return TurnPart(kind, found, left_out, [place], name, call_id, base=base, whole=whole)


def leaves_of(value: Any, pointer: str = "") -> Leaves:
    """The texts of a value, each with its place.

    Args:
        value: Decoded JSON; a text that is a JSON object or array is read as such.
        pointer: JSON pointer of the value in its part.
    """
    whole: TextLeaf | None = None
    if isinstance(value, str) and value[:1] in {"{", "["}:
        text, value = value, decoded(value, value)
        if value is not text:
            whole, pointer = TextLeaf("", text, pointer), f"{pointer}#"
    found: list[TextLeaf] = []
    left_out = 0
    for leaf in _leaves(value, pointer):
        if len(found) < MAX_LEAVES:
            found.append(leaf)
        else:
            left_out += 1
    return Leaves(found, left_out, whole)


def leaves_of_json(text: str | None) -> Leaves:
    """The same for an attribute that holds JSON; what is none is one text."""
    return leaves_of(decoded(text, text))


def _leaves(value: Any, pointer: str) -> Iterator[TextLeaf]:
    waiting: list[tuple[str, str, Any, int]] = [("", pointer, value, 0)]
    while waiting:
        path, place, item, depth = waiting.pop()
        if isinstance(item, dict) and item and depth < _MAX_DEPTH:
            waiting += [
                (f"{path}.{key}" if path else str(key), f"{place}/{pointer_token(key)}", item[key], depth + 1)
                for key in reversed(item)
            ]
        elif isinstance(item, list) and item and depth < _MAX_DEPTH:
            waiting += [
                (f"{path}[{number}]", f"{place}/{number}", item[number], depth + 1)
                for number in reversed(range(len(item)))
            ]
        elif item is not None:
            yield TextLeaf(path, item if isinstance(item, str) else msgspec.json.encode(item).decode(), place)


def said(leaves: Iterable[TextLeaf]) -> list[tuple[str, str]]:
    """The texts with their paths and without their pointers: equal for equal content, wherever it is recorded."""
    return [(leaf.path, leaf.text) for leaf in leaves]


def items_of(text: str | None) -> list[Any]:
    """The items of a content attribute; what is no JSON array is the only item."""
    value = decoded(text, text)
    return value if isinstance(value, list) else [] if value is None else [value]
