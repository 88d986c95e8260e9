"""Cylestio Monitor: OpenTelemetry instrumentation that makes AI agents observable for security.

`opentelemetry-instrument python agent.py` needs no import. The names of this module are for programs that start
monitoring themselves, log events of their own, or scan a text. The import of the package imports none of its modules:
each name imports its module on first use.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers treat the name as `typing.TYPE_CHECKING`, whose module costs ten times this one
if TYPE_CHECKING:
    from typing import Any

    from cylestio_monitor._version import __version__ as __version__
    from cylestio_monitor.api import (
        cleanup_old_events,
        disable_monitoring,
        enable_monitoring,
        get_database_path,
        on_approval,
        on_moderation,
        scan_text,
        start_monitoring,
        stop_monitoring,
    )
    from cylestio_monitor.capture.tool import tool
    from cylestio_monitor.detect import Moderation
    from cylestio_monitor.errors import BlockedError, ConfigError, CylestioError, RateLimitedError
    from cylestio_monitor.identity import Identity, identify
    from cylestio_monitor.middleware import ASGIMiddleware, IncomingRequest, WSGIMiddleware, identity_baggage
    from cylestio_monitor.model import Finding
    from cylestio_monitor.otel.events import log_error, log_event

__all__ = [
    "ASGIMiddleware",
    "BlockedError",
    "ConfigError",
    "CylestioError",
    "Finding",
    "Identity",
    "IncomingRequest",
    "Moderation",
    "RateLimitedError",
    "WSGIMiddleware",
    "cleanup_old_events",
    "disable_monitoring",
    "enable_monitoring",
    "get_database_path",
    "identify",
    "identity_baggage",
    "log_error",
    "log_event",
    "on_approval",
    "on_moderation",
    "scan_text",
    "start_monitoring",
    "stop_monitoring",
    "tool",
]

_MODULES = {
    "ASGIMiddleware": "middleware",
    "BlockedError": "errors",
    "ConfigError": "errors",
    "CylestioError": "errors",
    "Finding": "model",
    "Identity": "identity",
    "IncomingRequest": "middleware",
    "Moderation": "detect",
    "RateLimitedError": "errors",
    "WSGIMiddleware": "middleware",
    "__version__": "_version",
    "identify": "identity",
    "identity_baggage": "middleware",
    "log_error": "otel.events",
    "log_event": "otel.events",
    "tool": "capture.tool",
}
"""The module of each public name; a name that is not listed is defined in `api`."""


def __getattr__(name: str) -> Any:
    """Imports the module of a public name on its first use."""
    if name not in __all__ and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 -- most programs under the launcher use no name of this module

    value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, including those that were not used yet."""
    return sorted({*globals(), *__all__, *_MODULES})
