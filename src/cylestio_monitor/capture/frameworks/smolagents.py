"""smolagents: the runs of agents, their tools, and the Python code that an agent writes and runs."""

from __future__ import annotations

import functools
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks.tool_calls import tool_call, tool_result
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_OTHERS = ("openinference.instrumentation.smolagents", "openlit.instrumentation.smolagents")
_INTERPRETER = "python_interpreter"
_OWN_ARGUMENTS = frozenset({"sanitize_inputs_outputs"})


def _agent(agent: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    name = str(getattr(agent, "name", None) or type(agent).__name__)
    return Call("invoke_agent", f"invoke_agent {name}", kind="internal", attributes={semconv.AGENT_NAME: name})


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    named = {name: value for name, value in kwargs.items() if name not in _OWN_ARGUMENTS}
    if len(args) == 1 and isinstance(args[0], dict) and not named:
        given: Any = args[0]  # the arguments of the model, as one dictionary
    else:
        given = {**dict(zip(tool.inputs, args, strict=False)), **named}
    return tool_call(tool.name, given, description=getattr(tool, "description", None))


def _code(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    return tool_call(_INTERPRETER, {"code": args[0] if args else kwargs.get("code_action")})


def _code_result(answer: Any) -> Result:
    return Result(response={"output": getattr(answer, "output", None), "logs": getattr(answer, "logs", None)})


def _keep_context(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `timeout(seconds)`, whose decorator runs generated code in a thread: the code keeps its span as parent."""

    @functools.wraps(original)
    def timeout(*args: Any, **kwargs: Any) -> Any:
        limit = original(*args, **kwargs)
        return lambda function: limit(functools.partial(copy_context().run, function))

    return timeout


TARGETS = (
    Target("smolagents.agents", "MultiStepAgent", "_run_stream", call_wrappers.around_steps(_agent)),
    Target("smolagents.tools", "Tool", "__call__", call_wrappers.around(_tool, tool_result)),
    Target("smolagents.tools", "PipelineTool", "__call__", call_wrappers.around(_tool, tool_result), optional=True),
    Target(
        "smolagents.local_python_executor",
        "LocalPythonExecutor",
        "__call__",
        call_wrappers.around(_code, _code_result),
    ),
    Target("smolagents.local_python_executor", "", "timeout", _keep_context, optional=True),
    Target(
        "smolagents.remote_executors",
        "RemotePythonExecutor",
        "__call__",
        call_wrappers.around(_code, _code_result),
        optional=True,
    ),
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of smolagents."""
    patches.apply(TARGETS, module)
