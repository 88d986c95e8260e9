"""The items of a generator of a framework, read as the answer of one call while the application gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cylestio_monitor import runtime
from cylestio_monitor.capture import control_flow
from cylestio_monitor.capture.parsing.reading import read_result
from cylestio_monitor.model import TOOL_CALLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.model import Part, Result
    from cylestio_monitor.pipeline import Invocation

T = TypeVar("T")

FRAMES: Final = frozenset({"invoke_agent", "invoke_workflow", "create_agent"})
"""Operations whose content is that of the calls inside them."""


def read(reader: Callable[[Any], Result] | None, answer: object) -> Result | None:
    """Returns the answer as a `Result`, whatever its shape; `None` where nobody reads it."""
    return read_result(reader, answer) if reader is not None else None


class ObservedItems(Generic[T]):
    """The items of a generator whose run is one call, as far as the application has got them."""

    __slots__ = ("__weakref__", "_invocation", "_left", "_reader", "_seen", "_signal")

    def __init__(
        self,
        invocation: Invocation,
        reader: Callable[[list[T]], Result] | None,
        signal: control_flow.Signal | None = None,
    ) -> None:
        """Starts without items."""
        self._invocation = invocation
        self._reader = reader
        self._signal = signal
        self._left: control_flow.ControlFlow | None = None
        self._seen: list[T] = []
        runtime.open_calls.add(self)

    def add(self, item: T) -> None:
        """Takes the next item before it is handed over.

        Raises:
            BlockedError: The item completes a tool call that is refused.
        """
        if self._invocation.call.operation not in FRAMES:  # a step of an agent is no chunk of an answer
            self._invocation.first_chunk()
        if self._signal is not None:
            self._left = self._left or self._signal(item)
        if self._reader is None:
            return
        self._seen.append(item)
        if self._invocation.can_block and _tool_calls(read(self._reader, [item])):
            result = self.result()
            if self._invocation.check(_tool_calls(result)):
                self._invocation.end(result, enforce=True)

    def end(self) -> None:
        """Ends the call, all items of which are read.

        Raises:
            BlockedError: A tool call that the answer asks for is refused.
        """
        control_flow.end_returned(self._invocation, self.result(), self._left, enforce=True)

    def result(self) -> Result | None:
        """Returns the answer as far as it has come."""
        return read(self._reader, self._seen)

    def left_open(self) -> None:
        """Ends the call because the process ends."""
        self._invocation.end(self.result())


def _tool_calls(result: Result | None) -> list[Part]:
    if result is None:
        return []
    return [part for message in result.messages for part in message.parts if part.type in TOOL_CALLS]
