"""The description of one endpoint of a provider: the readers of its request, its answer and its stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.govern.redaction.streamed import StreamedRedaction
    from cylestio_monitor.model import Call, Part, Result
    from cylestio_monitor.pipeline import Invocation


class Fold(Protocol):
    """Collects the events of a streamed answer.

    Attributes:
        complete: Tool calls whose arguments have all arrived, until the reader of the stream takes them; collected
            only where an answer can be refused.
    """

    complete: list[Part]

    def event(self, event: Any, /) -> None:
        """Takes the next event, an object of the SDK or parsed JSON with attributes."""

    def result(self) -> Result:
        """Returns the answer as far as it has come."""


class RedactedEvents(Protocol):
    """Redacts the events of a streamed answer on their way to the application.

    An event stays an object of its type and keeps its place. A text of it may be shorter or empty, and the rest of it
    come with a later one; at the end of a text there may be an event more. What raises lets nothing pass any more.
    """

    def passed(self, event: Any, /) -> list[Any]:
        """Returns what is handed over in place of an event."""

    def rest(self) -> list[Any]:
        """Returns what is handed over after the last event."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The readers of one endpoint.

    Attributes:
        call: Reads a request from the client, the JSON body, and whether the answer is streamed.
        result: Reads a whole answer to a call: an object of the SDK, or parsed JSON with attributes.
        fold: Makes the collector of a streamed answer.
        redacted: Makes what redacts the events of a streamed answer; ``None`` where that cannot be done.
    """

    call: Callable[[Any, Any, bool], Call]
    result: Callable[[Any, Call], Result]
    fold: Callable[[Invocation], Fold]
    redacted: Callable[[StreamedRedaction], RedactedEvents] | None = None
