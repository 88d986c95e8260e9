"""Messages, tool definitions, arguments and results as the JSON of the GenAI conventions.

The shapes are those of the conventions' message schemas: ``[{"role", "parts": [{"type", "content", ...}]}]``. The
content is masked by its caller; this module gives it its form and cuts it to the byte budget.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from cylestio_monitor import sanitize, semconv

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.model import AttributeValue, Call, Message, Part, Result, ToolDefinition

Clean: TypeAlias = Callable[[object, object], object]
"""Returns a content as it may be recorded; the second argument is its part, tool, call or result."""

Redact: TypeAlias = Callable[[str], str]
"""Makes a name or an id safe."""


def attributes(
    call: Call, result: Result | None, clean: Clean, redact: Redact, max_bytes: int
) -> dict[str, AttributeValue]:
    """Returns the content attributes of a call and its answer.

    Args:
        call: The call.
        result: Its answer, as far as it came.
        clean: Masks content that must not be recorded as it is.
        redact: Makes names, ids and roles safe.
        max_bytes: Longest JSON of one attribute, in bytes; longer texts are cut, and the JSON stays valid.
    """
    out: dict[str, AttributeValue] = {}
    if call.system:
        parts = [_part(part, clean, redact) for part in call.system]
        out[semconv.SYSTEM_INSTRUCTIONS] = _json(parts, max_bytes, parts)
    if call.messages:
        out[semconv.INPUT_MESSAGES] = _messages(call.messages, clean, redact, max_bytes)
    if tools := [*call.tools, *(result.tools if result is not None else ())]:
        out[semconv.TOOL_DEFINITIONS] = sanitize.to_json([_tool(tool, clean, redact) for tool in tools], max_bytes)
    if call.arguments is not None:
        out[semconv.TOOL_CALL_ARGUMENTS] = sanitize.to_json(clean(call.arguments, call), max_bytes)
    if result is not None:
        if result.messages:
            out[semconv.OUTPUT_MESSAGES] = _messages(result.messages, clean, redact, max_bytes)
        if result.response is not None:
            out[semconv.TOOL_CALL_RESULT] = sanitize.to_json(clean(result.response, result), max_bytes)
    return out


def _messages(items: Iterable[Message], clean: Clean, redact: Redact, max_bytes: int) -> str:
    out: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for message in items:
        parts = [_part(part, clean, redact) for part in message.parts]
        entry: dict[str, Any] = {"role": _name(redact, message.role), "parts": parts}
        if message.finish_reason is not None:
            entry["finish_reason"] = _name(redact, message.finish_reason)
        out.append(entry)
        entries += ({**entry, "parts": ""}, *parts)
    return _json(out, max_bytes, entries)


def _json(value: object, max_bytes: int, parts: list[dict[str, Any]]) -> str:
    """Returns messages as JSON; messages that hold only text within the budget are not walked for it."""
    size = 0
    for part in parts:
        for content in part.values():
            if type(content) is not str or "\x00" in content:
                return sanitize.to_json(value, max_bytes)
            size += len(content)
    return sanitize.to_json(value, max_bytes, is_plain=size <= max_bytes)


def _tool(tool: ToolDefinition, clean: Clean, redact: Redact) -> dict[str, Any]:
    return {
        "type": _name(redact, tool.type),
        "name": _name(redact, tool.name),
        "description": clean(tool.description, tool),
        "parameters": clean(tool.parameters, tool),
    }


def _part(part: Part, clean: Clean, redact: Redact) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": _name(redact, part.type)}
    if part.id is not None:
        entry["id"] = _name(redact, part.id)
    if part.name is not None:
        entry["name"] = _name(redact, part.name)
    if part.mime_type is not None:
        entry["mime_type"] = _name(redact, part.mime_type)
    if part.type != "blob" and part.content is not None:
        entry[part.content_field] = clean(part.content, part)
    return entry


def _name(redact: Redact, value: object) -> str:
    """Returns a name, an id or a role as safe text, whatever type an SDK or a server gave it."""
    return redact(value if type(value) is str else sanitize.clean_text(value))
