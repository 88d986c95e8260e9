"""Content blocks of chat messages and of items of the Responses API."""

from __future__ import annotations

from typing import Any

from cylestio_monitor.capture.parsing.binary import blob
from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    is_empty,
    other_fields,
    plain_text,
    text_or_none,
)
from cylestio_monitor.model import Part

_TEXT = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text"), ("text", "text")),
    "reasoning_text": ("text", "reasoning"),
    "refusal": ("refusal", "text"),
}
"""From the type of a block to its field with text and the type of the part."""

_MEDIA = {
    "image_url": ("image_url",),
    "input_image": ("image_url", "file_id"),
    "computer_screenshot": ("image_url", "file_id"),
    "file": ("file",),
    "input_file": ("file_url", "file_id", "file_data"),
    "input_audio": ("input_audio",),
    "video_url": ("video_url",),
}
"""From the type of a block to the fields that hold or name its bytes."""

_NO_TEXT = ("type", "id", "index", "detail", "cache_control", "logprobs", "status", "prompt_cache_breakpoint")
_KNOWN = {kind: frozenset({*_NO_TEXT, field}) for kind, (field, _) in _TEXT.items()}


def blocks(item: Any, path: str) -> list[Part]:
    """Returns the parts of one content block.

    Bytes of images and sounds are left out; fields that no reader knows are kept as they are, to be scanned.
    """
    if (text := plain_text(item)) is not None:
        return [Part("text", text, path=path)]
    entry = as_dict(item)
    if not entry:
        return [] if is_empty(item) else [Part("json", item, path=path)]
    kind = entry.get("type")
    kind = kind if isinstance(kind, str) else ""
    if kind in _TEXT:
        field, part = _TEXT[kind]
        text = plain_text(entry.get(field))
        content = [Part(part, text, path=path)] if text is not None else _nested(entry.get(field), part, path)
        return content + other_fields(_without_empty_annotations(entry), _KNOWN[kind], path)
    if kind in _MEDIA:
        return _media(entry, kind, path)
    rest = {name: value for name, value in entry.items() if name != "type"}
    return [Part(kind or "unknown", rest, path=path)]


def _nested(value: Any, part: str, path: str) -> list[Part]:
    """The text of a block whose text is an object, as the older API writes it."""
    text = plain_text(as_dict(value).get("value"))
    return [Part(part, value if text is None else text, path=path)] if value is not None else []


def _without_empty_annotations(entry: dict[str, Any]) -> dict[str, Any]:
    return entry if entry.get("annotations") else {name: entry[name] for name in entry if name != "annotations"}


def _media(entry: dict[str, Any], kind: str, path: str) -> list[Part]:
    fields = _MEDIA[kind]
    given = as_dict(entry.get(fields[0])) or entry
    url = given.get("url") or given.get("file_url") or given.get("image_url")
    data, file_id = given.get("file_data") or given.get("data"), given.get("file_id")
    form = text_or_none(given.get("format"))
    if file_id:
        part = Part("file", file_id, path=path)
    elif isinstance(url, str) and not url.startswith("data:"):
        part = Part("uri", url, path=path)
    elif kind == "input_audio":
        part = Part("blob", None, path=path, mime_type=f"audio/{form}" if form else None)
    else:
        part = blob(data if data is not None else url, path, form=_extension(given.get("filename")))
    named = [Part("text", name, path=f"{path}.filename")] if (name := text_or_none(given.get("filename"))) else []
    known = frozenset({*_NO_TEXT, *fields, "filename"})
    return [part, *named, *other_fields(entry, known, path)]


def _extension(name: Any) -> str | None:
    return name.rpartition(".")[2] if isinstance(name, str) and "." in name else None


def tool_call(call: Any, path: str) -> list[Part]:
    """Returns the tool call of a message: a function with JSON arguments, or a custom tool with plain text."""
    entry = as_dict(call)
    kind = text_or_none(entry.get("type")) or "function"
    body = entry.get(kind)
    if not isinstance(body, dict):
        kind = next((name for name in ("function", "custom") if as_dict(entry.get(name))), "")
        body = entry.get(kind, entry)
    return [function_call(body, entry.get("id"), f"{path}.{kind}" if kind else path)]


def function_call(function: Any, call_id: Any, path: str) -> Part:
    """Returns the tool call part of the function that a call names."""
    entry = as_dict(function)
    name, id_ = text_or_none(entry.get("name")), text_or_none(call_id)
    if "input" in entry:  # a custom tool takes plain text
        return Part("tool_call", entry["input"], name, id_, f"{path}.input")
    return Part("tool_call", arguments(entry.get("arguments")), name, id_, f"{path}.arguments")


def without_images(output: Any) -> Any:
    """Returns the output of a tool without the bytes of images and files in it."""
    if isinstance(output, (list, tuple)):
        return [without_images(item) for item in output]
    if not isinstance(output, dict):
        return output
    out: dict[str, Any] = {}
    for name, value in as_dict(output).items():
        if name in {"file_data", "image_url", "url", "data"} and isinstance(value, str) and value.startswith("data:"):
            if (text := blob(value, "").content) is not None:
                out[name] = text
        elif name == "file_data" and isinstance(value, str):
            if (text := blob(value, "", form=_extension(output.get("filename"))).content) is not None:
                out[name] = text
        else:
            out[name] = without_images(value) if isinstance(value, (dict, list)) else value
    return out
