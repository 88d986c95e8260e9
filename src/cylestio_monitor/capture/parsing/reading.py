"""The reading of a whole request or answer of any form: nothing raises, and nothing that it holds is left unscanned.

What a reader cannot read is recorded as it is. A reader asks `fields.as_dict` for an object or `fields.text_or_none`
for a text. Where a server or an application put something else there, the reader goes on without it. What it held is
noted here while a call is read, so that no text escapes the scan because of the type around it.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.model import Message, Part, Result, ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from cylestio_monitor.model import Call

log = logging.getLogger(__name__)

PATH: Final = "elsewhere"
"""The path of a value that was passed over: its place is not known any more."""

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


def unread(error: BaseException, value: Any, path: str) -> list[Part]:
    """Returns the parts that stand for content that could not be read: why, and the content as it is."""
    log.debug("Could not read %s", path or "a message", exc_info=error)
    return [Part("unreadable", type(error).__name__, path=path), Part("json", value, path=path)]


def unread_result(error: BaseException, answer: Any) -> Result:
    """Returns the answer that stands for one that could not be read."""
    return Result(messages=[Message("assistant", unread(error, answer, ""))])


def unread_tool(error: BaseException, item: Any, path: str) -> ToolDefinition:
    """Returns the tool definition that stands for one that could not be read."""
    log.debug("Could not read %s", path, exc_info=error)
    return ToolDefinition("", type(error).__name__, type="unreadable", path=path, extra=item)


def read_call(read: Callable[[], Call], body: Any, blank: Callable[[], Call]) -> Call:
    """Reads a request.

    Args:
        read: Reads it.
        body: What it reads.
        blank: Makes the call where it cannot be read; the body is then added as it is.
    """
    passed_over = PassedOver()
    with passed_over:
        try:
            call = read()
        except Exception as error:  # noqa: BLE001 -- a request of any form: it is recorded as unreadable, so that it can be refused
            call = blank()
            call.messages = [*call.messages, Message("user", unread(error, body, ""))]
    read_parts = [*call.system, *(part for message in call.messages for part in message.parts)]
    if left := _without_read(passed_over.new_parts(), read_parts):
        # First: parts before the last message of the model count as history, which is not scanned each time.
        call.messages = [Message("user", left), *call.messages]
    return call


def read_result(read: Callable[..., Result], answer: Any, *more: Any) -> Result:
    """Reads a whole answer.

    Args:
        read: Reads it; gets the answer and what is given beside it.
        answer: The answer.
        more: Further arguments of `read`.
    """
    passed_over = PassedOver()
    with passed_over:
        try:
            result = read(answer, *more)
        except Exception as error:  # noqa: BLE001 -- an answer of any form: it is recorded as unreadable
            result = unread_result(error, answer)
    read_parts = [part for message in result.messages for part in message.parts]
    add_parts(result, _without_read(passed_over.new_parts(), read_parts))
    return result


def add_parts(result: Result, parts: list[Part]) -> None:
    """Adds parts to an answer as one more message, where there are any."""
    if parts:
        result.messages = [*result.messages, Message("assistant", parts)]


def _without_read(left: list[Part], read_parts: list[Part]) -> list[Part]:
    """Returns the parts of what was passed over without values that another reader took: each is scanned once."""
    if not left:
        return left
    taken = {id(part.content) for part in read_parts}
    return [part for part in left if id(part.content) not in taken]
