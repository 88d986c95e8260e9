"""CrewAI: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture.instrumentor import Instrumentor


class CrewAIInstrumentor(Instrumentor):
    """Observes what runs in CrewAI around the calls of the SDKs."""

    modules = ("crewai.crew", "crewai.agent.core", "crewai.tools.structured_tool", "crewai.tools.base_tool")
    dependencies = ("crewai >= 1.0",)
    hooks = "hooks"
