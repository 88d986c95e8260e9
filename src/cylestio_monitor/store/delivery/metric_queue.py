"""Metrics on their way through the store: a collected batch as JSON, and the batch again for the OTLP exporter."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from cylestio_monitor.sanitize import clean_value

if TYPE_CHECKING:
    from cylestio_monitor.store.store import Store

_DATA: Final = {kind.__name__: kind for kind in (Sum, Gauge, Histogram, ExponentialHistogram)}
_POINT: Final = {
    "Sum": NumberDataPoint,
    "Gauge": NumberDataPoint,
    "Histogram": HistogramDataPoint,
    "ExponentialHistogram": ExponentialHistogramDataPoint,
}


class StoreMetricExporter(MetricExporter):
    """Puts what a metric reader collects into the store's outbox instead of on the network."""

    def __init__(self, store: Store, exporter: MetricExporter) -> None:
        """Takes over for an exporter.

        Args:
            store: Where batches wait.
            exporter: The one that will send them; its temporality and aggregation are what the reader asks for.
        """
        super().__init__(
            preferred_temporality=exporter._preferred_temporality,  # noqa: SLF001 -- the SDK reads them so as well
            preferred_aggregation=exporter._preferred_aggregation,  # noqa: SLF001 -- as above
        )
        self._store = store

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:  # noqa: ARG002 -- the SDK's signature
        """Hands the batch to the store."""
        self._store.add_metrics(pack(metrics_data))
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Returns whether all exported metrics are stored."""
        return self._store.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Does nothing: the owner of the store closes it."""


def pack(batch: MetricsData) -> bytes:
    """The batch as JSON."""
    return msgspec.json.encode(
        [
            {
                "resource": clean_value(dict(group.resource.attributes)),
                "resource_schema_url": group.resource.schema_url,
                "schema_url": group.schema_url,
                "scopes": [
                    {
                        "scope": {
                            "name": scoped.scope.name,
                            "version": scoped.scope.version,
                            "schema_url": scoped.scope.schema_url,
                            "attributes": clean_value(dict(scoped.scope.attributes or {})),
                        },
                        "schema_url": scoped.schema_url,
                        "metrics": [_packed(metric) for metric in scoped.metrics],
                    }
                    for scoped in group.scope_metrics
                ],
            }
            for group in batch.resource_metrics
        ]
    )


def unpack(data: bytes) -> MetricsData:
    """The batch of `pack` again."""
    return MetricsData(
        [
            ResourceMetrics(
                Resource(group["resource"], group["resource_schema_url"]),
                [
                    ScopeMetrics(
                        InstrumentationScope(**scoped["scope"]),
                        [_unpacked(metric) for metric in scoped["metrics"]],
                        scoped["schema_url"],
                    )
                    for scoped in group["scopes"]
                ],
                group["schema_url"],
            )
            for group in msgspec.json.decode(data)
        ]
    )


def _packed(metric: Metric) -> dict[str, Any]:
    data = metric.data
    return {
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
        "kind": type(data).__name__,
        "temporality": int(getattr(data, "aggregation_temporality", 0)),
        "monotonic": getattr(data, "is_monotonic", False),
        "points": [_fields(point) for point in data.data_points],
    }


def _fields(point: Any) -> dict[str, Any]:
    """The fields of a data point, without a walk into what is plain already."""
    fields = {field.name: getattr(point, field.name) for field in dataclasses.fields(point)}
    fields["attributes"] = clean_value(dict(fields["attributes"] or {}))
    for name in ("positive", "negative"):
        if name in fields:
            fields[name] = [fields[name].offset, list(fields[name].bucket_counts)]
    fields["exemplars"] = [
        [
            clean_value(dict(one.filtered_attributes or {})),
            one.value,
            one.time_unix_nano,
            one.span_id,
            _hex(one.trace_id),
        ]
        for one in fields.get("exemplars") or ()
    ]
    return fields


def _unpacked(metric: dict[str, Any]) -> Metric:
    kind = metric["kind"]
    fields: dict[str, Any] = {"data_points": [_point(_POINT[kind], point) for point in metric["points"]]}
    if kind != "Gauge":
        fields["aggregation_temporality"] = AggregationTemporality(metric["temporality"])
    if kind == "Sum":
        fields["is_monotonic"] = metric["monotonic"]
    return Metric(metric["name"], metric["description"], metric["unit"], _DATA[kind](**fields))


def _point(kind: type[Any], fields: dict[str, Any]) -> Any:
    for name in ("positive", "negative"):
        if name in fields:
            fields[name] = Buckets(*fields[name])
    # JSON cannot represent numbers that are not finite; the bounds of an empty histogram are such numbers.
    for name, value in (("min", math.inf), ("max", -math.inf), ("value", math.nan)):
        if name in fields and fields[name] is None:
            fields[name] = value
    fields["exemplars"] = [
        Exemplar(attributes, value, time_ns, span_id, int(trace_id, 16) if trace_id else None)
        for attributes, value, time_ns, span_id, trace_id in fields["exemplars"]
    ]
    return kind(**fields)


def _hex(trace_id: int | None) -> str | None:
    """A trace id has 128 bits; JSON numbers here have 64."""
    return None if trace_id is None else f"{trace_id:032x}"
