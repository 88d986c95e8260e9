"""The Anthropic SDK: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture.instrumentor import Instrumentor


class AnthropicInstrumentor(Instrumentor):
    """Observes every request of the Anthropic SDK that reaches a model, whichever client and method makes it."""

    modules = ("anthropic._base_client",)
    dependencies = ("anthropic >= 0.40",)
    hooks = "endpoints"
