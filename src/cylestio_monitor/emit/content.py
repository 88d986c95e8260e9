"""Messages, tool definitions, arguments and results as the JSON of the GenAI conventions.

The shapes are those of the conventions' message schemas: ``[{"role", "parts": [{"type", "content", ...}]}]``. The text
that goes in is already masked; here it is only given its form, and cut to the byte budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cylestio_monitor.model import Message, Part, ToolDefinition

_PLACE_OF_CONTENT = {
    "tool_call": "arguments",
    "server_tool_call": "server_tool_call",
    "tool_call_response": "response",
    "server_tool_call_response": "server_tool_call_response",
    "uri": "uri",
    "file": "file_id",
}


def messages(items: Iterable[Message], clean: Callable[[Part], object], max_bytes: int) -> str:
    """Input or output messages as JSON.

    Args:
        items: The messages, in order.
        clean: Gives the content of a part as it may be kept.
        max_bytes: Longest JSON, in bytes; longer texts are cut, and the JSON stays valid.
    """
    out: list[dict[str, Any]] = []
    for message in items:
        entry: dict[str, Any] = {"role": message.role, "parts": [_part(part, clean) for part in message.parts]}
        if message.finish_reason is not None:
            entry["finish_reason"] = message.finish_reason
        out.append(entry)
    return sanitize.to_json(out, max_bytes)


def system(parts: Iterable[Part], clean: Callable[[Part], object], max_bytes: int) -> str:
    """System instructions as JSON: a list of parts."""
    return sanitize.to_json([_part(part, clean) for part in parts], max_bytes)


def tools(items: Iterable[ToolDefinition], clean: Callable[[object, object], object], max_bytes: int) -> str:
    """Tool definitions as JSON; `clean` is given the text of a definition and the definition itself."""
    out = [
        {
            "type": tool.type,
            "name": tool.name,
            "description": clean(tool.description, tool),
            "parameters": clean(tool.parameters, tool),
        }
        for tool in items
    ]
    return sanitize.to_json(out, max_bytes)


def _part(part: Part, clean: Callable[[Part], object]) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": part.type}
    if part.id is not None:
        entry["id"] = part.id
    if part.name is not None:
        entry["name"] = part.name
    if part.mime_type is not None:
        entry["mime_type"] = part.mime_type
    if part.type != "blob" and part.content is not None:
        entry[_PLACE_OF_CONTENT.get(part.type, "content")] = clean(part)
    return entry
