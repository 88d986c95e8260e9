"""CrewAI: crews, the turns of their agents, and tools; the model calls are those of the SDKs or of LiteLLM below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call, Result

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_OTHERS = (
    "openinference.instrumentation.crewai",
    "opentelemetry.instrumentation.crewai",
    "openlit.instrumentation.crewai",
)


def _crew(crew: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
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
    name = str(tool.name)
    call = Call("execute_tool", f"execute_tool {name}", kind="internal", tool_name=name)
    given = args[0] if args else kwargs.get("input", kwargs)
    call.arguments = given
    call.attributes = {semconv.TOOL_TYPE: "function", semconv.TOOL_DESCRIPTION: str(tool.description)}
    return call


def _returned(answer: Any) -> Result:
    return Result(response=answer)


TARGETS = (
    Target("crewai.crew", "Crew", "kickoff", call_wrappers.around(_crew)),
    Target("crewai.agent.core", "Agent", "execute_task", call_wrappers.around(_agent)),
    Target("crewai.tools.structured_tool", "CrewStructuredTool", "invoke", call_wrappers.around(_tool, _returned)),
    Target("crewai.tools.base_tool", "BaseTool", "run", call_wrappers.around(_tool, _returned)),
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of CrewAI."""
    patches.apply(TARGETS, module)
