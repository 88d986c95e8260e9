"""The reading of a whole request or answer of any form: nothing raises, and nothing that it holds is left unscanned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.parsing.fields import unread
from cylestio_monitor.capture.parsing.passed_over import PassedOver
from cylestio_monitor.model import Message, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.model import Call, Part


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
            result = Result(messages=[Message("assistant", unread(error, answer, ""))])
    read_parts = [part for message in result.messages for part in message.parts]
    if left := _without_read(passed_over.new_parts(), read_parts):
        result.messages = [*result.messages, Message("assistant", left)]
    return result


def _without_read(left: list[Part], read_parts: list[Part]) -> list[Part]:
    """Returns the parts of what was passed over without values that another reader took: each is scanned once."""
    if not left:
        return left
    taken = {id(part.content) for part in read_parts}
    return [part for part in left if id(part.content) not in taken]
