"""Content that is transported as bytes or base64: text in it is decoded to be scanned, other bytes are left out."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cylestio_monitor.capture.parsing.reading import pass_over
from cylestio_monitor.model import Part

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of one text that are decoded; of a longer one, the beginning and the end."""

_TEXT_TYPES = frozenset(
    {
        *("application/json", "application/xml", "application/yaml", "application/x-yaml", "application/javascript"),
        *("application/x-sh", "application/x-python", "application/sql", "application/rtf", "application/csv"),
        *("application/x-ndjson", "application/jsonl", "application/toml", "image/svg+xml", "message/rfc822"),
    }
)
_TEXT_FORMATS = frozenset({"txt", "text", "md", "markdown", "csv", "html", "htm", "json", "xml", "yaml", "yml", "svg"})
_OPAQUE = ("image/", "audio/", "video/", "font/")


def blob(data: Any, path: str, *, mime_type: str | None = None, form: str | None = None) -> Part:
    """Returns a part with the text of some bytes, or one without content where they hold no text.

    Args:
        data: Bytes, base64 text or a ``data:`` URL.
        path: Where it stood.
        mime_type: The declared MIME type.
        form: The declared format, such as ``pdf`` or ``txt``, where a provider names no MIME type.
    """
    if isinstance(data, str) and data.startswith("data:"):
        mime_type = data_url_type(data) or mime_type
        head, _, data = data.partition(",")
        if not head.endswith(";base64"):
            return Part("text", data, path=path, mime_type=mime_type)
    text = _decoded(data, mime_type, form)
    return Part("blob", None, path=path, mime_type=mime_type) if text is None else Part("text", text, path=path)


def data_url_type(url: str) -> str | None:
    """Returns the MIME type of a ``data:`` URL, and ``None`` for any other URL."""
    return url[5:].partition(",")[0].partition(";")[0] or None if url.startswith("data:") else None


def _decoded(data: Any, mime_type: str | None, form: str | None) -> str | None:
    kind = (mime_type or "").partition(";")[0].strip().lower()
    declared = kind.startswith("text/") or kind in _TEXT_TYPES or kind.endswith(("+json", "+xml"))
    declared = declared or (form or "").lower() in _TEXT_FORMATS
    if not data or (not declared and (kind.startswith(_OPAQUE) and kind not in _TEXT_TYPES)):
        return None
    raw = _bytes(data, 0 if declared else 1024)
    if raw is None:
        return data if declared and isinstance(data, str) else None
    if declared:
        return raw.decode("utf-8", "replace")
    # A wrong or missing type does not keep a text from the model: bytes that read as text are scanned as text.
    if b"\x00" in raw or raw.startswith(b"%PDF"):
        return None
    head = raw.decode("utf-8", "ignore")
    if len(head.encode()) + 3 < len(raw) or sum(not char.isprintable() and not char.isspace() for char in head) > 0:
        return None
    whole = _bytes(data, 0)
    return None if whole is None else whole.decode("utf-8", "replace")


def _bytes(data: Any, limit: int) -> bytes | None:
    """The decoded bytes, or the first of them."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        raw = bytes(data[:limit] if limit else data)
    elif isinstance(data, str):
        some = data[: limit * 4 // 3 // 4 * 4] if limit else _ends(data)
        try:
            raw = base64.b64decode(some.translate(_URL_SAFE) + "=" * (-len(some) % 4))
        except (binascii.Error, ValueError):
            return None
    else:
        pass_over(data)
        return None
    return raw


def _ends(data: str) -> str:
    limit = MAX_BYTES * 4 // 3 // 8 * 8
    return data if len(data) <= limit else data[: limit // 2] + data[-limit // 2 :]


_URL_SAFE = str.maketrans("-_", "+/")
