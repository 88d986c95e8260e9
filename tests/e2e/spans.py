"""Spans as this package makes them, without a model call: the same attributes and events, by the SDK alone."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from cylestio_monitor import semconv
from cylestio_monitor.emit import security
from cylestio_monitor.model import ALERT_OF, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace.export import SpanExporter


def finding(
    rule: str = "secret.aws-access-key-id", category: str = "secret", severity: str = "high", **more
) -> Finding:
    """A finding of one rule."""
    values = {"target": "input", "subtype": "llm", "path": "messages[0].content", "start": 3, "end": 23, **more}
    return Finding(rule_id=rule, category=category, severity=severity, alert=ALERT_OF[severity], **values)


@dataclass
class Sender:
    """One process of an application, as the collector sees it.

    Attributes:
        service: `service.name`.
        endpoint: `host:port` of the OTLP gRPC receiver.
        sent: Every span sent: its identifiers as hex, and whether it has a finding.
    """

    service: str
    endpoint: str
    agent: str = "agent-1"
    session: str = "session-1"
    exporter: SpanExporter | None = None
    resource: Mapping[str, str] = field(default_factory=dict)
    sent: dict[tuple[str, str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The SDK has one instance id for this whole process; each sender stands for a process of its own.
        own = {"service.name": self.service, "service.instance.id": str(uuid.uuid4())}
        resource = Resource.create({**own, **self.resource})
        self.exporter = self.exporter or OTLPSpanExporter(endpoint=self.endpoint, insecure=True, timeout=10)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self._provider.get_tracer(semconv.SCOPE)
        self._reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=self.endpoint, insecure=True), 1e9)
        self._meters = MeterProvider([self._reader], resource=resource, shutdown_on_exit=False)
        self.meter = self._meters.get_meter(semconv.SCOPE)
        self._count = self.meter.create_counter(semconv.METRIC_FINDINGS, unit="{finding}")

    def call(
        self,
        *findings: Finding,
        name: str = "chat claude-sonnet-4-5",
        operation: str = "chat",
        tool: str | None = None,
        action: str = "audit",
        error: str | None = None,
        parent: trace.Span | None = None,
        **attributes,
    ) -> str:
        """One ended span of a call; its trace id as hex."""
        context = trace.set_span_in_context(parent) if parent else None
        verdict = Verdict("deny" if action == "block" else "warn", action) if findings else Verdict()
        span = self.tracer.start_span(name, context, kind=SpanKind.INTERNAL if tool else SpanKind.CLIENT)
        span.set_attributes(
            {
                semconv.OPERATION_NAME: operation,
                semconv.CYLESTIO_AGENT_ID: self.agent,
                semconv.CYLESTIO_SESSION_ID: self.session,
                **({semconv.TOOL_NAME: tool} if tool else {semconv.REQUEST_MODEL: "claude-sonnet-4-5"}),
                **security.attributes(findings, len(findings), verdict, {}),
                **attributes,
            }
        )
        for each in findings:
            span.add_event(semconv.EVENT_FINDING, security.event(each))
            labels = {"category": each.category, "severity": each.severity, "rule": each.rule_id}
            self._count.add(1, {**labels, "action": verdict.action, "operation": operation, "tool": tool or ""})
        if error:
            span.set_attribute(semconv.ERROR_TYPE, error)
            span.set_status(Status(StatusCode.ERROR, error))
        context_of = span.get_span_context()
        ids = (f"{context_of.trace_id:032x}", f"{context_of.span_id:016x}")
        span.end()
        self.sent[ids] = bool(findings)
        return ids[0]

    def flush(self) -> None:
        """Sends the metrics now."""
        self._meters.force_flush()

    def close(self) -> None:
        self._provider.shutdown()
        self._meters.shutdown()

    def __enter__(self) -> Sender:  # noqa: PYI034 -- `Self` is not in Python 3.10
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
