"""The OpenAI Responses API: input items, instructions, and whole answers.

Paths name places in the JSON: ``input``, ``input[3].content[0]``, ``instructions``, ``output[0].content[0]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    as_list,
    members,
    number,
    other_fields,
    plain_text,
    read_items,
    role_of,
    text_or_none,
)
from cylestio_monitor.capture.parsing.reading import unread
from cylestio_monitor.capture.sdks.openai.content_blocks import blocks, without_images
from cylestio_monitor.capture.sdks.openai.request_fields import tool
from cylestio_monitor.model import Message, Part, Result, ToolDefinition, Usage

if TYPE_CHECKING:
    from cylestio_monitor.model import Call

_FINISH_REASONS = {"max_output_tokens": "length", "failed": "error", "cancelled": "error", "incomplete": "error"}
"""From the reason of an incomplete response, or the status of another, to the finish reason of the conventions."""

_UNFINISHED = frozenset({"in_progress", "queued"})
_ON_THE_SERVER = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call"}
)
_MESSAGE = frozenset({"type", "role", "content", "id", "status", "phase", "agent", "call_id", "name"})
_NO_TEXT = frozenset({"type", "id", "call_id", "status", "result", "encrypted_content", "agent"})


def conversation(body: dict[str, Any]) -> str | None:
    """Returns the id of the conversation that a request names."""
    given = body.get("conversation")
    return text_or_none(given.get("id") if isinstance(given, dict) else given)


def system(body: dict[str, Any]) -> list[Part]:
    """Returns the instructions: a text, or in a stored response a list of items."""
    given = body.get("instructions")
    if (text := plain_text(given)) is not None:
        return [Part("text", text, path="instructions")]
    return read_items(item_parts, given, "instructions")


def messages(body: dict[str, Any], field: str = "input") -> list[Message]:
    """Returns the input: one text, or items of many kinds."""
    given = body.get(field)
    if given is None:
        return []
    if isinstance(given, (list, tuple)):
        return [_contained(item, f"{field}[{place}]") for place, item in enumerate(given)]
    return [_contained(given, field)]


def _contained(given: Any, path: str) -> Message:
    try:
        return item(given, path)
    except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; other items are still read
        return Message("user", unread(error, given, path))


def item_parts(given: Any, path: str) -> list[Part]:
    """Returns the parts of one item."""
    return item(given, path).parts


def item(given: Any, path: str) -> Message:
    """Returns one item, of an input or an output: a message, a tool call, its result, or the model's reasoning."""
    if (text := plain_text(given)) is not None:
        return Message("user", [Part("text", text, path=path)])
    entry = as_dict(given)
    if not entry:
        return Message("user", [Part("json", given, path=path)])
    kind = text_or_none(entry.get("type")) or "message"
    name, call_id = text_or_none(entry.get("name")), text_or_none(entry.get("call_id") or entry.get("id"))
    if kind == "message":
        parts = read_items(blocks, entry.get("content"), f"{path}.content")
        return Message(role_of(entry), parts + other_fields(entry, _MESSAGE, path))
    if kind == "reasoning":
        found = [part for field in ("summary", "content") for part in _reasoning(entry.get(field), f"{path}.{field}")]
        return Message("assistant", found or [Part("reasoning", None, path=path)])
    if kind.endswith("_output"):
        output = without_images(entry.get("output"))
        return Message("tool", [Part("tool_call_response", output, name, call_id, f"{path}.output")])
    if kind in {"mcp_call", "mcp_approval_request", "function_call", "custom_tool_call"}:
        return Message("assistant", _named_call(entry, kind, path))
    if kind == "code_interpreter_call":
        code = Part("server_tool_call", {"code": entry.get("code")}, "code_interpreter", call_id, path)
        return Message("assistant", [code, *_results(entry, "code_interpreter", call_id, "outputs", path)])
    if kind == "file_search_call":
        query = Part("server_tool_call", {"queries": entry.get("queries")}, "file_search", call_id, path)
        return Message("assistant", [query, *_results(entry, "file_search", call_id, "results", path)])
    rest = {field: value for field, value in entry.items() if field not in _NO_TEXT}
    if kind.endswith("_call"):
        part = "server_tool_call" if kind in _ON_THE_SERVER else "tool_call"
        return Message("assistant", [Part(part, rest, kind.removesuffix("_call"), call_id, path)])
    return Message(role_of(entry, "assistant"), [Part(kind, without_images(rest), path=path)])


def _reasoning(value: Any, path: str) -> list[Part]:
    return [
        Part("reasoning" if part.type == "text" else part.type, part.content, path=part.path)
        for part in read_items(blocks, value, path)
    ]


def _named_call(entry: dict[str, Any], kind: str, path: str) -> list[Part]:
    """A call that names its tool, and for a server of the Model Context Protocol also its output."""
    name, call_id = text_or_none(entry.get("name")), text_or_none(entry.get("call_id") or entry.get("id"))
    if kind == "custom_tool_call":
        return [Part("tool_call", entry.get("input"), name, call_id, f"{path}.input")]
    part = "tool_call" if kind == "function_call" else "server_tool_call"
    parts = [Part(part, arguments(entry.get("arguments")), name, call_id, f"{path}.arguments")]
    if kind != "function_call":
        parts += [
            Part("server_tool_call_response", value, name, call_id, f"{path}.{field}")
            for field in ("output", "error")
            if (value := entry.get(field)) is not None
        ]
    return parts


def _results(entry: dict[str, Any], name: str, call_id: str | None, field: str, path: str) -> list[Part]:
    value = entry.get(field)
    return [Part("server_tool_call_response", without_images(value), name, call_id, f"{path}.{field}")] if value else []


def listed_tools(items: Any, field: str) -> list[ToolDefinition]:
    """Returns the tool definitions that servers of the Model Context Protocol listed, from the items that hold them."""
    found: list[ToolDefinition] = []
    for place, given in enumerate(as_list(items)):
        kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
        if kind == "mcp_list_tools":
            listed = as_list(as_dict(given).get("tools"))
            found += [tool(one, f"{field}[{place}].tools[{number_}]") for number_, one in enumerate(listed)]
    return found


def answer(response: Any, call: Call) -> Result:
    """Reads a whole response."""
    output = members(response)("output")
    return result_of(response, read_items(_answer_item, output, "output"), call)


def _answer_item(given: Any, path: str) -> list[Part]:
    if getattr(given, "type", None) == "message" and isinstance(getattr(given, "content", None), list):
        # The usual item is read without making a mapping of it first.
        return [
            part
            for place, piece in enumerate(given.content)
            for part in (
                [Part("text", piece.text, path=f"{path}.content[{place}]")]
                if getattr(piece, "type", None) == "output_text" and not piece.annotations and type(piece.text) is str
                else blocks(piece, f"{path}.content[{place}]")
            )
        ]
    return item_parts(given, path)


def result_of(response: Any, parts: list[Part], _: Call, *, is_whole: bool = True) -> Result:
    """Returns the result of a response with the given parts.

    Args:
        response: The response, or its beginning where the end is missing; ``None`` where nothing came.
        parts: The parts of the answer.
        is_whole: The response has ended; otherwise it has no finish reason, and its message counts as an error.
    """
    get = members(response)
    status = text_or_none(get("status"))
    reason = _finish_reason(status, get, parts) if is_whole else None
    listed = listed_tools(get("output"), "output") if is_whole else []
    out = Result(
        messages=[Message("assistant", parts, reason or "error")] if parts else [],
        tools=listed,
        response_id=text_or_none(get("id")),
        model=text_or_none(get("model")),
        finish_reasons=[reason] if reason else [],
        usage=usage(get("usage")),
    )
    if status and is_whole:
        out.attributes[semconv.RESPONSE_STATUS] = status
    if tier := text_or_none(get("service_tier")):
        out.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] = tier
    if named := text_or_none(members(get("conversation"))("id")):
        out.attributes[semconv.CONVERSATION_ID] = named
    if status == "failed":
        out.error_type = text_or_none(members(get("error"))("code")) or "failed"
    return out


def _finish_reason(status: str | None, get: Any, parts: list[Part]) -> str | None:
    """The finish reason by the conventions: Responses reports a status, and a reason only where it is incomplete."""
    if status is None or status in _UNFINISHED:
        return None
    reason = text_or_none(members(get("incomplete_details"))("reason")) or status
    if reason == "completed":
        return "tool_calls" if any(part.type == "tool_call" for part in parts) else "stop"
    return _FINISH_REASONS.get(reason, reason)


def usage(given: Any) -> Usage | None:
    """Returns the token counts of a response."""
    if given is None:
        return None
    get = members(given)
    read, written = members(get("input_tokens_details")), members(get("output_tokens_details"))
    return Usage(
        input_tokens=number(get("input_tokens")),
        output_tokens=number(get("output_tokens")),
        cache_read=number(read("cached_tokens")),
        cache_write=number(read("cache_write_tokens")),
        reasoning=number(written("reasoning_tokens")),
    )
