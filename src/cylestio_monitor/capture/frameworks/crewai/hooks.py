"""CrewAI: crews, the turns of their agents, and tools; the model calls are those of the SDKs or of LiteLLM below."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks.tool_calls import tool_call, tool_result
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_OTHERS = (
    "openinference.instrumentation.crewai",
    "opentelemetry.instrumentation.crewai",
    "openlit.instrumentation.crewai",
)


def _crew(crew: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    # A crew that streams calls the same method again, in a thread, to do the work.
    if call_wrappers.is_traced(_OTHERS) or getattr(crew, "stream", False):
        return None
    name = str(getattr(crew, "name", None) or "crew")
    return Call("invoke_workflow", f"invoke_workflow {name}", kind="internal")


def _agent(agent: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    role = str(agent.role).strip()
    attributes: dict[str, Any] = {semconv.AGENT_NAME: role, semconv.AGENT_ID: str(agent.id)}
    return Call("invoke_agent", f"invoke_agent {role}", kind="internal", attributes=attributes)


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    given = args[0] if args else kwargs.get("input", kwargs)
    return tool_call(tool.name, given, description=tool.description)


def _flow(flow: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    # CrewAI builds its own executor of an agent as a flow.
    if call_wrappers.is_traced(_OTHERS) or type(flow).__module__.startswith("crewai."):
        return None
    name = str(getattr(flow, "name", None) or type(flow).__name__)
    return Call("invoke_workflow", f"invoke_workflow {name}", kind="internal")


def _lone_agent(agent: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Reads a run of an agent without a crew; inside an event loop `kickoff` only returns `kickoff_async`."""
    return None if is_in_event_loop() else _agent(agent, args, kwargs)


def is_in_event_loop() -> bool:
    """Returns whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_TOOLS, _STRUCTURED, _AGENT = "crewai.tools.base_tool", "crewai.tools.structured_tool", "crewai.agent.core"

TARGETS = (
    Target("crewai.crew", "Crew", "kickoff", call_wrappers.around(_crew)),
    Target("crewai.crew", "Crew", "akickoff", call_wrappers.around_async(_crew), optional=True),
    # `kickoff` of a flow runs `kickoff_async`; the class moved in later versions.
    Target("crewai.flow.flow", "Flow", "kickoff_async", call_wrappers.around_async(_flow), optional=True),
    Target("crewai.flow.runtime", "Flow", "kickoff_async", call_wrappers.around_async(_flow), optional=True),
    Target(_AGENT, "Agent", "execute_task", call_wrappers.around(_agent)),
    Target(_AGENT, "Agent", "aexecute_task", call_wrappers.around_async(_agent), optional=True),
    Target(_AGENT, "Agent", "kickoff", call_wrappers.around(_lone_agent)),
    Target(_AGENT, "Agent", "kickoff_async", call_wrappers.around_async(_agent)),
    Target(_STRUCTURED, "CrewStructuredTool", "invoke", call_wrappers.around(_tool, tool_result)),
    Target(_STRUCTURED, "CrewStructuredTool", "ainvoke", call_wrappers.around_async(_tool, tool_result)),
    # `Tool`, which the decorator `@tool` makes, has methods of its own.
    Target(_TOOLS, "BaseTool", "run", call_wrappers.around(_tool, tool_result)),
    Target(_TOOLS, "BaseTool", "arun", call_wrappers.around_async(_tool, tool_result), optional=True),
    Target(_TOOLS, "Tool", "run", call_wrappers.around(_tool, tool_result), optional=True),
    Target(_TOOLS, "Tool", "arun", call_wrappers.around_async(_tool, tool_result), optional=True),
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of CrewAI."""
    patches.apply(TARGETS, module)
