"""Exceptions with which a framework pauses a run or hands it over: they are no errors of the call that they leave.

A run that waits for a person, or a tool that passes control to another agent, is left by an exception in several
frameworks. The span of such a call has no error; an attribute and a span event say what happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from cylestio_monitor import semconv
from cylestio_monitor.model import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.pipeline import Invocation

    ControlFlow = Literal["pause", "handover", "stop"]
    Signal = Callable[[Any], ControlFlow | None]

PAUSE: Final = "pause"
"""The run waits for an answer from outside and may be resumed."""
HANDOVER: Final = "handover"
"""Control passes to another agent or to the surrounding graph."""
STOP: Final = "stop"
"""The run ends early on purpose."""

_SIGNALS: Final[dict[str, ControlFlow]] = {
    "langgraph.errors.GraphInterrupt": PAUSE,
    "langgraph.errors.GraphDrained": STOP,
    "langgraph.errors.ParentCommand": HANDOVER,
    "langgraph.errors.GraphBubbleUp": PAUSE,
    "crewai.flow.async_feedback.types.HumanFeedbackPending": PAUSE,
    "pydantic_ai.exceptions.CallDeferred": PAUSE,
    "pydantic_ai.exceptions.ApprovalRequired": PAUSE,
    "strands.interrupt.InterruptException": PAUSE,
    "google.adk.workflow._errors.NodeInterruptedError": PAUSE,
    "agent_framework._workflows._functional.WorkflowInterrupted": PAUSE,
    "agent_framework._middleware.MiddlewareTermination": STOP,
    "workflows.runtime.types.results.WaitingForEvent": PAUSE,
}
"""The exception classes, by full name; subclasses are included. No framework is imported for them."""


def of_exception(error: BaseException | None) -> ControlFlow | None:
    """Returns what an exception signals; `None` for an error.

    Args:
        error: What a call of a framework raised.
    """
    for kind in type(error).__mro__:
        signal = _SIGNALS.get(f"{kind.__module__}.{kind.__qualname__}")
        if signal is not None:
            return signal
    return None


def end_raised(invocation: Invocation, result: Result | None, error: BaseException) -> None:
    """Ends a call with the exception it raised: as an error, or as a pause or a handover.

    Args:
        invocation: The call.
        result: What came back before the exception, as far as it did.
        error: The exception.
    """
    signal = of_exception(error)
    if signal is None:
        invocation.end(result, error)
    else:
        end_returned(invocation, result, signal)


def end_returned(
    invocation: Invocation, result: Result | None, signal: ControlFlow | None, *, enforce: bool = False
) -> None:
    """Ends a call that returned; where the framework paused it or handed it over, its span says so.

    Args:
        invocation: The call.
        result: What came back, as far as it did.
        signal: What happened; `None` for a usual end.
        enforce: Whether a tool call in the result that policy refuses raises.

    Raises:
        BlockedError: `enforce` is set, and policy refuses a tool call in the result.
    """
    if signal is not None:
        result = result or Result()
        result.attributes[semconv.CONTROL_FLOW] = signal
        invocation.span.add_event(semconv.EVENT_CONTROL_FLOW, {semconv.CONTROL_FLOW: signal})
    invocation.end(result, enforce=enforce)
