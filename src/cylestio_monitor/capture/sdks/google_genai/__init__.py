"""The Google Gen AI SDK: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from cylestio_monitor.capture.instrumentor import Instrumentor


class GoogleGenAIInstrumentor(Instrumentor):
    """Observes the requests below `generate_content`: automatic function calling makes several of them."""

    modules = ("google.genai.models",)
    dependencies = ("google-genai >= 1.0",)
    hooks = "hooks"
