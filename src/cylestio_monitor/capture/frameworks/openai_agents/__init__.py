"""The OpenAI Agents SDK: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture.instrumentor import Instrumentor


class OpenAIAgentsInstrumentor(Instrumentor):
    """Observes agents, handoffs included, and function tools. Works with the SDK's own tracing on and off."""

    modules = ("agents.tool", "agents.tracing.spans", "agents.run")
    dependencies = ("openai-agents >= 0.1",)
    hooks = "hooks"
