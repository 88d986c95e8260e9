"""The number that a text spells."""

from __future__ import annotations

import re
from typing import Final

_MAX_LENGTH: Final = 40
_LARGEST: Final = 1e300
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?")


def number_in(text: str) -> float | None:
    """Returns the number that a text spells; `None` for another text, and for one whose readers disagree (``1,5``)."""
    if len(text) > _MAX_LENGTH:
        return None
    spelled = text.strip().lstrip("$€£ ").replace("_", "")
    if "," in spelled:
        if not _THOUSANDS.fullmatch(spelled):
            return None
        spelled = spelled.replace(",", "")
    try:
        number = float(spelled)
    except ValueError:
        return None
    return number if abs(number) < _LARGEST else None


def spelling(number: float) -> str:
    """Returns a number as patterns read it: a whole one without a point, others in the shortest form."""
    return str(int(number)) if number.is_integer() and abs(number) < _LARGEST else repr(number)


def magnitude(number: float) -> float:
    """Returns a number rounded to its first digit."""
    return float(f"{number:.0e}")
