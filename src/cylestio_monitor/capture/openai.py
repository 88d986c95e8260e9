"""The OpenAI SDK: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture._hooks import Instrumentor


class OpenAIInstrumentor(Instrumentor):
    """Observes every request of the OpenAI SDK that reaches a model, whichever client and method makes it."""

    modules = ("openai._base_client",)
    dependencies = ("openai >= 1.50",)
    hooks = "_openai"
