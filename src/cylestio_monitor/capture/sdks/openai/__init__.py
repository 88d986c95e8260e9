"""The OpenAI SDK: what is waited for, and until then nothing else is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor import runtime
from cylestio_monitor.capture.external_spans import scopes
from cylestio_monitor.capture.instrumentor import Instrumentor

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.instrumentor import Patches
    from cylestio_monitor.pipeline import Pipeline

_SDK = "openai._base_client"


class OpenAIInstrumentor(Instrumentor):
    """Observes every request of the OpenAI SDK that reaches a model, whichever client and method makes it."""

    modules = (_SDK, scopes.OPENLLMETRY_RESPONSES)
    dependencies = ("openai >= 1.50",)
    hooks = "endpoints"

    def patch(self, module: ModuleType, patches: Patches) -> None:
        """Wraps the SDK's clients; of OpenLLMetry it only takes notice, whose spans for responses come after them."""
        if module.__name__ == _SDK:
            super().patch(module, patches)
        else:
            runtime.whenever_made(_look_out)


def _look_out(pipeline: Pipeline) -> None:
    from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- few have both

    span_tracker.look_out(pipeline)
