import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import warm
from cylestio_monitor import pipeline, runtime
from cylestio_monitor.capture import span_resolvers
from cylestio_monitor.config import Settings
from cylestio_monitor.otel.processor import CylestioSpanProcessor


class World:
    """A provider that other instrumentations trace to, with our processor and an exporter, and the running pipeline."""

    def __init__(self, scanner, **settings):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider.add_span_processor(CylestioSpanProcessor())
        self.pipeline = pipeline.Pipeline(
            settings=Settings(**settings),
            scanner=scanner,
            tracer_provider=self.provider,
            resolvers=span_resolvers.ORDERED,
        )
        runtime.install(self.pipeline)

    def tracer(self, scope):
        return self.provider.get_tracer(scope)

    def spans(self):
        return self.exporter.get_finished_spans()

    def span(self):
        (span,) = self.spans()
        return span


@pytest.fixture(scope="session")
def scanner():
    return warm.scanner()


@pytest.fixture
def world(scanner):
    made = []

    def make(**settings):
        made.append(World(scanner, **settings))
        return made[-1]

    yield make
    runtime.turn_off()
    for one in made:
        one.provider.shutdown()
