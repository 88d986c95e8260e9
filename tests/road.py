"""A pipeline with the real scanner and the SDK's own exporters at its end, for tests of the road itself."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cylestio_monitor.capture import span_resolvers
from cylestio_monitor.config import Settings
from cylestio_monitor.model import Call, Message, Part, Result
from cylestio_monitor.pipeline import Pipeline

AWS = "AKIA" + "Z7VQ3XW5L2MN4RTB"


class Road:
    """A pipeline, and the spans and metrics that come out at its end."""

    def __init__(self, scanners, **settings):
        self.settings = Settings(**settings)
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.pipeline = Pipeline(
            settings=self.settings,
            scanner=scanners(self.settings),
            tracer_provider=self.provider,
            meter_provider=self.meters,
            resolvers=span_resolvers.ORDERED,
        )

    def span(self):
        (span,) = self.exporter.get_finished_spans()
        self.exporter.clear()
        return span

    def points(self, name):
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def chat(*texts, system=None, tools=(), role="user"):
    return Call(
        operation="chat",
        name="chat m",
        provider="anthropic",
        model="m",
        system=[Part("text", system, path="system")] if system else [],
        messages=[
            Message(role, [Part("text", text, path=f"messages[{number}].content")]) for number, text in enumerate(texts)
        ],
        tools=list(tools),
    )


def answer(text, **more):
    return Result(messages=[Message("assistant", [Part("text", text, path="content[0]")], "stop")], **more)
