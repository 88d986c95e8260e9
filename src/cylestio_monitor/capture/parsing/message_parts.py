"""Messages, content blocks and tools as providers and frameworks write them in JSON, read into the model.

One reader for all: the shapes differ in the names of a few keys and hardly contradict each other. It reads the GenAI
message JSON, the wire formats of OpenAI, Anthropic, Gemini and Bedrock, and the dumps of LangChain and LlamaIndex.
What it does not know it keeps as it is, so that it is scanned all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cylestio_monitor.capture.parsing.fields import as_list, is_empty, label
from cylestio_monitor.capture.parsing.reading import pass_over
from cylestio_monitor.model import Message, Part, ToolDefinition

MAX_ITEMS = 2000
"""Messages or blocks of one list that are read."""

MAX_DEPTH = 12
"""Envelopes within envelopes that are opened; what lies deeper is kept as it is."""

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "model": "assistant", "function": "tool"}
_KNOWN_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", *_ROLES})
_WRAPPERS = ("kwargs", "data", "message", "delta")
_CONTENT_KEYS = ("parts", "content", "contents", "blocks")
_ENVELOPE_KEYS = (
    *("system", "systemInstruction", "system_instruction", "instructions"),
    *("messages", "contents", "input", "inputs", "chat_history", "prompt", "prompts"),
    *("choices", "generations", "candidates", "output", "outputs", "message", "content", "response", "update"),
)
_SYSTEM_KEYS = frozenset({"system", "systemInstruction", "system_instruction", "instructions"})
_REASONING = frozenset({"reasoning", "thinking", "reasoning_content", "summary_text", "reasoningText"})
_CALLS = frozenset({"tool_call", "tool_use", "function_call", "function", "custom_tool_call"})
_SERVER_CALLS = frozenset({"server_tool_call", "server_tool_use", "mcp_tool_use"})
_RESULTS = frozenset({"tool_call_response", "tool_result", "function_call_output", "custom_tool_call_output"})
_BINARY = frozenset({"blob", "image", "image_url", "input_image", "input_audio", "audio", "redacted_thinking"})
_NAMED_CALLS = ("functionCall", "function_call", "toolUse")
_NAMED_RESULTS = ("functionResponse", "function_response", "toolResult")
_NAMED_BINARY = ("inlineData", "inline_data", "image", "video")


def decoded(value: object) -> object:
    """JSON text of an object or array as what it stands for; everything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def messages(value: object, path: str, role: str, depth: int = 0) -> list[Message]:
    """A conversation: a list of messages, one message, a text, or a request or answer that holds one of these.

    Args:
        value: Decoded JSON.
        path: Where it stands; the paths of its parts begin with it.
        role: The role of a message that names none.
        depth: How many envelopes were opened on the way here.
    """
    if isinstance(value, Mapping):
        return [_message(value, path, role)] if _is_message(value) else _envelope(value, path, role, depth)
    if not isinstance(value, (list, tuple)):
        return [] if is_empty(value) else [Message(role, parts(value, path))]
    out: list[Message] = []
    loose: list[Part] = []
    for number, item in enumerate(value[:MAX_ITEMS]):
        place = f"{path}[{number}]"
        if item is None:
            continue
        holds_messages = isinstance(item, Mapping) and (_is_message(item) or (_opens(item) and "type" not in item))
        if depth < MAX_DEPTH and (holds_messages or isinstance(item, (list, tuple))):
            out += messages(item, place, role, depth + 1)
        else:
            loose.append(part(item, place))
    for one in loose:
        # The items of a conversation that are no messages: tool calls and their results, texts.
        owner = {"tool_call": "assistant", "reasoning": "assistant", "tool_call_response": "tool"}.get(one.type, role)
        out.append(Message(owner, [one]))
    return out


def parts(content: object, path: str) -> list[Part]:
    """The content of a message: a text, one block, or a list of blocks."""
    if isinstance(content, (list, tuple)):
        return [part(block, f"{path}[{number}]") for number, block in enumerate(content[:MAX_ITEMS])]
    return [] if is_empty(content) else [part(content, path)]


def part(block: object, path: str) -> Part:
    """One content block of any shape."""
    if not isinstance(block, Mapping):
        return Part("text" if isinstance(block, str) else "json", block, path=path)
    kind = block.get("type")
    kind = kind if isinstance(kind, str) else ""
    call = next((block[key] for key in _NAMED_CALLS if isinstance(block.get(key), Mapping)), None)
    if call is not None or kind in _CALLS or kind in _SERVER_CALLS:
        found = _tool_call(call if call is not None else block, path)
        found.type = "server_tool_call" if kind in _SERVER_CALLS else found.type
        return found
    result = next((block[key] for key in _NAMED_RESULTS if isinstance(block.get(key), Mapping)), None)
    if result is not None or kind in _RESULTS or kind.endswith("_tool_result"):
        return _tool_result(result if result is not None else block, path)
    if kind in _BINARY or any(key in block for key in _NAMED_BINARY):
        return Part("blob", None, path=path)
    for key in ("text", "content", "thinking", "reasoning", "refusal", "reasoningText", "reasoningContent"):
        text = block.get(key)
        if isinstance(text, Mapping):  # Bedrock nests the text of a reasoning
            text = next((inner for inner in text.values() if isinstance(inner, str)), None)
        if isinstance(text, str):
            reasoning = kind in _REASONING or key in {"thinking", "reasoning", "reasoningText", "reasoningContent"}
            return Part("reasoning" if reasoning else "text", text, path=f"{path}.{key}")
    return Part("json", dict(block), path=path)


def tool_definitions(value: object, path: str) -> list[ToolDefinition]:
    """Tools offered to a model, in any provider's shape."""
    value = decoded(value)
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("tools", "functionDeclarations") if key in value), [value])
    out: list[ToolDefinition] = []
    for number, item in enumerate(map(decoded, as_list(value)[:MAX_ITEMS])):
        place = f"{path}[{number}]"
        if not isinstance(item, Mapping):
            pass_over(item)
            continue
        many = item.get("functionDeclarations") or item.get("function_declarations")
        if isinstance(many, (list, tuple)):
            out += tool_definitions(many, f"{place}.functionDeclarations")
            continue
        body = next(
            (item[key] for key in ("function", "toolSpec", "json_schema") if isinstance(item.get(key), Mapping)), item
        )
        schema = next(
            (body[key] for key in ("parameters", "input_schema", "inputSchema", "schema") if body.get(key)), None
        )
        kind = item.get("type")
        out.append(
            ToolDefinition(
                label(body.get("name")) or label(kind),
                _text(body.get("description")),
                decoded(schema),
                kind if isinstance(kind, str) else "function",
                place,
            )
        )
    return out


def _message(value: Mapping[str, Any], path: str, role: str) -> Message:
    reason = next((value[key] for key in ("finish_reason", "stop_reason", "finishReason") if value.get(key)), None)
    body = value
    while "role" not in body:
        key = next((key for key in _WRAPPERS if isinstance(body.get(key), Mapping)), "")
        if not key:
            break
        body, path = body[key], f"{path}.{key}"
    role = _role(body) or _role(value) or role
    key = next((key for key in (*_CONTENT_KEYS, "message") if not is_empty(body.get(key))), "content")
    found = parts(body.get(key), f"{path}.{key}")
    call_id = _text(body.get("tool_call_id"))
    if call_id and role == "tool" and not any(one.type == "tool_call_response" for one in found):
        found = [Part("tool_call_response", body.get(key), _text(body.get("name")), call_id, f"{path}.{key}")]
    for field in ("reasoning_content", "refusal"):
        if isinstance(body.get(field), str) and body[field]:
            found.append(Part("text" if field == "refusal" else "reasoning", body[field], path=f"{path}.{field}"))
    known = {one.id for one in found if one.type == "tool_call" and one.id}
    for field in ("tool_calls", "function_call"):
        calls = body.get(field)
        calls = [calls] if isinstance(calls, Mapping) else as_list(calls)
        for number, call in enumerate(calls[:MAX_ITEMS]):
            if not isinstance(call, Mapping):
                pass_over(call)
            elif _text(call.get("id")) not in known:
                found.append(_tool_call(call, f"{path}.{field}[{number}]"))
    return Message(role, found, _text(reason))


def _envelope(value: Mapping[str, Any], path: str, role: str, depth: int) -> list[Message]:
    """A request or an answer: its messages, and what else it holds as it is."""
    if not _opens(value) or depth >= MAX_DEPTH:
        one = part(value, path)
        return [Message(role, [one])] if one.content or one.name else []
    out: list[Message] = []
    for key in _ENVELOPE_KEYS:
        if value.get(key) is not None:
            out += messages(value[key], f"{path}.{key}", "system" if key in _SYSTEM_KEYS else role, depth + 1)
    rest = {key: item for key, item in value.items() if key not in _ENVELOPE_KEYS and key != "tools"}
    if rest:
        out.append(Message(role, [Part("json", rest, path=path)]))
    return out


def _tool_call(call: Mapping[str, Any], path: str) -> Part:
    body = call["function"] if isinstance(call.get("function"), Mapping) else call
    key = next((key for key in ("arguments", "input", "args") if body.get(key) is not None), "arguments")
    call_id = call.get("call_id") or call.get("id") or call.get("toolUseId")
    return Part("tool_call", decoded(body.get(key)), _text(body.get("name")), _text(call_id), f"{path}.{key}")


def _tool_result(result: Mapping[str, Any], path: str) -> Part:
    key = next((key for key in ("response", "result", "content", "output") if result.get(key) is not None), "response")
    call_id = next((result[key] for key in ("call_id", "tool_use_id", "toolUseId", "id") if result.get(key)), None)
    return Part(
        "tool_call_response", decoded(result.get(key)), _text(result.get("name")), _text(call_id), f"{path}.{key}"
    )


def _is_message(value: Mapping[str, Any]) -> bool:
    kind = value.get("type") if isinstance(value.get("type"), str) else ""
    if isinstance(value.get("role"), str) or kind in _ROLES or isinstance(value.get("tool_calls"), list):
        return True
    if kind in _KNOWN_ROLES and any(key in value for key in _CONTENT_KEYS):
        return True
    for key in _WRAPPERS:
        inner = value.get(key)
        if isinstance(inner, Mapping) and (_is_message(inner) or (key == "kwargs" and "content" in inner)):
            return True
    return False


def _opens(value: Mapping[str, Any]) -> bool:
    return any(isinstance(value.get(key), (str, list, tuple, Mapping)) for key in _ENVELOPE_KEYS)


def _role(value: Mapping[str, Any]) -> str | None:
    for key in ("role", "type"):
        name = value.get(key)
        if isinstance(name, str) and (key == "role" or name in _KNOWN_ROLES):
            return _ROLES.get(name, name)
    return None


def _text(value: object) -> str | None:
    return None if value is None else label(value)
