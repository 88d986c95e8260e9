"""Bounds the time that the end of the process waits for a collector.

The OTLP processors of the SDK retry for up to 30 s each before the process ends, even where the user configured no
collector: `opentelemetry-distro` names one at localhost by default. Monitoring adds metrics and spans, so it bounds the
wait. Undelivered records stay in the store.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from cylestio_monitor.otel import provider

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.trace import TracerProvider

log = logging.getLogger("cylestio_monitor")


def shut_down_metrics(deadline: float) -> None:
    """Collects and exports the last metrics.

    Args:
        deadline: Time (monotonic) until which it may take.
    """
    meter_provider: Any = metrics.get_meter_provider()
    shutdown = getattr(meter_provider, "shutdown", None)
    if shutdown is not None:
        atexit.unregister(shutdown)
        _bounded(shutdown, deadline)


def shut_down_processors(tracer_providers: Iterable[TracerProvider], deadline: float) -> None:
    """Shuts down the processors that export spans and log records over OTLP themselves.

    Log records mostly belong to the application: where it configured an endpoint for them, their processors keep their
    own time limit.

    Args:
        tracer_providers: Whose processors.
        deadline: Time (monotonic) until which it may take, all of it together.
    """
    processors = [processor for one in tracer_providers for processor in provider.span_processors(one)]
    batches = [batch for batch in map(otlp_batch, processors) if batch is not None]
    for batch in batches if _has_endpoint("LOGS") else [*batches, *log_batches()]:
        _bounded(batch.shutdown, deadline)


def log_batches() -> list[Any]:
    """The batching parts of the log processors that export over OTLP."""
    multi = getattr(provider.logger_provider(), "_multi_log_record_processor", None)
    found = map(otlp_batch, getattr(multi, "_log_record_processors", ()))
    return [batch for batch in found if batch is not None]


def otlp_batch(processor: object) -> Any:
    """The batching part of a processor that exports over OTLP; `None` for every other processor."""
    batch = getattr(processor, "_batch_processor", None)
    exporter = getattr(batch, "_exporter", None)
    return batch if is_otlp(exporter) else None


def is_otlp(exporter: object) -> bool:
    """Tells if an object is one of the official OTLP exporters, or wraps one."""
    exporter = getattr(exporter, "wrapped", exporter)
    return type(exporter).__module__.startswith("opentelemetry.exporter.otlp.")


def _has_endpoint(signal: str) -> bool:
    names = ("OTEL_CONFIG_FILE", "OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name) for name in names)


def _bounded(shutdown: Any, deadline: float) -> None:
    try:
        shutdown(timeout_millis=max(1, int((deadline - time.monotonic()) * 1000)))
    except Exception:  # the SDK raises where the time did not suffice
        log.debug("Not everything was delivered before the process ended", exc_info=True)
