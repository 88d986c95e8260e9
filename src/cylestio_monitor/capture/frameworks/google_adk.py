"""The Agent Development Kit of Google makes OpenTelemetry spans itself; the content of its tools is read here.

Its spans have the content of tools only where the application asks for it, and after the tool has run.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks.tool_calls import tool_call, tool_result
from cylestio_monitor.capture.patching import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.model import Call


def _around_tool(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the function that runs a tool: `(tool, args, tool_context)`."""

    @functools.wraps(original)
    async def run(*args: Any, **kwargs: Any) -> Any:
        return await call_wrappers.observe_async(lambda: _tool(*args, **kwargs), original, tool_result, args, kwargs)

    return run


def _tool(tool: Any, args: Any, tool_context: Any = None) -> Call:
    call_id = getattr(tool_context, "function_call_id", None)
    return tool_call(tool.name, args, description=getattr(tool, "description", None), call_id=call_id)


_FLOWS = "google.adk.flows.llm_flows"

TARGETS = (
    # Up to 1.x, and later.
    Target(f"{_FLOWS}.functions", "", "__call_tool_async", _around_tool, optional=True),
    Target(f"{_FLOWS}.tools._caller", "", "_call_tool_async", _around_tool),
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of the kit."""
    patches.apply(TARGETS, module)
