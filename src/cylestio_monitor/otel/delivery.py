"""Delivery to a collector through the store: every record is on disk before it is sent, and is sent once.

The configured exporters are used. The batching processor and the periodic reader around them are replaced, because
they keep unsent records in memory, lose them when the process is killed, and delay its end by up to 30 s. Every other
processor and reader stays. Log records mostly belong to the application and stay too; only the events of `log_event`,
which the store holds, are sent from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.export import BatchSpanProcessor

from cylestio_monitor import semconv
from cylestio_monitor.otel import provider
from cylestio_monitor.otel.exits import is_otlp, log_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import SpanProcessor

    from cylestio_monitor.store import Store
    from cylestio_monitor.store.delivery.sender import Outbox


class Delivery:
    """Replaces the OTLP processor, reader and log exporter of the SDK by the outbox of the store.

    Attributes:
        outbox: The sender.
    """

    def __init__(self, store: Store, tracer_provider: Any, meter_provider: Any) -> None:
        """Replaces the exporters and starts to send, including the records of earlier processes.

        Args:
            store: The store whose records are sent.
            tracer_provider: Its first OTLP processor is replaced; a second one belongs to another collector.
            meter_provider: Its first OTLP reader is replaced.
        """
        from cylestio_monitor.store.delivery.self_metrics import observe  # noqa: PLC0415 -- only where something is to be sent
        from cylestio_monitor.store.delivery.sender import Outbox  # noqa: PLC0415 -- imported on use

        exporters: dict[str, Any] = {}
        self._provider = tracer_provider
        self._processor = _processor(tracer_provider)
        if self._processor is not None and provider.remove(tracer_provider, [self._processor]):
            exporters["traces"] = self._processor.span_exporter
        else:
            self._processor = None
        self._reader = _reader(meter_provider)
        self._metric_exporter: Any = None
        if self._reader is not None:
            from cylestio_monitor.store.delivery.metric_queue import StoreMetricExporter  # noqa: PLC0415 -- as above

            self._metric_exporter = exporters["metrics"] = self._reader._exporter  # noqa: SLF001 -- the reader only takes it
            self._reader._exporter = StoreMetricExporter(store, self._metric_exporter)  # noqa: SLF001 -- the SDK has no public access
        self._log_batch = _log_batch()
        if self._log_batch is not None:
            exporters["logs"] = self._log_batch._exporter  # noqa: SLF001 -- as of the reader
            self._log_batch._exporter = _WithoutEvents(exporters["logs"])  # noqa: SLF001 -- the SDK has no public access
        resource = getattr(tracer_provider, "resource", None)
        # The application's own records go on through the exporter of the logs.
        self.outbox: Outbox = Outbox(store, exporters, resource=resource, shared=frozenset({"logs"}))
        self.outbox.start()
        if meter_provider is not None:
            observe(meter_provider.get_meter(semconv.SCOPE), store)

    def give_back(self, timeout_s: float) -> None:
        """Restores the replaced parts after sending for at most `timeout_s` seconds."""
        self.outbox.stop(timeout_s, release=True)
        if self._processor is not None:
            self._provider.add_span_processor(self._processor)
        if self._reader is not None:
            self._reader._exporter = self._metric_exporter  # noqa: SLF001 -- the SDK has no public access
        if self._log_batch is not None:
            self._log_batch._exporter = self._log_batch._exporter.wrapped  # noqa: SLF001 -- the SDK has no public access


class _WithoutEvents:
    """Exports log records except the events that the outbox of the store sends."""

    def __init__(self, exporter: Any) -> None:
        self.wrapped = exporter

    def export(self, batch: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        rest = [record for record in batch if record.instrumentation_scope.name != semconv.SCOPE]
        return self.wrapped.export(rest, *args, **kwargs) if rest else None  # the processor does not look at it

    def shutdown(self) -> None:
        self.wrapped.shutdown()

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return bool(self.wrapped.force_flush(timeout_millis))


def is_wanted(tracer_provider: Any, meter_provider: Any) -> bool:
    """Tells if any processor, reader or log processor exports over OTLP."""
    return any((_processor(tracer_provider), _reader(meter_provider), _log_batch()))


def _processor(tracer_provider: Any) -> Any:
    def sends(processor: SpanProcessor) -> bool:
        return isinstance(processor, BatchSpanProcessor) and is_otlp(processor.span_exporter)

    return next(filter(sends, provider.span_processors(tracer_provider)), None)


def _log_batch() -> Any:
    return next((batch for batch in log_batches() if not isinstance(batch._exporter, _WithoutEvents)), None)  # noqa: SLF001 -- the SDK has no public access


def _reader(meter_provider: Any) -> Any:
    """The first reader that exports over OTLP; the only kind that has an exporter is the periodic one."""
    readers = getattr(meter_provider, "_metric_readers", None)
    if readers is None:  # an older SDK
        readers = getattr(getattr(meter_provider, "_sdk_config", None), "metric_readers", None)
    return next((reader for reader in readers or () if is_otlp(getattr(reader, "_exporter", None))), None)
