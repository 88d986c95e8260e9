"""Tools of the OpenAI Agents SDK: function tools, and the tools that run shell commands, patches and computer actions.

The SDK compares `FunctionTool.on_invoke_tool` by identity and inspects its type, so a tool object is never changed:
what is wrapped is the function through which the SDK calls every function tool.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks.tool_calls import tool_call
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call, Result

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER_INSTRUMENTATIONS = (
    "openinference.instrumentation.openai_agents",
    "opentelemetry.instrumentation.openai_agents",
    "opentelemetry.instrumentation.genai.openai_agents",
    "openlit.instrumentation.openai_agents",
)


class _RunningToolCall(NamedTuple):
    """A call of a function tool that is under way.

    Attributes:
        context: The SDK's context object of the call.
        errors: The types of the exceptions that the SDK turned into a text for the model.
    """

    context: object
    errors: list[str]


_calls: ContextVar[_RunningToolCall | None] = ContextVar("cylestio_openai_agents_tool_call", default=None)


def _invoke(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the function that calls a function tool: `(*, function_tool, context, arguments)`."""

    @functools.wraps(original)
    async def invoke(*args: Any, **kwargs: Any) -> Any:
        outer = _calls.get()
        if outer is not None and outer.context is kwargs.get("context"):
            return await original(*args, **kwargs)  # later versions have two such functions, one inside the other
        here = _RunningToolCall(kwargs.get("context"), [])
        token = _calls.set(here)
        try:
            return await call_wrappers.observe_async(
                lambda: _function_tool(**kwargs),
                original,
                lambda answer: Result(
                    response=getattr(answer, "output", answer), error_type=here.errors[0] if here.errors else None
                ),
                args,
                kwargs,
            )
        finally:
            _calls.reset(token)

    return invoke


def _handle_failure(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the function that turns a tool's exception into a text for the model, to note the exception's type."""

    @functools.wraps(original)
    async def handle(*args: Any, **kwargs: Any) -> Any:
        answer = await original(*args, **kwargs)
        here, error = _calls.get(), kwargs.get("error")
        if answer is not None and here is not None and error is not None:
            here.errors.append(type(error).__qualname__)
        return answer

    return handle


def _action(field: str) -> Callable[[Any], Any]:
    """Returns a decorator for the class method that runs a built-in tool.

    Args:
        field: The attribute of the tool call's record that holds the tool.
    """
    return call_wrappers.around_async(functools.partial(_built_in_tool, field), _output)


def _function_tool(*, function_tool: Any, context: Any, arguments: Any, **_: Any) -> Call | None:
    return _tool_call(function_tool, arguments, getattr(context, "tool_call_id", None))


def _built_in_tool(field: str, _: Any, __: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    run = kwargs.get("call") or kwargs.get("action")
    asked: Any = getattr(run, "tool_call", None)
    dumped = asked.model_dump(exclude_none=True) if hasattr(asked, "model_dump") else asked
    given = dumped if isinstance(dumped, dict) else {}
    arguments = next((given[key] for key in ("action", "actions", "operation", "input") if given.get(key)), dumped)
    return _tool_call(getattr(run, field), arguments, given.get("call_id"))


def _tool_call(tool: Any, arguments: Any, call_id: Any) -> Call | None:
    if call_wrappers.is_traced(OTHER_INSTRUMENTATIONS):
        return None
    description = getattr(tool, "description", None)
    return tool_call(tool.name, message_parts.decoded(arguments), description=description, call_id=call_id)


def _output(item: Any) -> Result:
    return Result(response=getattr(item, "output", None))


_TOOLS, _ACTIONS = "agents.tool", "agents.run_internal.tool_actions"

TARGETS = (
    Target(_TOOLS, "", "invoke_function_tool", _invoke, is_imported_by_name=True),
    Target(_TOOLS, "", "_invoke_function_tool_with_metadata", _invoke, optional=True, is_imported_by_name=True),
    Target(
        _TOOLS,
        "",
        "maybe_invoke_function_tool_failure_error_function",
        _handle_failure,
        optional=True,
        is_imported_by_name=True,
    ),
    Target(_ACTIONS, "ComputerAction", "execute", _action("computer_tool"), optional=True),
    Target(_ACTIONS, "LocalShellAction", "execute", _action("local_shell_tool"), optional=True),
    Target(_ACTIONS, "ShellAction", "execute", _action("shell_tool"), optional=True),
    Target(_ACTIONS, "ApplyPatchAction", "execute", _action("apply_patch_tool"), optional=True),
    Target(_ACTIONS, "CustomToolAction", "execute", _action("custom_tool"), optional=True),
)
