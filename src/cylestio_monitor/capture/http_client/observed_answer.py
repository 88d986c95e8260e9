"""An answer that the application reads piece by piece: each piece is folded and judged, and the call ended once."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from cylestio_monitor import runtime
from cylestio_monitor.capture.parsing.reading import MAX_VALUES, PassedOver, add_parts, read_result, unread

if TYPE_CHECKING:
    from types import FrameType

    from cylestio_monitor.capture.http_client.endpoint import Fold, RedactedEvents
    from cylestio_monitor.model import Part, Result
    from cylestio_monitor.pipeline import Invocation

log = logging.getLogger(__name__)


class ObservedAnswer:
    """One answer that the application reads piece by piece. However the reading ends, the invocation ends once."""

    __slots__ = (
        "__weakref__",
        "_begun",
        "_ended",
        "_events",
        "_fold",
        "_generator",
        "_invocation",
        "_judges",
        "_passed_over",
        "_pid",
        "_rest",
        "_unread",
    )

    def __init__(
        self,
        invocation: Invocation,
        fold: Fold,
        generator: object = None,
        *,
        is_stream: bool = True,
        events: RedactedEvents | None = None,
    ) -> None:
        """Starts before the first event.

        Args:
            invocation: The call that the answer ends.
            fold: Collects the events.
            generator: The SDK's generator that reads the body, where there is one: it closes the body itself.
            is_stream: The model streams the answer, so that the time of its first piece is recorded.
            events: Redacts the events, where policy asks for it.
        """
        self._invocation = invocation
        self._fold = fold
        self._generator = generator
        self._events = events
        self._rest: list[Any] = []
        self._begun = not is_stream
        self._ended = False
        self._judges = invocation.can_block
        self._unread: list[Part] = []
        self._passed_over = PassedOver()
        self._pid = os.getpid()
        runtime.open_calls.add(self)

    @property
    def can_block(self) -> bool:
        """The answer can be refused, so nothing of it may be handed over before it is judged."""
        return self._judges and not self._ended

    def observe(self, event: Any) -> None:
        """Takes the next event before the application gets it.

        Raises:
            BlockedError: The event completes a tool call that is refused. The call has ended.
        """
        if not self._begun:
            self._begun = True
            self._invocation.first_chunk()
        failed: list[Part] = []
        with self._passed_over:
            try:
                self._fold.event(event)
            except Exception as error:  # noqa: BLE001 -- an event of any form: it is recorded as it is, reading goes on
                if len(self._unread) < MAX_VALUES:  # more of them are reported by those before
                    failed = unread(error, event, "stream")
        if left := [*failed, *self._passed_over.new_parts()]:
            self._unread += left
            if self._judges:
                self._judge(left)
        if self._fold.complete:
            parts, self._fold.complete = self._fold.complete, []
            self._judge(parts)

    def _judge(self, parts: list[Part]) -> None:
        if not self._ended and self._invocation.check(parts):
            self._ended = True
            self._invocation.end(self._result(), enforce=True)

    def passed(self, event: Any) -> list[Any]:
        """Returns what is handed over in place of an event of a redacted answer.

        Raises:
            BlockedError: The answer cannot be redacted. The call has ended.
        """
        try:
            return self._events.passed(event) if self._events is not None else [event]
        except Exception:  # an event of any form: nothing that could not be redacted may pass
            log.debug("An event of a streamed answer could not be redacted", exc_info=True)
            return self._refuse_rest()

    def take_rest(self) -> list[Any]:
        """Returns what is handed over after the last event of a redacted answer."""
        rest, self._rest = self._rest, []
        return rest

    def _refuse_rest(self) -> list[Any]:
        """Ends the call as one whose answer is refused; the rest of an answer that has ended is left out."""
        if not self._ended:
            self._ended = True
            self._invocation.refuse_stream()
            self._invocation.end(self._result(), enforce=True)
        return []

    def finished(self) -> None:
        """Ends the call with an answer that was read to its end.

        Raises:
            BlockedError: The answer asks for a tool call that is refused, or its rest cannot be redacted.
        """
        if self._events is not None:
            try:
                self._rest = self._events.rest()
            except Exception:  # as of an event
                log.debug("The rest of a streamed answer could not be redacted", exc_info=True)
                self._rest = self._refuse_rest()
        if not self._ended:
            self._ended = True
            self._invocation.end(self._result(), enforce=True)

    def closed(self) -> None:
        """Ends the call with an answer that the application stopped reading, which is no error."""
        if not self._ended:
            self._ended = True
            self._invocation.end(self._result())

    def failed(self, error: BaseException) -> None:
        """Ends the call with an error: a broken connection, an error of the provider, a cancelled task."""
        generator = self._generator
        if getattr(generator, "gi_running", False) or getattr(generator, "ag_running", False):
            return  # it runs in another thread or task; this error only reports that it may not be entered twice
        if not self._ended:
            self._ended = True
            self._invocation.end(self._result(), error)

    def dropped(self) -> None:
        """Ends the call of a stream that was freed early. Called by a finaliser, also while Python shuts down."""
        if self._ended or sys.is_finalizing() or self._pid != os.getpid():  # a forked child frees its parent's streams
            return
        self._ended = True
        self._invocation.abandon(self._result())

    def left_open(self) -> None:
        """Ends the call of a stream that is neither read nor closed when the process ends."""
        if self._pid == os.getpid():
            self.closed()

    def body_closed(self) -> None:
        """Ends the call when the body is closed, unless the SDK's own generator closes it and then reports why."""
        if not self._ended and not self._within_generator():
            self.closed()

    def wait_durable(self) -> None:
        """Waits until a high or critical finding of the answer is on disk."""
        self._invocation.wait_durable()

    async def wait_durable_async(self) -> None:
        """Does what `wait_durable` does, without blocking the event loop."""
        await self._invocation.wait_durable_async()

    def _within_generator(self) -> bool:
        generator = self._generator
        inner = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
        frame: FrameType | None = sys._getframe(1) if inner is not None else None  # noqa: SLF001 -- there is no other
        while frame is not None and frame is not inner:
            frame = frame.f_back
        return frame is not None

    def _result(self) -> Result:
        result = read_result(lambda _: self._fold.result(), None)
        add_parts(result, self._unread)
        return result
