"""Runs of an agent that return a handle at once and go on in a task."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture import call_wrappers, control_flow
from cylestio_monitor.model import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.pipeline import Invocation


def around_background_run(
    make: call_wrappers.MakeOf, find_task: Callable[[Any], Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator for a method that starts a task: the call ends with the task.

    The span is current while the method runs, and the task inherits it with its context.

    Args:
        make: Reads a call from the object, the positional and the named arguments.
        find_task: Returns the task, or another future, from what the method returned.
    """

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def run(*args: Any, **kwargs: Any) -> Any:
            invocation = call_wrappers.begin(lambda: make(args[0], args[1:], kwargs)) if args else None
            if invocation is None:
                return original(*args, **kwargs)
            with call_wrappers.Inside(invocation):
                try:
                    handle = original(*args, **kwargs)
                except BaseException as error:
                    control_flow.end_raised(invocation, None, error)
                    raise
            task = find_task(handle)
            if hasattr(task, "add_done_callback"):
                task.add_done_callback(functools.partial(_end, invocation))
            else:
                weakref.finalize(handle, invocation.abandon).atexit = False
            return handle

        return run

    return wrap


def _end(invocation: Invocation, task: Any) -> None:
    if task.cancelled():
        invocation.end(Result(error_type="CancelledError"))
    elif (error := task.exception()) is not None:
        control_flow.end_raised(invocation, None, error)
    else:
        invocation.end()
