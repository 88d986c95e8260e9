"""Makes any value safe to store and to send: bounded, plain JSON types, text that encodes.

A value comes from the application or from a model and may be hostile: cyclic, a hundred megabytes long, an object that
raises when it is converted to text, or text with a lone surrogate, for which an OTLP exporter loses a whole batch. The
caps apply before a value is walked. No function here raises because of the content of a value.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import msgspec

CUT: Final = "…[cut]"
"""End of a text that was cut, and replacement of a value beyond a cap."""

CYCLE: Final = "[cycle]"
MAX_DEPTH: Final = 16
MAX_NODES: Final = 20_000
MAX_BYTES: Final = 1_000_000

_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_REPLACEMENT = "\ufffd"
_CUT_BYTES = len(CUT.encode())
_PLAIN_TEXT = (date, time, timedelta, Decimal, UUID, PurePath)
_INT64 = 1 << 63
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def clean_text(text: object, max_bytes: int = MAX_BYTES) -> str:
    """Any object as text that encodes to UTF-8 and is at most `max_bytes` long.

    Args:
        text: A string; anything else is turned into one, and a failure to do so into its type's name.
        max_bytes: Longest result in UTF-8 bytes, the mark of a cut included.

    Returns:
        The text with NUL and lone surrogates replaced by U+FFFD, cut at a character with `CUT` at its end.
    """
    if type(text) is not str:
        text = str.__str__(text) if isinstance(text, str) else _as_text(text)
    if len(text) <= max_bytes and text.isascii() and "\x00" not in text:
        return text
    return _cut(text, max_bytes)


def one_line(text: object, max_bytes: int = MAX_BYTES) -> str:
    """Any object as text without control characters, for logs, terminals and messages.

    Args:
        text: A string; anything else is converted as `clean_text` does.
        max_bytes: Longest result in UTF-8 bytes.

    Returns:
        The text with each run of control characters, line separators and direction marks replaced by one space.
    """
    cleaned = clean_text(text, max_bytes)
    return cleaned if cleaned.isascii() and cleaned.isprintable() else _CONTROL.sub(" ", cleaned)


def pointer_token(name: str) -> str:
    """Returns a name as one token of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def clean_value(
    value: object, *, max_depth: int = MAX_DEPTH, max_nodes: int = MAX_NODES, max_bytes: int = MAX_BYTES
) -> Any:
    """Any value as plain JSON types within the caps.

    Mappings, sequences, sets, dataclasses, pydantic models and msgspec structs are walked; bytes become base64,
    NaN and the infinities their names, integers beyond 64 bits a note of their size, everything else its text.

    Args:
        value: What the application or a model handed over.
        max_depth: Deepest nesting that is walked.
        max_nodes: Most values that are visited, keys not counted.
        max_bytes: Most UTF-8 bytes of text, keys included, over the whole value.

    Returns:
        `None`, a bool, int, float, str, list or dict; `CUT` stands where a cap was reached.
    """
    return _ValueWalk(max_depth, max_nodes, max_bytes).visit(value, 0)


def to_json(value: object, max_bytes: int = MAX_BYTES, *, is_plain: bool = False) -> str:
    """Any value as JSON text of at most `max_bytes` UTF-8 bytes that always parses.

    Args:
        value: What the application or a model handed over.
        max_bytes: Longest result; at least 16.
        is_plain: Whether it is known to be shallow, of the JSON types alone, without NUL and of no more text than that.
    """
    if is_plain or _is_plain(value, max_bytes):
        try:
            plain = msgspec.json.encode(value)
        except (ValueError, TypeError):  # half a surrogate pair; what is no JSON type after all
            plain = b""
        if 0 < len(plain) <= max_bytes:
            return plain.decode()
    budget = max_bytes
    while budget >= _CUT_BYTES:
        encoded = msgspec.json.encode(clean_value(value, max_bytes=budget, max_nodes=min(MAX_NODES, max_bytes)))
        if len(encoded) <= max_bytes:
            return encoded.decode()
        # Escapes and punctuation come on top of the text: take off what was too much, at least a quarter.
        budget = min(budget * 3 // 4, budget - (len(encoded) - max_bytes))
    return f'"{CUT}"' if max_bytes >= _CUT_BYTES + 2 else "null"


def _is_plain(value: object, budget: int) -> bool:
    """Returns whether a value can be encoded as it is: exact JSON types, shallow, and of less text than the budget."""
    waiting: list[tuple[object, int]] = [(value, 0)]
    nodes = MAX_NODES
    while waiting:
        value, depth = waiting.pop()
        kind = type(value)
        nodes -= 1
        if kind is str:
            if "\x00" in value:  # type: ignore[operator] # `type` does not narrow
                return False
            budget -= len(value)  # type: ignore[arg-type] # `type` does not narrow
        elif (kind is dict or kind is list) and len(value) > nodes:  # type: ignore[arg-type] # `type` does not narrow
            return False
        elif kind is dict and depth < MAX_DEPTH:
            for key, item in value.items():  # type: ignore[attr-defined] # `type` does not narrow
                if type(key) is not str or "\x00" in key:
                    return False
                budget -= len(key)
                waiting.append((item, depth + 1))
        elif kind is list and depth < MAX_DEPTH:
            waiting += [(item, depth + 1) for item in value]  # type: ignore[attr-defined] # `type` does not narrow
        elif kind is int or kind is float:
            if not -_INT64 <= value < _INT64:  # type: ignore[operator] # NaN and the infinities fail this too
                return False
        elif value is not None and kind is not bool:
            return False
        if budget < 0 or nodes < len(waiting):
            return False
    return True


class _ValueWalk:
    """One walk over one value, with what is left of its budgets."""

    __slots__ = ("bytes", "depth", "nodes", "open")

    def __init__(self, depth: int, nodes: int, size: int) -> None:
        self.depth = depth
        self.nodes = nodes
        self.bytes = size
        self.open: set[int] = set()

    def visit(self, value: object, depth: int) -> Any:
        self.nodes -= 1
        if self.nodes < 0 or self.bytes <= 0:
            return CUT
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Enum):
            return self.visit(value.value, depth)
        if isinstance(value, int):
            # The decimal text of a huge integer takes quadratic time, and the interpreter refuses it.
            return int(value) if -_INT64 <= value < _INT64 else f"[integer of {int.bit_length(value)} bits]"
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else _NOT_FINITE[str(float(value))]
        if isinstance(value, (bytes, bytearray, memoryview)):
            # Four characters for three bytes: more than the budget holds need not be encoded.
            return self.text(base64.b64encode(bytes(value[: self.bytes])).decode())
        if isinstance(value, _PLAIN_TEXT):
            return self.text(_as_text(value))
        return self.container(value, depth)

    def container(self, value: object, depth: int) -> Any:
        if id(value) in self.open:
            return CYCLE
        if depth >= self.depth:
            return CUT
        self.open.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self.mapping(value, depth)
            if isinstance(value, (list, tuple, set, frozenset)):
                return self.items(value, depth)
            members = _members(value)
            return self.text(_as_text(value)) if members is None else self.mapping(members, depth)
        except Exception:  # noqa: BLE001 -- the value's own code raised: its type's name says what stood here
            return f"<{type(value).__name__}>"
        finally:
            self.open.discard(id(value))

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key in value:
            if self.nodes <= 0 or self.bytes <= 0:
                result[CUT] = CUT
                break
            result[self.text(key if isinstance(key, str) else _as_text(key))] = self.visit(value[key], depth + 1)
        return result

    def items(self, value: Any, depth: int) -> list[Any]:
        result: list[Any] = []
        for item in value:
            if self.nodes <= 0 or self.bytes <= 0:
                result.append(CUT)
                break
            result.append(self.visit(item, depth + 1))
        return result

    def text(self, value: str) -> str:
        cleaned = clean_text(value, max(self.bytes, _CUT_BYTES))
        self.bytes -= len(cleaned) if cleaned.isascii() else len(cleaned.encode())
        return cleaned


def _members(value: object) -> Mapping[str, Any] | None:
    """The fields of a dataclass, a pydantic model or a msgspec struct; `None` for anything else."""
    kind = type(value)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in fields(value)}
    if hasattr(kind, "model_fields"):  # pydantic: its own dump would walk the whole value before any cap applies
        return {**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}
    if hasattr(kind, "__struct_fields__"):
        return {name: getattr(value, name, None) for name in kind.__struct_fields__}
    return None


def _as_text(value: object) -> str:
    kind = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return f"<{kind.__name__}>"  # the default text is an address, which says nothing
    try:
        return str.__str__(str(value))
    except Exception:  # noqa: BLE001 -- the value's own code raised
        return f"<{kind.__name__}>"


def _cut(text: str, max_bytes: int) -> str:
    """The text within the limit: no more of it is looked at than the result can hold."""
    part = text[: max_bytes + 1]
    if not part.isascii() or "\x00" in part:
        part = _UNSAFE.sub(_REPLACEMENT, part)
    encoded = part.encode()
    if len(encoded) <= max_bytes and len(text) <= max_bytes:
        return part
    kept = encoded[: max(0, max_bytes - _CUT_BYTES)].decode("utf-8", "ignore")
    return kept + CUT if max_bytes >= _CUT_BYTES else kept
