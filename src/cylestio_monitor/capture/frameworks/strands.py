"""Strands Agents makes OpenTelemetry spans itself: they are scanned and tagged; a tool is judged before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks.tool_calls import tool_call
from cylestio_monitor.capture.parsing.fields import as_dict
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call, Result

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    use = as_dict(args[0] if args else kwargs.get("tool_use"))
    description = as_dict(tool.tool_spec).get("description")
    return tool_call(tool.tool_name, use.get("input"), description=description, call_id=use.get("toolUseId"))


def _result(events: list[Any]) -> Result:
    answer = getattr(events[-1], "tool_result", events[-1]) if events else None
    if not isinstance(answer, dict):
        return Result(response=answer)
    return Result(
        response=answer.get("content", answer), error_type="tool_error" if answer.get("status") == "error" else None
    )


TARGETS = (
    Target(
        "strands.tools.decorator", "DecoratedFunctionTool", "stream", call_wrappers.around_steps_async(_tool, _result)
    ),
    Target("strands.tools.tools", "PythonAgentTool", "stream", call_wrappers.around_steps_async(_tool, _result)),
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of Strands Agents."""
    patches.apply(TARGETS, module)
