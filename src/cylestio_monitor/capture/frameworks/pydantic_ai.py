"""Pydantic AI makes OpenTelemetry spans itself: they are switched on and tagged; none is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor.capture.external_spans import scopes
from cylestio_monitor.capture.instrumentor import Instrumentor

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_SCOPE = "pydantic-ai"


class PydanticAIInstrumentor(Instrumentor):
    """Switches tracing on for agents that say nothing of it; what it records is scanned and taken off again."""

    modules = ("pydantic_ai",)
    dependencies = ("pydantic-ai-slim >= 1.0",)

    def patch(self, module: ModuleType, patches: Patches) -> None:
        """Sets the default of all agents, unless the application has."""
        agent = module.Agent
        if vars(agent).get("_instrument_default") is not False:
            return  # the application has chosen, and what it records is its own
        from pydantic_ai.models.instrumented import InstrumentationSettings  # noqa: PLC0415 -- the framework is here

        patches.wrap(agent, "_instrument_default", lambda _: InstrumentationSettings())
        scopes.silent.add(_SCOPE)

    def _uninstrument(self, **kwargs: object) -> None:
        super()._uninstrument(**kwargs)
        scopes.silent.discard(_SCOPE)
