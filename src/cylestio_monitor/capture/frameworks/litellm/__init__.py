"""LiteLLM: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture.instrumentor import Instrumentor


class LiteLLMInstrumentor(Instrumentor):
    """Observes `completion` and `embedding`; what an SDK below them sees is added to the same span."""

    modules = ("litellm", "litellm.integrations.opentelemetry")
    dependencies = ("litellm >= 1.40",)
    hooks = "hooks"
