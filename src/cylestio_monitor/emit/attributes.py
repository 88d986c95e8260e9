"""Span attributes that every exporter takes: right types, text that encodes, integers of 64 bits.

The SDK refuses a bad value late: a lone surrogate in one attribute costs the OTLP exporter its whole batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor import sanitize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cylestio_monitor.model import AttributeValue, Scalar

MAX_BYTES = 1_000_000
_INT64 = 1 << 63


def safe(attributes: Mapping[str, object]) -> dict[str, AttributeValue]:
    """The attributes with every value made fit; `None` is left out, and a list becomes one of a single type.

    Args:
        attributes: Full attribute names to values of any kind.
    """
    out: dict[str, AttributeValue] = {}
    for name, value in attributes.items():
        kind = type(value)
        if kind is str and len(value) <= MAX_BYTES and value.isascii():  # type: ignore[arg-type,attr-defined]
            out[name] = value  # type: ignore[assignment] # most attributes end here, and `type` does not narrow
        elif kind is bool or kind is float or (kind is int and -_INT64 <= value < _INT64):  # type: ignore[operator]
            out[name] = value  # type: ignore[assignment]
        elif isinstance(value, (list, tuple)):
            items = [_scalar(item) for item in value if item is not None]
            uniform = len({type(item) for item in items}) <= 1
            out[name] = items if uniform else [str(item) for item in items]  # type: ignore[assignment] # one type each
        elif value is not None:
            out[name] = _scalar(value)
    return out


def _scalar(value: object) -> Scalar:
    kind = type(value)
    if kind is str:
        text: str = value  # type: ignore[assignment] # `type` does not narrow
        return text if len(text) <= MAX_BYTES and text.isascii() else sanitize.clean_text(text, MAX_BYTES)
    if kind is bool or kind is float:
        return value  # type: ignore[return-value] # `type` does not narrow
    if kind is int and -_INT64 <= value < _INT64:  # type: ignore[operator] # `type` does not narrow
        return value  # type: ignore[return-value] # `type` does not narrow
    return sanitize.clean_text(value, MAX_BYTES)
