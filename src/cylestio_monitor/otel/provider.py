"""The tracer provider of the process: the existing one, or one that is created from the standard variables.

An application can replace a provider that monitoring created, and monitoring then moves to the new one. OpenTelemetry
allows one provider per process and warns about a second one; without this module the application would get that
warning because of monitoring.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.util._once import Once

from cylestio_monitor.sanitize import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import TracerProvider

log = logging.getLogger("cylestio_monitor")

SIGNALS = ("TRACES", "METRICS", "LOGS")
CONFIG_FILE = "OTEL_CONFIG_FILE"
_NAME = 64  # longest name of a program, in bytes
_SERVICE = "OTEL_SERVICE_NAME"


def ensure(on_replaced: Callable[[TracerProvider], None]) -> TracerProvider:
    """The global tracer provider, made if there is none yet.

    Args:
        on_replaced: Called with the provider that the application sets in place of one that was made here.
    """
    provider = trace.get_tracer_provider()
    if not isinstance(provider, trace.ProxyTracerProvider):
        return provider
    if _is_configured():
        with _named_service():
            _configure()
        from opentelemetry import _logs, metrics  # noqa: PLC0415 -- set up just now

        _give_way(metrics._internal, "_METER_PROVIDER_SET_ONCE")  # noqa: SLF001 -- see _give_way
        _give_way(_logs._internal, "_LOGGER_PROVIDER_SET_ONCE")  # noqa: SLF001 -- see _give_way
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider  # noqa: PLC0415 -- costs most of a start

        with _named_service():
            trace.set_tracer_provider(SDKTracerProvider())
        provider = trace.get_tracer_provider()
    _give_way(trace, "_TRACER_PROVIDER_SET_ONCE", lambda: on_replaced(trace.get_tracer_provider()))
    return provider


def otlp_exporter(signal: str) -> str | None:
    """The exporter that a signal's endpoint asks for, where an endpoint is set and no exporter named.

    The specification's default exporter is `otlp`, which in Python means gRPC unless the protocol is set. An endpoint
    with a path, or at 4318, the registered port of OTLP over HTTP, is an HTTP endpoint.

    Args:
        signal: ``TRACES``, ``METRICS`` or ``LOGS``.
    """
    endpoint = _variable(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or _variable("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint or _variable(f"OTEL_{signal}_EXPORTER"):
        return None
    protocol = _variable(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or _variable("OTEL_EXPORTER_OTLP_PROTOCOL")
    if not protocol:
        url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
        protocol = "http/protobuf" if url.path.strip("/") or url.netloc.endswith(":4318") else "grpc"
    return "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"


def program_name(arguments: Sequence[str]) -> str:
    """Returns the name of the program that a command line of Python runs; empty where it names none.

    Args:
        arguments: `sys.orig_argv`: the interpreter, its options, and the script or ``-m`` and the module.
    """
    words = iter(arguments[1:])
    for word in words:
        if word == "-m":
            return next(words, "")[:_NAME]
        if word in {"-W", "-X", "--check-hash-based-pycs"}:
            next(words, None)
        elif word in {"-", "-c"}:
            return ""
        elif not word.startswith("-"):
            path = PurePath(word)
            return one_line(path.parent.name if path.stem == "__main__" else path.stem, _NAME)
    return ""


@contextmanager
def _named_service() -> Iterator[None]:
    """Gives the service the name of the program for a provider that is made inside, where the environment gives none.

    The variable is there for that moment alone: the programs that this one starts have names of their own.
    """
    is_named = _variable(_SERVICE) or "service.name=" in _variable("OTEL_RESOURCE_ATTRIBUTES")
    name = "" if is_named or _variable("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS") else program_name(sys.orig_argv)
    if not name:
        yield
        return
    os.environ[_SERVICE] = name
    try:
        yield
    finally:
        del os.environ[_SERVICE]


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _is_configured() -> bool:
    """Tells if the environment names an exporter; without one a bare provider costs a tenth of the start."""
    return bool(_variable(CONFIG_FILE)) or any(
        _variable(f"OTEL_{signal}_EXPORTER") or otlp_exporter(signal) for signal in SIGNALS
    )


def _configure() -> None:
    """Sets the SDK up as a distribution would, from the standard variables or the file they name."""
    from opentelemetry.instrumentation.version import __version__  # noqa: PLC0415 -- only where the SDK is configured
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator  # noqa: PLC0415 -- imported on use

    # What every distribution derives its own from; it is a singleton, so ours has to be a class of its own.
    class Configurator(_OTelSDKConfigurator):
        pass

    try:
        if _variable(CONFIG_FILE):
            Configurator().configure()  # type: ignore[no-untyped-call]
        else:
            Configurator().configure(  # type: ignore[no-untyped-call]
                auto_instrumentation_version=__version__,
                trace_exporter_names=_names("TRACES"),
                metric_exporter_names=_names("METRICS"),
                log_exporter_names=_names("LOGS"),
            )
    except Exception as error:  # noqa: BLE001 -- a wrong name or file must not end monitoring with it
        log.warning("OpenTelemetry could not be set up as configured, only the local store is written: %s", error)


def _names(signal: str) -> list[str]:
    name = otlp_exporter(signal)
    return [name] if name else []


def _give_way(module: ModuleType, name: str, then: Callable[[], None] | None = None) -> None:
    """Lets the application set a provider over ours, once, as if none had been set.

    The API has no word for this; the guard that it keeps beside each global provider is all there is. An API that
    keeps it elsewhere leaves things as any distribution leaves them: the second provider is refused with a warning.
    """
    guard = getattr(module, name, None)
    if isinstance(guard, Once):
        setattr(module, name, _OnceMore(then))


class _OnceMore(Once):
    """A guard that allows one more provider and reports when it is set."""

    def __init__(self, then: Callable[[], None] | None) -> None:
        super().__init__()
        self._then = then

    def do_once(self, func: Callable[[], None]) -> bool:
        done = super().do_once(func)
        if done and self._then is not None:
            self._then()
        return bool(done)


def logger_provider() -> Any:
    """The global logger provider; `None` where nobody has asked for one: the import costs what a start may not."""
    api = sys.modules.get("opentelemetry._logs")
    return api.get_logger_provider() if api is not None else None


def span_processors(provider: TracerProvider) -> tuple[SpanProcessor, ...]:
    """The span processors of an SDK provider, in order; none where it does not show them."""
    return tuple(getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ()))


def remove(provider: TracerProvider, unwanted: Sequence[SpanProcessor]) -> bool:
    """Takes span processors off a provider, without shutting them down; the API only adds. Whether it could be done."""
    multi = getattr(provider, "_active_span_processor", None)
    lock = getattr(multi, "_lock", None)
    if multi is None or lock is None or not hasattr(multi, "_span_processors"):
        return False
    with lock:
        multi._span_processors = tuple(  # noqa: SLF001 -- the SDK has no public access
            processor
            for processor in multi._span_processors  # noqa: SLF001 -- the SDK has no public access
            if not any(processor is one for one in unwanted)
        )
    return True
