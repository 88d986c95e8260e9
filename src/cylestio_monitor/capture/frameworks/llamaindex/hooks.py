"""LlamaIndex: agents, query engines, retrievers and tools; the model calls are those of the SDKs below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks.background_runs import around_background_run
from cylestio_monitor.capture.frameworks.llamaindex import agent_workflow
from cylestio_monitor.capture.frameworks.tool_calls import tool_call
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call, Message, Part, Result

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches


def _agent(agent: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(agent_workflow.OTHER_INSTRUMENTATIONS):
        return None
    return agent_workflow.agent_call(str(getattr(agent, "name", None) or type(agent).__name__))


def _query(engine: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(agent_workflow.OTHER_INSTRUMENTATIONS):
        return None
    return Call("invoke_workflow", f"invoke_workflow {type(engine).__name__}", kind="internal")


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(agent_workflow.OTHER_INSTRUMENTATIONS):
        return None
    positional = {str(number): value for number, value in enumerate(args)}
    given = {**positional, **{name: value for name, value in kwargs.items() if name != "ctx"}}
    return tool_call(tool.metadata.get_name(), given, description=tool.metadata.description)


def _tool_result(answer: Any) -> Result:
    failed = bool(getattr(answer, "is_error", False))
    return Result(response=getattr(answer, "raw_output", answer), error_type="tool_error" if failed else None)


def _retrieval(retriever: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(agent_workflow.OTHER_INSTRUMENTATIONS):
        return None
    query = args[0] if args else kwargs.get("str_or_query_bundle")
    text = getattr(query, "query_str", query)
    return Call(
        "retrieval",
        f"retrieval {type(retriever).__name__}",
        kind="internal",
        messages=[Message("user", [Part("text", text, path="query")])],
    )


def _documents(answer: Any) -> Result:
    # What a search brings in is as little to be trusted as what a tool returns.
    texts = [item.node.get_content() for item in answer]
    found = [Part("tool_call_response", text, path=f"documents[{number}]") for number, text in enumerate(texts)]
    return Result(messages=[Message("tool", found)])


_CORE, _AGENTS = "llama_index.core", "llama_index.core.agent.workflow"

TARGETS = (
    Target(f"{_CORE}.tools.function_tool", "FunctionTool", "call", call_wrappers.around(_tool, _tool_result)),
    Target(f"{_CORE}.tools.function_tool", "FunctionTool", "acall", call_wrappers.around_async(_tool, _tool_result)),
    Target(f"{_CORE}.base.base_retriever", "BaseRetriever", "retrieve", call_wrappers.around(_retrieval, _documents)),
    Target(
        f"{_CORE}.base.base_retriever", "BaseRetriever", "aretrieve", call_wrappers.around_async(_retrieval, _documents)
    ),
    Target(f"{_CORE}.base.base_query_engine", "BaseQueryEngine", "query", call_wrappers.around(_query)),
    Target(f"{_CORE}.base.base_query_engine", "BaseQueryEngine", "aquery", call_wrappers.around_async(_query)),
    Target(f"{_AGENTS}.base_agent", "BaseWorkflowAgent", "run", around_background_run(_agent, agent_workflow.task_of)),
    *agent_workflow.TARGETS,
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of LlamaIndex."""
    patches.apply(TARGETS, module)
