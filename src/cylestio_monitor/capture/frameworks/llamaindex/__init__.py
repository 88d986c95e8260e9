"""LlamaIndex: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture.instrumentor import Instrumentor


class LlamaIndexInstrumentor(Instrumentor):
    """Observes what runs in LlamaIndex around the calls of the SDKs."""

    modules = (
        "llama_index.core.tools.function_tool",
        "llama_index.core.base.base_retriever",
        "llama_index.core.base.base_query_engine",
        "llama_index.core.agent.workflow.base_agent",
        "llama_index.core.agent.workflow.multi_agent_workflow",
    )
    dependencies = ("llama-index-core >= 0.12",)
    hooks = "hooks"
