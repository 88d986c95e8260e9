"""LangChain and LangGraph: agents, chains, tools and retrievers, and the models that no SDK of ours is below."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers, control_flow
from cylestio_monitor.capture.frameworks.langchain import approvals, batches
from cylestio_monitor.capture.frameworks.tool_calls import tool_call
from cylestio_monitor.capture.instrumentor import is_hooked
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.capture.parsing.fields import as_dict, text_or_none
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call, Message, Part, Result, Usage

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_OTHERS = (
    "openinference.instrumentation.langchain",
    "opentelemetry.instrumentation.langchain",
    "opentelemetry.instrumentation.genai.langchain",
    "openlit.instrumentation.langchain",
)
_PROVIDERS = {"anthropic-chat": "anthropic", "openai-chat": "openai", "azure-openai-chat": "azure.ai.openai"}
# Integrations over an SDK that has hooks of its own: while these are in place, they make the inference span.
_SDK_BELOW = {
    "langchain_openai": "openai",
    "langchain_anthropic": "anthropic",
    "langchain_aws": "bedrock",
    "langchain_google_genai": "google_genai",
}


def _is_traced_by_others() -> bool:
    """Returns whether another instrumentation makes these spans: it adds its handler to every callback manager."""
    if not call_wrappers.is_traced(_OTHERS):
        return False
    manager = sys.modules["langchain_core.callbacks.base"].BaseCallbackManager
    return hasattr(vars(manager).get("__init__"), "__wrapped__")


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def _named(config: Any, names: tuple[str, ...]) -> str | None:
    """Returns the first value that a run's `configurable` or metadata holds under one of these names."""
    for part in ("configurable", "metadata"):
        values: Any = config.get(part) if isinstance(config, dict) else None
        for name in names if isinstance(values, dict) else ():
            if isinstance(value := values.get(name), (str, int)) and value:
                return str(value)
    return None


def _item_signal(item: Any) -> control_flow.ControlFlow | None:
    """Returns whether an item of a graph's stream says that the graph waits for a person.

    An item is an update, or a tuple of a namespace, the name of the stream's mode, and the update.
    """
    update = item[-1] if isinstance(item, tuple) and item else item
    return control_flow.PAUSE if isinstance(update, dict) and "__interrupt__" in update else None


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if _is_traced_by_others():
        return None
    given = _argument(args, kwargs, 0, "tool_input")
    description = getattr(tool, "description", None)
    return tool_call(tool.name, given, description=description, call_id=kwargs.get("tool_call_id"))


def _tool_result(answer: Any) -> Result:
    failed = getattr(answer, "status", None) == "error"
    return Result(response=getattr(answer, "content", answer), error_type="tool_error" if failed else None)


def _retrieval(retriever: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if _is_traced_by_others():
        return None
    name = retriever.get_name()
    query = _argument(args, kwargs, 0, "input")
    return Call(
        "retrieval",
        f"retrieval {name}",
        kind="internal",
        messages=[Message("user", [Part("text", query, path="query")])],
    )


def _documents(answer: Any) -> Result:
    texts = [getattr(document, "page_content", document) for document in answer]
    # What a search brings in is as little to be trusted as what a tool returns.
    found = [Part("tool_call_response", text, path=f"documents[{number}]") for number, text in enumerate(texts)]
    return Result(messages=[Message("tool", found)])


def _chain(chain: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    config = _argument(args, kwargs, 1, "config")
    if _is_traced_by_others() or _is_prompted_model(chain):
        return None
    return _frame("invoke_workflow", chain, config)


def _is_prompted_model(chain: Any) -> bool:
    """Returns whether a sequence is only a prompt before a model: that is a model call and no workflow."""
    *prompts, last = chain.steps
    model = getattr(last, "bound", last)
    base = sys.modules["langchain_core.language_models.base"].BaseLanguageModel
    return isinstance(getattr(model, "bound", model), base) and all(map(_is_prompt, prompts))


def _is_prompt(step: Any) -> bool:
    prompts = sys.modules.get("langchain_core.prompts.base")
    # LangGraph makes the prompt of an agent a function of this name.
    return (prompts is not None and isinstance(step, prompts.BasePromptTemplate)) or getattr(
        step, "name", ""
    ) == "Prompt"


def _graph(graph: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    config = _argument(args, kwargs, 1, "config")
    return None if _is_traced_by_others() else _frame("invoke_agent", graph, config)


def _frame(operation: str, runnable: Any, config: Any) -> Call:
    name = str((config.get("run_name") if isinstance(config, dict) else None) or runnable.get_name())
    call = Call(operation, f"{operation} {name}", kind="internal")
    call.conversation_id = _named(config, ("thread_id", "session_id", "conversation_id"))
    call.user_id = _named(config, ("user_id", "langgraph_auth_user_id"))
    if operation == "invoke_agent":
        call.attributes = {semconv.AGENT_NAME: name}
    return call


def _model(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    if _is_captured_below(model.__class__):
        return None
    given = _argument(args, kwargs, 0, "messages")
    given = kwargs.get("input") if given is None else given
    name = next(
        (str(value) for key in ("model_name", "model", "model_id") if (value := getattr(model, key, None))), None
    )
    kind = str(getattr(model, "_llm_type", ""))
    return Call(
        "chat",
        f"chat {name}" if name else "chat",
        provider=_PROVIDERS.get(kind, kind.removesuffix("-chat") or None),
        model=name,
        messages=_messages(given),
        tools=message_parts.tool_definitions(kwargs.get("tools"), "tools"),
    )


def _is_captured_below(model: type) -> bool:
    """Returns whether the SDK below a chat model makes the inference span: its hook has to be in place."""
    return any(map(is_hooked, _sdks_below(model)))


@functools.lru_cache(maxsize=256)
def _sdks_below(model: type) -> tuple[str, ...]:
    packages = {base.__module__.partition(".")[0] for base in model.__mro__}
    return tuple(sdk for package, sdk in _SDK_BELOW.items() if package in packages)


def _messages(given: Any) -> list[Message]:
    given = given.to_messages() if hasattr(given, "to_messages") else given
    plain = [_plain(one) for one in given] if isinstance(given, (list, tuple)) else given
    return message_parts.messages(plain, "messages", "user")


def _plain(message: Any) -> Any:
    if isinstance(message, (str, dict)):
        return message
    if isinstance(message, tuple) and len(message) == 2:
        return {"role": message[0], "content": message[1]}
    names = ("type", "content", "name", "tool_calls", "tool_call_id")
    return {name: value for name in names if (value := getattr(message, name, None))}


def _answer(answer: Any) -> Result:
    messages = [generation.message for generation in answer.generations]
    return _result(messages)


def _chunks(chunks: list[Any]) -> Result:
    if not chunks:
        return Result()
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return _result([whole])


def _result(messages: list[Any]) -> Result:
    read = [one for number, message in enumerate(messages) for one in _one(message, f"generations[{number}]")]
    result = Result(messages=read)
    metadata = as_dict(getattr(messages[0], "response_metadata", None))
    reason = text_or_none(metadata.get("finish_reason")) or text_or_none(metadata.get("stop_reason"))
    result.finish_reasons = [reason] if reason else []
    result.model = text_or_none(metadata.get("model_name")) or text_or_none(metadata.get("model"))
    if used := as_dict(getattr(messages[0], "usage_metadata", None)):
        details, written = as_dict(used.get("input_token_details")), as_dict(used.get("output_token_details"))
        result.usage = Usage(
            used.get("input_tokens"),
            used.get("output_tokens"),
            cache_read=details.get("cache_read"),
            cache_write=details.get("cache_creation"),
            reasoning=written.get("reasoning"),
        )
    return result


def _one(message: Any, path: str) -> list[Message]:
    return message_parts.messages(_plain(message), path, "assistant")


_TOOLS, _RETRIEVERS = "langchain_core.tools.base", "langchain_core.retrievers"
_RUNNABLES, _MODELS = "langchain_core.runnables.base", "langchain_core.language_models.chat_models"
_GRAPHS = "langgraph.pregel.main"

TARGETS = (
    Target(_TOOLS, "BaseTool", "run", call_wrappers.around(_tool, _tool_result)),
    Target(_TOOLS, "BaseTool", "arun", call_wrappers.around_async(_tool, _tool_result)),
    Target(_RETRIEVERS, "BaseRetriever", "invoke", call_wrappers.around(_retrieval, _documents)),
    Target(_RETRIEVERS, "BaseRetriever", "ainvoke", call_wrappers.around_async(_retrieval, _documents)),
    Target(_RUNNABLES, "RunnableSequence", "invoke", call_wrappers.around(_chain)),
    Target(_RUNNABLES, "RunnableSequence", "ainvoke", call_wrappers.around_async(_chain)),
    Target(_RUNNABLES, "RunnableSequence", "stream", call_wrappers.around_steps(_chain)),
    Target(_RUNNABLES, "RunnableSequence", "astream", call_wrappers.around_steps_async(_chain)),
    Target(_RUNNABLES, "RunnableSequence", "batch", batches.around_batch(_chain)),
    Target(_RUNNABLES, "RunnableSequence", "abatch", batches.around_batch_async(_chain)),
    Target(
        "langchain_core.runnables.utils",
        "",
        "gather_with_concurrency",
        batches.spread_over_tasks,
        is_imported_by_name=True,
    ),
    Target("langchain_core.runnables.config", "ContextThreadPoolExecutor", "map", batches.spread_over_threads),
    Target(_GRAPHS, "Pregel", "stream", call_wrappers.around_steps(_graph, signal=_item_signal)),
    Target(_GRAPHS, "Pregel", "astream", call_wrappers.around_steps_async(_graph, signal=_item_signal)),
    Target(_MODELS, "BaseChatModel", "_generate_with_cache", call_wrappers.around(_model, _answer)),
    Target(_MODELS, "BaseChatModel", "_agenerate_with_cache", call_wrappers.around_async(_model, _answer)),
    Target(_MODELS, "BaseChatModel", "stream", call_wrappers.around_steps(_model, _chunks)),
    Target(_MODELS, "BaseChatModel", "astream", call_wrappers.around_steps_async(_model, _chunks)),
    *approvals.TARGETS,
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of LangChain or LangGraph: the one method that every use goes through."""
    patches.apply(TARGETS, module)
