"""Splits a file into the texts that a model, a tool or a person would read, each with its surface.

A plain text is one segment. Of JSON and JSON lines every string is a segment: messages by their role, tool calls, tool
results, tool definitions and the entries of an `mcp.json` are recognised by their shape.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cylestio_monitor.ci.files import TextFile
    from cylestio_monitor.model import Subtype, Target

_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})
_INSTRUCTIONS: Final = re.compile(
    r"(?i)(^|/)(agents|claude|gemini|skill|copilot-instructions)\.md$|\.(mdc|cursorrules|windsurfrules|clinerules)$"
)
_SYSTEM: Final = re.compile(r"(?i)system[^/]*prompt|prompt[^/]*system|(^|/)system\.[^/]+$|instructions?\.[^/]+$")


class Surface(NamedTuple):
    """The side of a call and the surface of a text."""

    target: Target
    subtype: Subtype


class Segment(NamedTuple):
    """One text of a file.

    Attributes:
        text: The text, decoded.
        surface: Its surface.
        path: Its place in a JSON document, such as ``messages[2].content``; empty for a plain text.
        key: The JSON key of the text, where it has one.
        start: The offset of the text in the file, in code points.
        escaped: The text is the content of a JSON string with escapes: offsets inside it need a translation.
    """

    text: str
    surface: Surface
    path: str
    key: str | None
    start: int
    escaped: bool = False


_USER: Final = Surface("input", "llm")
_SURFACES: Final[dict[str, Surface]] = {
    "system": Surface("input", "system"),
    "developer": Surface("input", "system"),
    "instructions": Surface("input", "system"),
    "user": _USER,
    "prompt": _USER,
    "assistant": Surface("output", "llm"),
    "model": Surface("output", "llm"),
    "ai": Surface("output", "llm"),
    "completion": Surface("output", "llm"),
    "response": Surface("output", "llm"),
    "tool": Surface("input", "tool_result"),
    "function": Surface("input", "tool_result"),
    "tool_result": Surface("input", "tool_result"),
    "function_call_output": Surface("input", "tool_result"),
    "tool_call_response": Surface("input", "tool_result"),
    "tool_use": Surface("output", "tool_call"),
    "tool_call": Surface("output", "tool_call"),
    "tool_calls": Surface("output", "tool_call"),
    "function_call": Surface("output", "tool_call"),
    "memory": Surface("input", "memory"),
    "memories": Surface("input", "memory"),
}
"""Roles, part types and keys to the surface of the strings below them."""

_NO_KEYS: Final = frozenset({"function"})
"""Roles that have another meaning as a key."""

_DEFINITION: Final = Surface("input", "tool_definition")
_SCHEMAS: Final = frozenset({"inputSchema", "input_schema", "parameters", "outputSchema", "annotations"})


def split(file: TextFile, surface: Surface | None = None) -> list[Segment]:
    """Returns the segments of a file in the order of the file.

    Args:
        file: The file.
        surface: The surface of a plain text; without it the name of the file decides. With it, JSON is a plain text.
    """
    if surface is None:
        suffix = PurePath(file.name).suffix.lower()
        if suffix in _JSON_LINES or (file.name == "-" and _is_json_lines(file.text)):
            return _of_lines(file.text)
        if suffix == ".json" or (file.name == "-" and file.text.lstrip()[:1] in {"{", "["}):
            segments = _of_json(file.text, 0, "")
            if segments is not None:
                return segments
    return [Segment(file.text, surface or _surface_of_name(file.name), "", None, 0)]


def _surface_of_name(name: str) -> Surface:
    path = PurePath(name).as_posix()
    if _INSTRUCTIONS.search(path):
        return _DEFINITION
    return _SURFACES["system"] if _SYSTEM.search(path) else _USER


def _is_json_lines(text: str) -> bool:
    lines = [line for line in text.splitlines()[:3] if line.strip()]
    return len(lines) > 1 and all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for line in lines)


def _of_lines(text: str) -> list[Segment]:
    segments: list[Segment] = []
    start = 0
    for number, line in enumerate(text.splitlines(keepends=True)):
        found = _of_json(line, start, f"[{number}]")
        segments += (
            [Segment(line, _USER, f"[{number}]", None, start)] if found is None and line.strip() else found or []
        )
        start += len(line)
    return segments


def _of_json(text: str, start: int, path: str) -> list[Segment] | None:
    """Returns the strings and numbers of a JSON text; ``None`` where it is no JSON."""
    try:
        document = json.loads(text, object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
        # The parser gives values without places; the tokens give the places of the same values in the same order.
        return list(_walk(document, _TOKEN.finditer(text), start, path, None, _USER))
    except (ValueError, RecursionError):
        return None


class _Pairs(list[tuple[str, Any]]):
    """The members of an object; a key that stands twice keeps both values."""


_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|-?(?:\d[\d.eE+-]*|Infinity)|NaN', re.DOTALL)


def _walk(
    value: Any, tokens: Iterator[re.Match[str]], start: int, path: str, key: str | None, surface: Surface
) -> Iterator[Segment]:
    if isinstance(value, _Pairs):
        surface = _surface_of_object(dict(value), surface)
        for name, item in value:
            next(tokens)  # the key
            below = f"{path}.{name}" if path else name
            yield from _walk(item, tokens, start, below, name, _surface_of_key(name, item, surface))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, tokens, start, f"{path}[{index}]", key, surface)
    elif value is not None and not isinstance(value, bool):
        token = next(tokens)
        if value and isinstance(value, str):  # else NaN or an infinity
            place = token.start(1) if token[1] is not None else token.start()
            yield Segment(value, surface, path, key, start + place, "\\" in (token[1] or ""))


def _surface_of_object(value: dict[str, Any], surface: Surface) -> Surface:
    for name in ("type", "role"):
        kind = value.get(name)
        if isinstance(kind, str) and kind in _SURFACES:
            return _SURFACES[kind]
    if isinstance(value.get("name"), str) and ("description" in value or not _SCHEMAS.isdisjoint(value)):
        return _DEFINITION
    return surface


def _surface_of_key(name: str, value: Any, surface: Surface) -> Surface:
    if name in {"mcpServers", "tools", "servers"} and isinstance(value, (dict, list)):
        return _DEFINITION
    return surface if name in _NO_KEYS else _SURFACES.get(name, surface)
