"""LlamaIndex: agents, query engines, retrievers and tools; the model calls are those of the SDKs below."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.model import Call, Message, Part, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation

_OTHERS = (
    "openinference.instrumentation.llama_index",
    "opentelemetry.instrumentation.llamaindex",
    "opentelemetry.instrumentation.genai.llama_index",
    "openlit.instrumentation.llamaindex",
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the methods that every use of a component comes through."""
    last = module.__name__.rpartition(".")[2]
    if last == "function_tool":
        patches.wrap(module.FunctionTool, "call", call_wrappers.around(_tool, _tool_result))
        patches.wrap(module.FunctionTool, "acall", call_wrappers.around_async(_tool, _tool_result))
    elif last == "base_retriever":
        patches.wrap(module.BaseRetriever, "retrieve", call_wrappers.around(_retrieval, _documents))
        patches.wrap(module.BaseRetriever, "aretrieve", call_wrappers.around_async(_retrieval, _documents))
    elif last == "base_query_engine":
        patches.wrap(module.BaseQueryEngine, "query", call_wrappers.around(_query))
        patches.wrap(module.BaseQueryEngine, "aquery", call_wrappers.around_async(_query))
    else:
        owner = module.BaseWorkflowAgent if last == "base_agent" else module.AgentWorkflow
        patches.wrap(owner, "run", _run)


def _run(original: Callable[..., Any]) -> Callable[..., Any]:
    """An agent's run is begun here and goes on in tasks of its own, which take the span along in their context."""

    @functools.wraps(original)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        invocation = call_wrappers.begin(lambda: _agent(self))
        if invocation is None:
            return original(self, *args, **kwargs)
        with call_wrappers.Inside(invocation):
            try:
                handler = original(self, *args, **kwargs)
            except BaseException as error:
                invocation.end(None, error)
                raise
        task = getattr(handler, "_result_task", handler)  # the handler was a future itself in earlier versions
        if hasattr(task, "add_done_callback"):
            task.add_done_callback(functools.partial(_done, invocation))
        else:
            weakref.finalize(handler, invocation.abandon).atexit = False
        return handler

    return run


def _done(invocation: Invocation, task: Any) -> None:
    if task.cancelled():
        invocation.end(Result(error_type="CancelledError"))
    else:
        invocation.end(None, task.exception())


def _agent(agent: Any) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    name = str(getattr(agent, "name", None) or type(agent).__name__)
    return Call("invoke_agent", f"invoke_agent {name}", kind="internal", attributes={semconv.AGENT_NAME: name})


def _query(engine: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    return Call("invoke_workflow", f"invoke_workflow {type(engine).__name__}", kind="internal")


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
        return None
    name = str(tool.metadata.get_name())
    call = Call("execute_tool", f"execute_tool {name}", kind="internal", tool_name=name)
    call.arguments = {
        **{str(i): value for i, value in enumerate(args)},
        **{k: v for k, v in kwargs.items() if k != "ctx"},
    }
    call.attributes = {semconv.TOOL_TYPE: "function", semconv.TOOL_DESCRIPTION: str(tool.metadata.description)}
    return call


def _tool_result(answer: Any) -> Result:
    failed = bool(getattr(answer, "is_error", False))
    return Result(response=getattr(answer, "raw_output", answer), error_type="tool_error" if failed else None)


def _retrieval(retriever: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(_OTHERS):
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
