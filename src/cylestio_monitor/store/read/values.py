"""Conversions between columns and Python values that all reads share."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec


def decoded(text: Any, default: Any) -> Any:
    """Returns the JSON of a column, or the default where it is damaged: it must not hide the rows around it."""
    try:
        return default if text is None else msgspec.json.decode(text)
    except (msgspec.DecodeError, TypeError, RecursionError):
        return default


def to_ns(moment: datetime) -> int:
    """Returns nanoseconds since the epoch; a time without a zone is UTC, as everything in the store."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    delta = aware - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000
