"""Pydantic AI makes OpenTelemetry spans itself: they are switched on, scanned and tagged, and none is added."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from cylestio_monitor.capture.external_spans import scopes

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_SCOPE = "pydantic-ai"


def patch(module: ModuleType, patches: Patches) -> None:
    """Sets the default of all agents, unless the application has set it."""
    agent = module.Agent
    if vars(agent).get("_instrument_default") is not False:
        return  # the application has chosen, and the content that it records is its own
    from pydantic_ai.models.instrumented import InstrumentationSettings  # noqa: PLC0415 -- the framework is loaded

    patches.wrap(agent, "_instrument_default", lambda _: InstrumentationSettings())
    scopes.silent.add(_SCOPE)
    patches.on_restore(functools.partial(scopes.silent.discard, _SCOPE))
