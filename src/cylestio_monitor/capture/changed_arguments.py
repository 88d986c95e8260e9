"""The arguments and the answer of a wrapped function with what the policy has changed in place of what was given."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cylestio_monitor.capture.observed_items import read
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.govern.redaction.redactor import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.model import Result
    from cylestio_monitor.pipeline import Invocation

T = TypeVar("T")


def passed_arguments(
    invocation: Invocation, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Returns the arguments that the wrapped function gets.

    Args:
        invocation: The call; its arguments are one of those of the function, a part of one, or made of several.
        args: The positional arguments.
        kwargs: The named arguments.

    Raises:
        BlockedError: The arguments of the call were changed, and do not stand in those of the function as they were
            read: it would get the ones that must not pass.
    """
    changed = invocation.arguments if invocation.redacts else UNCHANGED
    if changed is UNCHANGED:
        return args, kwargs
    given = invocation.call.arguments
    whole = _swapped(args, kwargs, lambda item: _in_place_of(item, given, changed))
    if whole is not None:
        return whole
    if isinstance(given, Mapping) and isinstance(changed, Mapping) and given.keys() == changed.keys():
        for name in [name for name in given if changed[name] is not given[name]]:
            old, new = given[name], changed[name]
            part = _swapped(args, kwargs, functools.partial(_exchanged, old, new))
            if part is None:
                invocation.refuse_arguments()
            else:
                args, kwargs = part
        return args, kwargs
    invocation.refuse_arguments()
    return args, kwargs


def _swapped(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], swap: Callable[[Any], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Returns the arguments with some of them swapped; ``None`` where none of them was."""
    new_args = tuple(map(swap, args))
    new_kwargs = {name: swap(item) for name, item in kwargs.items()}
    pairs = [*zip(new_args, args, strict=True), *((new_kwargs[name], item) for name, item in kwargs.items())]
    return (new_args, new_kwargs) if any(new is not old for new, old in pairs) else None


def _exchanged(old: Any, new: Any, item: Any) -> Any:
    return new if item is old else item


def _in_place_of(item: Any, given: Any, changed: Any) -> Any:
    """Returns what stands in place of one argument: the changed value, as JSON or in a mapping where it stood so."""
    if item is given:
        return changed
    if isinstance(item, str) and not isinstance(given, str) and message_parts.decoded(item) == given:
        return msgspec.json.encode(changed).decode()
    if type(item) is dict:
        if item == given and isinstance(changed, dict):
            return changed
        return (
            {name: changed if value is given else value for name, value in item.items()}
            if (given is not None and any(value is given for value in item.values()))
            else item
        )
    return item


def finished(invocation: Invocation, answer: T, reader: Callable[[Any], Result] | None) -> T:
    """Ends a call, and returns its answer as it may be handed over.

    Raises:
        BlockedError: The answer, or a tool call that it asks for, is refused.
    """
    result = read(reader, answer)
    if not invocation.redacts:
        invocation.end(result, enforce=True)
        return answer
    passed: T = invocation.finish_with(answer, result)
    return passed
