"""LangChain and LangGraph: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture.instrumentor import Instrumentor


class LangChainInstrumentor(Instrumentor):
    """Observes what runs in LangChain and LangGraph around the calls of the SDKs."""

    modules = (
        "langchain_core.tools.base",
        "langchain_core.retrievers",
        "langchain_core.runnables.base",
        "langchain_core.language_models.chat_models",
        "langgraph.pregel.main",
    )
    dependencies = ("langchain-core >= 0.3",)
    hooks = "hooks"
