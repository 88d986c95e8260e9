"""Content blocks of Anthropic messages, of requests and answers."""

from __future__ import annotations

from typing import Any

from cylestio_monitor.capture.parsing.binary import blob
from cylestio_monitor.capture.parsing.fields import (
    as_dict,
    is_empty,
    other_fields,
    plain_text,
    read_items,
    text_or_none,
)
from cylestio_monitor.model import Part

_NO_TEXT = ("type", "id", "index", "cache_control", "signature", "encrypted_index", "caller")
_TEXT = frozenset({*_NO_TEXT, "text"})
_TOOL_USE = frozenset({*_NO_TEXT, "name", "input", "server_name"})
_TOOL_RESULT = frozenset({*_NO_TEXT, "tool_use_id", "content", "is_error"})
_THINKING = frozenset({*_NO_TEXT, "thinking", "data"})
_MEDIA = frozenset({*_NO_TEXT, "source", "title", "context"})
_MAX_DEPTH = 32
"""Levels of nested blocks in which bytes are looked for; what lies deeper is kept as it is."""


def blocks(item: Any, path: str) -> list[Part]:
    """Returns the parts of one content block; fields that no reader knows are kept as they are, to be scanned."""
    if (text := plain_text(item)) is not None:
        return [Part("text", text, path=path)]
    entry = as_dict(item)
    if not entry:
        return [] if is_empty(item) else [Part("json", item, path=path)]
    kind = entry.get("type")
    kind = kind if isinstance(kind, str) else ""
    name, id_ = text_or_none(entry.get("name")), text_or_none(entry.get("id"))
    if kind == "text":
        text = plain_text(entry.get("text"))
        content = entry.get("text") if text is None else text
        if not entry.get("citations"):
            entry = {field: value for field, value in entry.items() if field != "citations"}
        return [Part("text", content, path=path), *other_fields(entry, _TEXT, path)]
    if kind in {"tool_use", "server_tool_use", "mcp_tool_use"}:
        part = "tool_call" if kind == "tool_use" else "server_tool_call"
        return [Part(part, entry.get("input"), name, id_, f"{path}.input"), *other_fields(entry, _TOOL_USE, path)]
    if kind == "tool_result":
        return _tool_result(entry, path)
    if kind in {"thinking", "redacted_thinking"}:
        return [Part("reasoning", entry.get("thinking"), path=path), *other_fields(entry, _THINKING, path)]
    if kind in {"image", "document"}:
        return _media(entry, path)
    if "tool_use_id" in entry:
        id_, content = text_or_none(entry.get("tool_use_id")), without_bytes(entry.get("content"))
        result = Part("server_tool_call_response", content, None, id_, f"{path}.content")
        return [result, *other_fields(entry, _TOOL_RESULT, path)]
    rest = {field: value for field, value in entry.items() if field != "type"}
    return [Part(kind or "unknown", without_bytes(rest), path=path)]


def _tool_result(entry: dict[str, Any], path: str) -> list[Part]:
    content = entry.get("content")
    text = plain_text(content)
    whole = without_bytes(content) if text is None else text
    place = path if text is not None else f"{path}.content"
    result = Part("tool_call_response", whole, None, text_or_none(entry.get("tool_use_id")), place)
    return [result, *other_fields(entry, _TOOL_RESULT, path)]


def _media(entry: dict[str, Any], path: str) -> list[Part]:
    """An image or a document: its text, or what names it, and what is said about it."""
    parts = _source(entry.get("source"), path)
    for field in ("title", "context"):
        if text := text_or_none(entry.get(field)):
            parts.append(Part("text", text, path=f"{path}.{field}"))
    if not (citations := entry.get("citations")) or as_dict(citations).keys() <= {"enabled"}:
        entry = {field: value for field, value in entry.items() if field != "citations"}
    return parts + other_fields(entry, _MEDIA, path)


def _source(value: Any, path: str) -> list[Part]:
    source = as_dict(value)
    kind, mime = source.get("type"), text_or_none(source.get("media_type"))
    if kind == "url":
        return [Part("uri", source.get("url"), path=f"{path}.source.url", mime_type=mime)]
    if kind == "file":
        return [Part("file", source.get("file_id"), path=path, mime_type=mime)]
    if kind == "text":
        return [Part("text", source.get("data"), path=f"{path}.source.data", mime_type=mime)]
    if kind == "content":
        return read_items(blocks, source.get("content"), f"{path}.source.content")
    return [blob(source.get("data"), path, mime_type=mime)]


def without_bytes(value: Any, depth: int = 0) -> Any:
    """Returns content blocks without the bytes of images and documents; text among the bytes is decoded."""
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, (list, tuple)):
        return [without_bytes(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "base64":
        rest = {name: item for name, item in value.items() if name != "data"}
        text = blob(value.get("data"), "", mime_type=text_or_none(value.get("media_type"))).content
        return rest if text is None else {**rest, "data": text}
    dropped = {"cache_control", "encrypted_content"}
    return {name: without_bytes(item, depth + 1) for name, item in as_dict(value).items() if name not in dropped}
