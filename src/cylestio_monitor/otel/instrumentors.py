"""The instrumentors, as the entry points name them: the launcher and the API load the same ones."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("cylestio_monitor")

DISTRIBUTION = "cylestio-monitor"
GROUP = "opentelemetry_instrumentor"
PREFIX = "cylestio_"
DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def found() -> Iterator[importlib.metadata.EntryPoint]:
    """The entry point of every instrumentor, by name."""
    # Those of one distribution: looking through all that are installed takes as long as everything else of a start.
    entries = importlib.metadata.distribution(DISTRIBUTION).entry_points.select(group=GROUP)
    yield from sorted(entries, key=lambda entry: entry.name)


def refused(name: str) -> bool:
    """Tells if the standard variable names this entry point, or all."""
    names = {name.strip() for name in os.environ.get(DISABLED, "").split(",")}
    return name in names or "*" in names


def instrument() -> None:
    """Hooks every SDK that is not refused and not hooked yet; one that fails is reported and the others go on."""
    for entry in found():
        if refused(entry.name):
            continue
        try:
            instrumentor = _instrumentor(entry)
            if not instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.instrument(skip_dep_check=True)
        except Exception:  # one SDK that cannot be hooked must not keep the others from being hooked
            log.warning("%s could not be hooked and is not monitored", entry.name, exc_info=True)


def uninstrument() -> None:
    """Restores every hooked SDK."""
    for entry in found():
        if entry.module not in sys.modules:
            continue
        try:
            instrumentor = _instrumentor(entry)
            if instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.uninstrument()
        except Exception:  # the other SDKs are restored in any case
            log.warning("%s could not be restored", entry.name, exc_info=True)


def _instrumentor(entry: importlib.metadata.EntryPoint) -> Any:
    return entry.load()()
