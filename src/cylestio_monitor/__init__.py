"""Cylestio Monitor: an OpenTelemetry instrumentation that makes AI agents observable for security.

`opentelemetry-instrument python agent.py` needs no import at all. These names are for programs that start monitoring
themselves, add events of their own, or scan a text. Importing the package costs next to nothing: a name brings its
module along when it is first used.
"""

from __future__ import annotations

from cylestio_monitor._version import __version__ as __version__

TYPE_CHECKING = False  # type checkers take the name for `typing.TYPE_CHECKING`, whose module costs ten times this one
if TYPE_CHECKING:
    from typing import Any

    from cylestio_monitor.api import (
        cleanup_old_events,
        disable_monitoring,
        enable_monitoring,
        get_database_path,
        scan_text,
        start_monitoring,
        stop_monitoring,
    )
    from cylestio_monitor.capture.tool import tool
    from cylestio_monitor.errors import BlockedError, ConfigError, CylestioError
    from cylestio_monitor.identity import identify
    from cylestio_monitor.model import Finding
    from cylestio_monitor.otel.events import log_error, log_event

__all__ = [
    "BlockedError",
    "ConfigError",
    "CylestioError",
    "Finding",
    "cleanup_old_events",
    "disable_monitoring",
    "enable_monitoring",
    "get_database_path",
    "identify",
    "log_error",
    "log_event",
    "scan_text",
    "start_monitoring",
    "stop_monitoring",
    "tool",
]

_HOMES = {
    "BlockedError": "errors",
    "ConfigError": "errors",
    "CylestioError": "errors",
    "Finding": "model",
    "identify": "identity",
    "log_error": "otel.events",
    "log_event": "otel.events",
    "tool": "capture.tool",
}


def __getattr__(name: str) -> Any:
    """Imports a public name from its module when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 -- most programs under the launcher use no name of this module

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those that no one has used yet."""
    return sorted({*globals(), *__all__})
