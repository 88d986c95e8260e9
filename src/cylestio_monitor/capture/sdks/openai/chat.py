"""Messages of an OpenAI chat completion request, and whole answers.

Paths name places in the JSON: ``messages[2].content[0]``, ``choices[0].message.content``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    as_list,
    contained,
    members,
    number,
    other_fields,
    plain_text,
    read_items,
    role_of,
    text_or_none,
)
from cylestio_monitor.capture.parsing.reading import unread
from cylestio_monitor.capture.sdks.openai.content_blocks import blocks, function_call, tool_call, without_images
from cylestio_monitor.model import Message, Part, Result, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.model import Call

_PLAIN = frozenset({"role", "content", "name"})
"""The fields of a message with text and nothing else."""

REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
"""The fields in which servers of this format send the reasoning of a model."""

_KNOWN = frozenset(
    {
        *_PLAIN,
        *REASONING,
        *("refusal", "tool_calls", "function_call", "tool_call_id", "audio", "id", "type", "status", "cache_control"),
    }
)
_TOOL_ROLES = frozenset({"tool", "function"})
_IDENTIFIER = re.compile(r"[\w.-]{1,64}").fullmatch


def messages(body: dict[str, Any]) -> list[Message]:
    """Returns the conversation; system and developer messages keep their place in it."""
    given = body.get("messages")
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        return [_contained(given, "messages")]
    return [_contained(item, f"messages[{turn}]") for turn, item in enumerate(given)]


def _contained(item: Any, path: str) -> Message:
    try:
        return _message(item, path)
    except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; other messages are still read
        return Message("user", unread(error, item, path))


def _message(item: Any, path: str) -> Message:
    entry = item if type(item) is dict else as_dict(item)
    role, content = entry.get("role"), entry.get("content")
    if type(role) is str and type(content) is str and entry.keys() <= _PLAIN and role not in _TOOL_ROLES:
        if "name" in entry:
            return Message(role, [Part("text", content, path=f"{path}.content"), *_name(entry, path)])
        return Message(role, [Part("text", content, path=f"{path}.content")])
    if not entry:
        return Message("user", [Part("json", item, path=path)])
    role, call_id = role_of(entry), text_or_none(entry.get("tool_call_id"))
    parts = read_items(blocks, content, f"{path}.content")
    if role in _TOOL_ROLES:
        text = plain_text(content)
        whole = text if text is not None or len(parts) != 1 else parts[0].content
        if whole is None and content is not None:
            whole = without_images(content)
        parts = [Part("tool_call_response", whole, text_or_none(entry.get("name")), call_id, f"{path}.content")]
    else:
        parts += _name(entry, path)
    if entry.keys() <= _PLAIN:
        return Message(role, parts)
    parts = [*_reasoning(entry, path), *parts]
    if refusal := text_or_none(entry.get("refusal")):
        parts.append(Part("text", refusal, path=f"{path}.refusal"))
    parts += read_items(tool_call, entry.get("tool_calls"), f"{path}.tool_calls")
    if function := as_dict(entry.get("function_call")):
        parts.append(function_call(function, None, f"{path}.function_call"))
    parts += _audio(entry.get("audio"), f"{path}.audio")
    return Message(role, parts + other_fields(entry, _KNOWN, path))


def _name(entry: dict[str, Any], path: str) -> list[Part]:
    """The name of a participant, where it is more than an identifier."""
    name = plain_text(entry.get("name"))
    return [] if name is None or _IDENTIFIER(name) else [Part("text", name, path=f"{path}.name")]


def _reasoning(entry: dict[str, Any], path: str) -> list[Part]:
    return [part for field in REASONING for part in reasoning(entry.get(field), f"{path}.{field}")]


def reasoning(value: Any, path: str) -> list[Part]:
    """Returns reasoning parts from a text, or from the list of details that some servers send."""
    if not value:
        return []
    if (text := plain_text(value)) is not None:
        return [Part("reasoning", text, path=path)]
    if not isinstance(value, (list, tuple)):
        return [Part("reasoning", value, path=path)]
    out: list[Part] = []
    for place, item in enumerate(value):
        detail = as_dict(item)
        field = next((name for name in ("text", "summary", "thinking") if detail.get(name)), None)
        content = item if not detail else detail.get(field) if field else None
        if content is not None:
            out.append(Part("reasoning", content, path=f"{path}[{place}]" + (f".{field}" if field else "")))
    return out


def _audio(value: Any, path: str) -> list[Part]:
    """The transcript of a spoken message; its sound is left out."""
    transcript = text_or_none(as_dict(value).get("transcript"))
    return [Part("text", transcript, path=f"{path}.transcript")] if transcript else []


def usage(given: Any) -> Usage | None:
    """Returns the token counts of a chat completion, a completion or an embedding."""
    if given is None:
        return None
    get = members(given)
    prompt, completion = members(get("prompt_tokens_details")), members(get("completion_tokens_details"))
    return Usage(
        input_tokens=number(get("prompt_tokens")),
        output_tokens=number(get("completion_tokens")),
        cache_read=number(prompt("cached_tokens")),
        cache_write=number(prompt("cache_write_tokens")),
        reasoning=number(completion("reasoning_tokens")),
    )


def answer(completion: Any, _: Call) -> Result:
    """Reads a whole chat completion or completion."""
    get = members(completion)
    out = result_of(get)
    for place, choice in enumerate(as_list(get("choices"))):
        of = members(choice)
        index = of("index")
        path, message = f"choices[{place if index is None else index}]", of("message")
        if message is None:
            parts = read_items(blocks, of("text"), f"{path}.text")
        else:
            parts = contained(answered_parts, message, f"{path}.message")
        add_choice(out, parts, of("finish_reason"))
    out.usage = usage(get("usage"))
    return out


def answered_parts(message: Any, path: str) -> list[Part]:
    """Returns the parts of an answered message, an object of the SDK or parsed JSON."""
    get = members(message)
    parts: list[Part] = []
    for field in REASONING:
        if value := get(field):
            parts += reasoning(value, f"{path}.{field}")
    content = get("content")
    if type(content) is str:
        if content:
            parts.append(Part("text", content, path=f"{path}.content"))
    elif content:
        parts += read_items(blocks, content, f"{path}.content")
    if text := text_or_none(get("refusal")):
        parts.append(Part("text", text, path=f"{path}.refusal"))
    if calls := get("tool_calls"):
        parts += read_items(_answered_call, calls, f"{path}.tool_calls")
    if (function := get("function_call")) is not None:
        parts.append(function_call(function, None, f"{path}.function_call"))
    if (audio := get("audio")) is not None:
        parts += _audio(audio, f"{path}.audio")
    if annotations := get("annotations"):
        parts.append(annotated(annotations, f"{path}.annotations"))
    return parts


def annotated(annotations: Any, path: str) -> Part:
    """Returns the annotations of a text, such as titles and addresses of cited pages."""
    plain = [as_dict(item) or item for item in annotations] if isinstance(annotations, list) else annotations
    return Part("annotations", plain, path=path)


def _answered_call(call: Any, path: str) -> list[Part]:
    asked = members(call)
    if (function := asked("function")) is None:
        return tool_call(call, path)
    given = members(function)
    place = f"{path}.function.arguments"
    name, id_ = text_or_none(given("name")), text_or_none(asked("id"))
    return [Part("tool_call", arguments(given("arguments")), name, id_, place)]


def embedded(given: Any, _: Call) -> Result:
    """Reads an answer with embeddings; the vectors themselves are not kept."""
    get = members(given)
    out = Result(model=text_or_none(get("model")), usage=usage(get("usage")))
    data = as_list(get("data"))
    vector = members(data[0])("embedding") if data else None
    if isinstance(vector, list):
        out.attributes[semconv.EMBEDDINGS_DIMENSION_COUNT] = len(vector)
    return out


def result_of(get: Callable[[str], Any]) -> Result:
    """Returns a result with the facts that whole answers and chunks share."""
    out = Result(response_id=text_or_none(get("id")), model=text_or_none(get("model")))
    if tier := text_or_none(get("service_tier")):
        out.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] = tier
    if fingerprint := text_or_none(get("system_fingerprint")):
        out.attributes[semconv.OPENAI_RESPONSE_SYSTEM_FINGERPRINT] = fingerprint
    return out


def add_choice(out: Result, parts: list[Part], finish: Any) -> None:
    """Adds one choice of the answer to a result."""
    reason = text_or_none(finish)
    if reason:
        out.finish_reasons.append(reason)
    if parts:
        out.messages.append(Message("assistant", parts, reason))
