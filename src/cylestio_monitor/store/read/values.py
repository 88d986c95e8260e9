"""Conversions between columns and Python values that all reads share."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgspec

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def decoded(text: Any, default: Any) -> Any:
    """Returns the JSON of a column, or the default where it is damaged: it must not hide the rows around it."""
    try:
        return default if text is None else msgspec.json.decode(text)
    except (msgspec.DecodeError, TypeError, RecursionError):
        return default


def capped_sum(expression: str) -> str:
    """SQL of the sum of integers, 0 of none, at most 2**63 - 1.

    `sum()` fails beyond that, and the numbers come from servers that report as many tokens as they like.
    """
    return f"CAST(total({expression}) AS INTEGER)"


def to_ns(moment: datetime) -> int:
    """Returns nanoseconds since the epoch; a time without a zone is UTC, as everything in the store."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    delta = aware - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000


def parse_moment(text: str) -> datetime:
    """Returns the aware time that a person wrote: an age such as ``24h``, or ISO 8601, UTC where it names no zone.

    Raises:
        ValueError: The text is neither, or the time is out of range; the message says so.
    """
    if ago := _AGO.fullmatch(text.strip().lower()):
        try:
            return datetime.now(timezone.utc) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError as error:
            raise ValueError(f"{text!r} lies before all time") from error
    try:
        moment = datetime.fromisoformat(text.strip().upper().replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError(f"{text!r} is neither an age such as 24h nor a date such as 2026-01-31") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
