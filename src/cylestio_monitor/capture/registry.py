"""The SDKs and frameworks that are monitored, and the instrumentor class of each.

A new one is a module with a function `patch`, a row of this table, and an entry point in `pyproject.toml`.
"""

from __future__ import annotations

import functools
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from cylestio_monitor.capture.instrumentor import Instrumentor

_PACKAGE = "cylestio_monitor.capture"


class Sdk(NamedTuple):
    """One SDK or framework.

    Attributes:
        class_name: The public name of its instrumentor class, importable from ``cylestio_monitor.capture.<sdk>``.
        hooks: The module below `cylestio_monitor.capture` whose `patch` wraps the SDK; imported with the SDK.
        modules: The modules of the SDK whose import is waited for, by full name; ``*.name`` is any module that is named
            so in any package, and to which the function `applies` of the hooks says yes.
        dependencies: The supported versions, as requirement strings.
        summary: The first line of the documentation of the class.
    """

    class_name: str
    hooks: str
    modules: tuple[str, ...]
    dependencies: tuple[str, ...]
    summary: str


SDKS: Final[dict[str, Sdk]] = {
    "anthropic": Sdk(
        "AnthropicInstrumentor",
        "sdks.anthropic.endpoints",
        ("anthropic._base_client", "anthropic.lib.tools._beta_functions", "anthropic.lib.tools._beta_runner"),
        ("anthropic >= 0.54",),
        "Monitors every model request of the Anthropic SDK, whichever client and method makes it.",
    ),
    "openai": Sdk(
        "OpenAIInstrumentor",
        "sdks.openai.endpoints",
        ("openai._base_client", "opentelemetry.instrumentation.openai.v1.responses_wrappers"),
        ("openai >= 1.50",),
        "Monitors every model request of the OpenAI SDK, whichever client and method makes it.",
    ),
    "bedrock": Sdk(
        "BedrockInstrumentor",
        "sdks.bedrock.hooks",
        ("botocore.client",),
        ("botocore >= 1.34.116",),
        "Monitors the model calls of every `bedrock-runtime` client of boto3, existing clients included.",
    ),
    "google_genai": Sdk(
        "GoogleGenAIInstrumentor",
        "sdks.google_genai.hooks",
        ("google.genai.models",),
        ("google-genai >= 1.0",),
        "Monitors each request of `generate_content`; automatic function calling makes several.",
    ),
    "mcp": Sdk(
        "MCPInstrumentor",
        "mcp.targets",
        (
            "mcp.client.session",
            "mcp.client.streamable_http",
            "mcp.server._streamable_http_modern",
            "mcp.server.lowlevel.server",
            "mcp.server.runner",
            "mcp.server.session",
            "mcp.shared._otel",
            "mcp.shared.direct_dispatcher",
            "mcp.shared.jsonrpc_dispatcher",
            "mcp.shared.session",
            "fastmcp.client.telemetry",
            "fastmcp.server.telemetry",
        ),
        ("mcp >= 1.9, < 3",),
        "Monitors the requests of the MCP SDK, client and server, and replaces the spans of `mcp` and `fastmcp`.",
    ),
    "langchain": Sdk(
        "LangChainInstrumentor",
        "frameworks.langchain.hooks",
        (
            "langchain_core.tools.base",
            "langchain_core.retrievers",
            "langchain_core.runnables.base",
            "langchain_core.runnables.config",
            "langchain_core.runnables.utils",
            "langchain_core.language_models.chat_models",
            "langgraph.pregel.main",
            "langchain.agents.middleware.human_in_the_loop",
        ),
        ("langchain-core >= 0.3",),
        "Monitors agents, chains, tools and retrievers of LangChain and LangGraph.",
    ),
    "openai_agents": Sdk(
        "OpenAIAgentsInstrumentor",
        "frameworks.openai_agents.hooks",
        (
            "agents.tool",
            "agents.tracing.spans",
            "agents.run",
            "agents.run_context",
            "agents.run_internal.tool_actions",
        ),
        ("openai-agents >= 0.9",),
        "Monitors agents, handoffs and function tools of the OpenAI Agents SDK, with its own tracing on or off.",
    ),
    "litellm": Sdk(
        "LiteLLMInstrumentor",
        "frameworks.litellm.hooks",
        ("litellm.main", "litellm.litellm_core_utils.streaming_handler", "litellm.integrations.opentelemetry"),
        ("litellm >= 1.40",),
        "Monitors `completion` and `embedding` of LiteLLM; what an SDK below them sees is added to the same span.",
    ),
    "pydantic_ai": Sdk(
        "PydanticAIInstrumentor",
        "frameworks.pydantic_ai",
        ("pydantic_ai",),
        ("pydantic-ai-slim >= 1.0",),
        "Switches the spans of Pydantic AI on where the application has not chosen; they are scanned and tagged.",
    ),
    "llamaindex": Sdk(
        "LlamaIndexInstrumentor",
        "frameworks.llamaindex.hooks",
        (
            "llama_index.core.tools.function_tool",
            "llama_index.core.base.base_retriever",
            "llama_index.core.base.base_query_engine",
            "llama_index.core.agent.workflow.base_agent",
            "llama_index.core.agent.workflow.multi_agent_workflow",
        ),
        ("llama-index-core >= 0.12",),
        "Monitors agents, query engines, retrievers and tools of LlamaIndex.",
    ),
    "crewai": Sdk(
        "CrewAIInstrumentor",
        "frameworks.crewai.hooks",
        (
            "crewai.crew",
            "crewai.agent.core",
            "crewai.flow.flow",
            "crewai.flow.runtime",
            "crewai.tools.structured_tool",
            "crewai.tools.base_tool",
        ),
        ("crewai >= 1.0",),
        "Monitors crews, flows, the turns of agents, and tools of CrewAI.",
    ),
    "claude_agent_sdk": Sdk(
        "ClaudeAgentSDKInstrumentor",
        "frameworks.claude_agent_sdk",
        ("claude_agent_sdk._internal.transport.subprocess_cli", "claude_agent_sdk._internal.query"),
        ("claude-agent-sdk >= 0.1",),
        "Monitors the runs, model calls and tools of the Claude Agent SDK, as its process reports them.",
    ),
    "smolagents": Sdk(
        "SmolagentsInstrumentor",
        "frameworks.smolagents",
        (
            "smolagents.agents",
            "smolagents.tools",
            "smolagents.local_python_executor",
            "smolagents.remote_executors",
        ),
        ("smolagents >= 1.20",),
        "Monitors agents, tools and the generated Python code of smolagents.",
    ),
    "strands": Sdk(
        "StrandsInstrumentor",
        "frameworks.strands",
        ("strands.tools.decorator", "strands.tools.tools"),
        ("strands-agents >= 1.0",),
        "Judges the tools of Strands Agents before they run; its own spans are scanned and tagged.",
    ),
    "google_adk": Sdk(
        "GoogleADKInstrumentor",
        "frameworks.google_adk",
        ("google.adk.flows.llm_flows.functions", "google.adk.flows.llm_flows.tools._caller"),
        ("google-adk >= 1.0",),
        "Judges the tools of Google's Agent Development Kit before they run; its own spans are scanned and tagged.",
    ),
    "agent_framework": Sdk(
        "AgentFrameworkInstrumentor",
        "frameworks.agent_framework",
        ("agent_framework._tools",),
        ("agent-framework-core >= 1.20",),
        "Judges the tools of Microsoft's Agent Framework before they run; its own spans are scanned and tagged.",
    ),
    "stainless": Sdk(
        "StainlessInstrumentor",
        "sdks.stainless.hooks",
        ("*._base_client",),
        (),
        "Monitors every model request of an SDK that Stainless generates and that has no hooks of its own.",
    ),
    "plain_http": Sdk(
        "PlainHTTPInstrumentor",
        "sdks.plain_http.hooks",
        ("httpx._client", "httpx2._client", "urllib3.connectionpool", "aiohttp.client"),
        (),
        "Monitors model calls that are made with a plain HTTP client, where no hook of an SDK is above it.",
    ),
}


@functools.cache
def instrumentor_class(sdk: str) -> type[Instrumentor]:
    """Returns the instrumentor class of an SDK.

    Args:
        sdk: A key of `SDKS`, such as ``anthropic``.

    Raises:
        KeyError: There is no such SDK.
    """
    from cylestio_monitor.capture.instrumentor import Instrumentor  # noqa: PLC0415 -- OpenTelemetry, when it is used

    row = SDKS[sdk]
    namespace: dict[str, Any] = {
        "__module__": f"{_PACKAGE}.{sdk}",
        "__doc__": row.summary,
        "sdk": sdk,
        "modules": row.modules,
        "dependencies": row.dependencies,
        "hooks": f"{_PACKAGE}.{row.hooks}",
    }
    return type(row.class_name, (Instrumentor,), namespace)


def public_attribute(sdk: str, name: str) -> type[Instrumentor]:
    """Returns the instrumentor class of an SDK by its public name, as the `__getattr__` of a module.

    Args:
        sdk: A key of `SDKS`.
        name: The attribute that is looked up.

    Raises:
        AttributeError: The module has no attribute of that name.
    """
    if name != SDKS[sdk].class_name:
        raise AttributeError(f"module '{_PACKAGE}.{sdk}' has no attribute '{name}'")
    return instrumentor_class(sdk)


def register_public_modules() -> None:
    """Makes ``cylestio_monitor.capture.<sdk>`` importable for every SDK that has no module of that name."""
    for sdk, row in SDKS.items():
        name = f"{_PACKAGE}.{sdk}"
        if row.hooks.partition(".")[0] == sdk or name in sys.modules:
            continue
        module = ModuleType(name, row.summary)
        module.__spec__ = ModuleSpec(name, None, origin=__file__)
        module.__all__ = [row.class_name]  # type: ignore[attr-defined]  # a module takes any attribute
        module.__getattr__ = functools.partial(public_attribute, sdk)  # type: ignore[method-assign]  # PEP 562
        sys.modules[name] = module
        setattr(sys.modules[_PACKAGE], sdk, module)
