"""Functions that the Google Gen AI SDK calls by itself: one tool span each; a refusal reaches the application."""

from __future__ import annotations

import functools
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.capture.patching import Patches

_MODULE = "google.genai._extra_utils"
_refusals: ContextVar[list[BlockedError] | None] = ContextVar("cylestio_google_refusals", default=None)
"""Refused functions of this round: the SDK turns each exception of a function into an answer for the model."""


def _tool_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    given = args[0] if args else kwargs.get("args")
    function = args[1] if len(args) > 1 else kwargs.get("function_to_invoke")
    name = str(getattr(function, "__name__", "function"))
    call = Call("execute_tool", f"execute_tool {name}", kind="internal", tool_name=name, arguments=given)
    call.attributes[semconv.TOOL_TYPE] = "function"
    return call


def _answered(answer: Any) -> Result:
    return Result(response=answer)


def _function(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return call_wrappers.observe(lambda: _tool_call(args, kwargs), original, _answered, args, kwargs)
        except BlockedError as error:
            _remember(error)
            raise

    return call


def _function_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await call_wrappers.observe_async(
                lambda: _tool_call(args, kwargs), original, _answered, args, kwargs
            )
        except BlockedError as error:
            _remember(error)
            raise

    return call


def _remember(error: BlockedError) -> None:
    refusals = _refusals.get()
    if refusals is not None:
        refusals.append(error)


def _functions(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        refusals: list[BlockedError] = []
        token = _refusals.set(refusals)
        try:
            answers = original(*args, **kwargs)
        finally:
            _refusals.reset(token)
        if refusals:
            raise refusals[0]
        return answers

    return call


def _functions_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        refusals: list[BlockedError] = []
        token = _refusals.set(refusals)
        try:
            answers = await original(*args, **kwargs)
        finally:
            _refusals.reset(token)
        if refusals:
            raise refusals[0]
        return answers

    return call


_TARGETS = (
    ("invoke_function_from_dict_args", _function),
    ("invoke_function_from_dict_args_async", _function_async),
    ("get_function_response_parts", _functions),
    ("get_function_response_parts_async", _functions_async),
)


def patch(patches: Patches) -> None:
    """Wraps the functions of the SDK that call those of the application, where this version has them."""
    module = sys.modules.get(_MODULE)
    if module is None:
        return
    for name, wrap in _TARGETS:
        if hasattr(module, name):
            patches.wrap(module, name, wrap)
