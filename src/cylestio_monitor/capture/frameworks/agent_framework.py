"""Microsoft's Agent Framework makes OpenTelemetry spans itself; the content of its tools is read here.

Its spans have the content of tools only where the application asks for it, and after the tool has run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks.tool_calls import tool_call, tool_result
from cylestio_monitor.capture.patching import Target

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.model import Call


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    given = args[0] if args else kwargs.get("call_kwargs")
    return tool_call(tool.name, dict(given or {}), description=getattr(tool, "description", None))


TARGETS = (
    # Called inside the framework's own span of the tool.
    Target(
        "agent_framework._tools", "FunctionTool", "_invoke_function", call_wrappers.around_async(_tool, tool_result)
    ),
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of the framework."""
    patches.apply(TARGETS, module)
