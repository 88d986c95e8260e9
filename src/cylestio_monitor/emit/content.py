"""Messages, tool definitions, arguments and results as the JSON of the GenAI conventions.

The shapes are those of the conventions' message schemas: ``[{"role", "parts": [{"type", "content", ...}]}]``. The text
that goes in is already masked; here it is only given its form, and cut to the byte budget.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from cylestio_monitor import sanitize, semconv

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.model import AttributeValue, Call, Message, Part, Result, ToolDefinition

Clean: TypeAlias = Callable[[object, object], object]
"""Gives a content as it may be kept; its second argument is the part, tool, call or result that it belongs to."""

_PLACE_OF_CONTENT = {
    "tool_call": "arguments",
    "server_tool_call": "server_tool_call",
    "tool_call_response": "response",
    "server_tool_call_response": "server_tool_call_response",
    "uri": "uri",
    "file": "file_id",
}


def attributes(call: Call, result: Result | None, clean: Clean, max_bytes: int) -> dict[str, AttributeValue]:
    """The content attributes of a call and its answer.

    Args:
        call: What was asked.
        result: What came back, as far as it did.
        clean: Masks what may not be kept.
        max_bytes: Longest JSON of one attribute, in bytes; longer texts are cut, and the JSON stays valid.
    """
    out: dict[str, AttributeValue] = {}
    if call.system:
        parts = [_part(part, clean) for part in call.system]
        out[semconv.SYSTEM_INSTRUCTIONS] = _json(parts, max_bytes, parts)
    if call.messages:
        out[semconv.INPUT_MESSAGES] = _messages(call.messages, clean, max_bytes)
    if tools := [*call.tools, *(result.tools if result is not None else ())]:
        out[semconv.TOOL_DEFINITIONS] = sanitize.to_json([_tool(tool, clean) for tool in tools], max_bytes)
    if call.arguments is not None:
        out[semconv.TOOL_CALL_ARGUMENTS] = sanitize.to_json(clean(call.arguments, call), max_bytes)
    if result is not None:
        if result.messages:
            out[semconv.OUTPUT_MESSAGES] = _messages(result.messages, clean, max_bytes)
        if result.response is not None:
            out[semconv.TOOL_CALL_RESULT] = sanitize.to_json(clean(result.response, result), max_bytes)
    return out


def _messages(items: Iterable[Message], clean: Clean, max_bytes: int) -> str:
    out: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for message in items:
        parts = [_part(part, clean) for part in message.parts]
        entry: dict[str, Any] = {"role": message.role, "parts": parts}
        if message.finish_reason is not None:
            entry["finish_reason"] = message.finish_reason
        out.append(entry)
        entries += ({**entry, "parts": ""}, *parts)
    return _json(out, max_bytes, entries)


def _json(value: object, max_bytes: int, parts: list[dict[str, Any]]) -> str:
    """Messages as JSON; those that hold nothing but text within the budget need not be walked for it."""
    size = 0
    for part in parts:
        for content in part.values():
            if type(content) is not str or "\x00" in content:
                return sanitize.to_json(value, max_bytes)
            size += len(content)
    return sanitize.to_json(value, max_bytes, is_plain=size <= max_bytes)


def _tool(tool: ToolDefinition, clean: Clean) -> dict[str, Any]:
    return {
        "type": tool.type,
        "name": tool.name,
        "description": clean(tool.description, tool),
        "parameters": clean(tool.parameters, tool),
    }


def _part(part: Part, clean: Clean) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": part.type}
    if part.id is not None:
        entry["id"] = part.id
    if part.name is not None:
        entry["name"] = part.name
    if part.mime_type is not None:
        entry["mime_type"] = part.mime_type
    if part.type != "blob" and part.content is not None:
        entry[_PLACE_OF_CONTENT.get(part.type, "content")] = clean(part.content, part)
    return entry
