"""Requests of the Anthropic Messages API: system prompt, conversation, tools and parameters.

Paths name places in the JSON: ``messages[2].content[0]``, ``system[1]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.fields import (
    as_dict,
    label,
    numbers_and_texts,
    other_fields,
    read_items,
    role_of,
    text_or_none,
    texts,
)
from cylestio_monitor.capture.parsing.reading import unread, unread_tool
from cylestio_monitor.capture.sdks.anthropic.content_blocks import blocks
from cylestio_monitor.model import Message, Part, ToolDefinition

if TYPE_CHECKING:
    from cylestio_monitor.model import AttributeValue

_PARAMETERS = {
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "max_tokens_to_sample": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "top_p": semconv.REQUEST_TOP_P,
    "top_k": semconv.REQUEST_TOP_K,
}
_READ_ELSEWHERE = frozenset(
    {
        *_PARAMETERS,
        *("messages", "system", "tools", "mcp_servers", "prompt", "model", "stream", "stop_sequences", "metadata"),
        *("tool_choice", "thinking", "service_tier", "container", "cache_control", "betas", "thread", "inference_geo"),
        *("anthropic_version", "anthropic_beta", "speed", "diagnostics", "requests"),
    }
)
"""Fields that other functions read, and fields without text for the model; every other field is scanned as it is."""

_TOOL_FIELDS = frozenset({"type", "name", "mcp_server_name", "description", "input_schema", "cache_control", "strict"})
_SERVER_FIELDS = frozenset({"type", "name"})
_MESSAGE_FIELDS = frozenset({"role", "content", "id", "type", "model", "stop_reason", "stop_sequence", "usage"})

THREAD_TYPE = "anthropic.thread.type"
"""Tells whether a request begins a thread that the API keeps, or continues one."""


def parameters(body: dict[str, Any]) -> dict[str, AttributeValue]:
    """Returns the parameters of a request as span attributes."""
    out = numbers_and_texts(body, _PARAMETERS)
    if "stop_sequences" in body and (stop := texts(body["stop_sequences"])):
        out[semconv.REQUEST_STOP_SEQUENCES] = stop
    output = body.get("output_config")
    if isinstance(output, dict):
        if effort := text_or_none(output.get("effort")):
            out[semconv.REQUEST_REASONING_LEVEL] = effort
        if output.get("format"):
            out[semconv.OUTPUT_TYPE] = "json"
    if body.get("output_format"):
        out[semconv.OUTPUT_TYPE] = "json"
    if "thread" in body and (thread := text_or_none(as_dict(body["thread"]).get("type"))):
        out[THREAD_TYPE] = thread
    return out


def system(body: dict[str, Any], prefix: str = "") -> list[Part]:
    """Returns the system prompt: one text, one block, or a list of blocks."""
    return read_items(blocks, body.get("system"), f"{prefix}system")


def messages(body: dict[str, Any], prefix: str = "") -> list[Message]:
    """Returns the conversation, after the other text for the model, such as the schema of the answer."""
    out: list[Message] = []
    if not body.keys() <= _READ_ELSEWHERE:
        rest = {
            name: value
            for name, value in body.items()
            if name not in _READ_ELSEWHERE and not isinstance(value, (bool, int, float))
        }
        if isinstance(output := rest.get("output_config"), dict):
            rest["output_config"] = {name: value for name, value in output.items() if name != "effort"}
        if parts := other_fields(rest, _READ_ELSEWHERE, prefix.removesuffix(".")):
            out.append(Message("user", parts))
    given = body.get("messages")
    if given is None:
        return out
    if not isinstance(given, (list, tuple)):
        return [*out, _contained(given, f"{prefix}messages")]
    out += [_contained(item, f"{prefix}messages[{turn}]") for turn, item in enumerate(given)]
    return out


def _contained(item: Any, path: str) -> Message:
    try:
        return _message(item, path)
    except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; other messages are still read
        return Message("user", unread(error, item, path))


def _message(item: Any, path: str) -> Message:
    entry = item if type(item) is dict else as_dict(item)
    role, content = entry.get("role"), entry.get("content")
    if type(role) is str and type(content) is str and len(entry) == len(("role", "content")):
        return Message(role, [Part("text", content, path=f"{path}.content")])
    if not entry:
        return Message("user", [Part("json", item, path=path)])
    parts = read_items(blocks, content, f"{path}.content")
    return Message(role_of(entry), parts + other_fields(entry, _MESSAGE_FIELDS, path))


def tools(body: dict[str, Any], prefix: str = "") -> list[ToolDefinition]:
    """Returns the offered tools: of the application, of the provider, which have no schema, and MCP servers."""
    out: list[ToolDefinition] = []
    for field, read in (("tools", _tool), ("mcp_servers", _server)):
        given = body.get(field)
        if given is None:
            continue
        for place, item in enumerate(given if isinstance(given, (list, tuple)) else [given]):
            path = f"{prefix}{field}[{place}]"
            try:
                out.append(read(item, path))
            except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; other tools are still read
                out.append(unread_tool(error, item, path))
    return out


def _tool(item: Any, path: str) -> ToolDefinition:
    tool = as_dict(item)
    kind = text_or_none(tool.get("type"))
    return ToolDefinition(
        name=label(tool.get("name")) or label(tool.get("mcp_server_name")) or kind or "",
        description=text_or_none(tool.get("description")),
        parameters=tool.get("input_schema"),
        type="function" if kind in {None, "custom"} else str(kind),
        path=path,
        extra={name: value for name, value in tool.items() if name not in _TOOL_FIELDS} or (None if tool else item),
    )


def _server(item: Any, path: str) -> ToolDefinition:
    """A server of the Model Context Protocol whose tools the provider offers to the model."""
    server = as_dict(item)
    rest = {name: value for name, value in server.items() if name not in _SERVER_FIELDS}
    return ToolDefinition(label(server.get("name")) or "mcp", type="mcp_server", path=path, extra=rest or item)
