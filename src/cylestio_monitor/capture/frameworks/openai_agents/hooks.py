"""The OpenAI Agents SDK: the turns of its agents and its function tools; the model calls are the OpenAI SDK's."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.model import Call, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation

_OTHERS = (
    "openinference.instrumentation.openai_agents",
    "opentelemetry.instrumentation.openai_agents",
    "opentelemetry.instrumentation.genai.openai_agents",
    "openlit.instrumentation.openai_agents",
)
_TOOL = "on_invoke_tool"


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the SDK's spans, which it makes also where its tracing is off, and the field that holds a tool."""
    if module.__name__ == "agents.tool":
        patches.place(module.FunctionTool, _TOOL, _ToolFunction())
        return
    if module.__name__ == "agents.run":
        patches.wrap(module.AgentRunner, "run", call_wrappers.around_async(_workflow))
        return
    for span in (module.SpanImpl, module.NoOpSpan):
        patches.wrap(span, "start", _start)
        patches.wrap(span, "finish", _finish)


class _ToolFunction:
    """The field `on_invoke_tool` of every tool, those that exist already included: read, it is an observed function."""

    def __get__(self, tool: Any, owner: type | None = None) -> Any:
        if tool is None or _TOOL not in vars(tool):
            raise AttributeError(_TOOL)
        function = vars(tool)[_TOOL]

        @functools.wraps(function)
        async def invoke(context: Any, arguments: Any) -> Any:
            return await call_wrappers.observe_async(
                lambda: _tool_call(tool, context, arguments), lambda: function(context, arguments), _tool_result
            )

        invoke.__dict__["__cylestio_original__"] = function
        return invoke

    def __set__(self, tool: Any, function: Any) -> None:
        # A copy of a tool is made from what was read from the first.
        vars(tool)[_TOOL] = getattr(function, "__cylestio_original__", function)


def _tool_call(tool: Any, context: Any, arguments: Any) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    call = Call("execute_tool", f"execute_tool {tool.name}", kind="internal", tool_name=tool.name)
    call.arguments = message_parts.decoded(arguments)
    call.attributes = {semconv.TOOL_TYPE: "function"}
    if description := getattr(tool, "description", None):
        call.attributes[semconv.TOOL_DESCRIPTION] = str(description)
    if call_id := getattr(context, "tool_call_id", None):
        call.attributes[semconv.TOOL_CALL_ID] = str(call_id)
    return call


def _tool_result(answer: Any) -> Result:
    return Result(response=answer)


_open: dict[int, tuple[Any, Invocation, call_wrappers.Inside | None]] = {}
"""The turns under way, by the identity of the SDK's span, which is held beside them."""


def _start(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(self: Any, mark_as_current: bool = False) -> Any:
        answer = original(self, mark_as_current)
        data = self.span_data
        if data.type == "agent" and id(self) not in _open and not call_wrappers.is_traced(_OTHERS):
            invocation = call_wrappers.begin(lambda: _turn(data))
            if invocation is not None:
                inside = call_wrappers.Inside(invocation) if mark_as_current else None
                if inside is not None:
                    inside.__enter__()
                _open[id(self)] = (self, invocation, inside)
        return answer

    return start


def _finish(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def finish(self: Any, reset_current: bool = False) -> Any:
        _, invocation, inside = _open.pop(id(self), (None, None, None))
        if inside is not None:
            inside.__exit__(None, None, None)
        if invocation is not None:
            invocation.end(Result(error_type="agent_error") if self.error else None)
        return original(self, reset_current)

    return finish


def _workflow(_: Any, __: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """A run: the span around the turns of the agents that hand over to each other."""
    if call_wrappers.is_traced(_OTHERS):
        return None
    name = str(getattr(kwargs.get("run_config"), "workflow_name", None) or "Agent workflow")
    conversation = kwargs.get("conversation_id")
    return Call(
        "invoke_workflow",
        f"invoke_workflow {name}",
        kind="internal",
        conversation_id=str(conversation) if conversation else None,
    )


def _turn(data: Any) -> Call:
    name = str(data.name)
    return Call("invoke_agent", f"invoke_agent {name}", kind="internal", attributes={semconv.AGENT_NAME: name})
