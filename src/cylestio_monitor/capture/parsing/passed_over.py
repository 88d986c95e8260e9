"""Values of another type than the API has: the readers pass them over, and they are kept to be scanned as they are.

A reader asks `fields.as_dict` for an object or `fields.text_or_none` for a text. Where a server or an application put
something else there, the reader goes on without it. What it held is noted here while a call is read, so that no text
escapes the scan because of the type around it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.model import Part

if TYPE_CHECKING:
    from contextvars import Token

PATH: Final = "elsewhere"
"""The path of such a value: its place is not known any more."""

MAX_VALUES: Final = 1_000
"""Values of one call that are kept; one more is reported as unread."""

_noted: ContextVar[dict[int, Any] | None] = ContextVar("cylestio_passed_over", default=None)


def pass_over(value: Any) -> None:
    """Notes a value that a reader does not take; nothing, numbers and flags hold no text."""
    noted = _noted.get()
    if noted is None or value is None or isinstance(value, (bool, int, float)):
        return
    if len(noted) <= MAX_VALUES:
        noted[id(value)] = value  # kept, so that no other object has its identity meanwhile


class PassedOver:
    """The values that were passed over while one call was read; a context manager around each step of the reading."""

    __slots__ = ("_given", "_noted", "_token")

    def __init__(self) -> None:
        """Starts without any."""
        self._noted: dict[int, Any] = {}
        self._given = 0

    def __enter__(self) -> None:
        self._token: Token[dict[int, Any] | None] = _noted.set(self._noted)

    def __exit__(self, *_: object) -> None:
        _noted.reset(self._token)

    def new_parts(self) -> list[Part]:
        """Returns what was passed over since the last time, as parts."""
        if len(self._noted) == self._given:
            return []
        new = list(self._noted.values())[self._given :]
        self._given = len(self._noted)
        return [
            Part("json", value, path=PATH) if number < MAX_VALUES else Part("unreadable", "too many", path=PATH)
            for number, value in enumerate(new, self._given - len(new))
        ]
