"""Calls whose spans the SDK does not record are scanned, refused and, with a finding, kept in the local store."""

import sqlite3
from contextlib import closing, contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased

from cylestio_monitor import runtime
from cylestio_monitor.capture import span_resolvers
from cylestio_monitor.config import KeywordSettings, Settings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.otel.processor import CylestioSpanProcessor
from cylestio_monitor.pipeline import Pipeline, current
from cylestio_monitor.store import Store
from road import AWS, answer, chat

KEYWORDS = KeywordSettings(dangerous=("zebra",), suspicious=("lion",), defaults=False)


class _RaisingSampler(TraceIdRatioBased):
    def should_sample(self, *args, **kwargs):
        raise RuntimeError("a sampler of the application")


def _provider(context, monkeypatch):
    if context == "disabled SDK":
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    sampler = {"sampler": ALWAYS_OFF, "sampler that raises": _RaisingSampler(0.5)}.get(context)
    return TracerProvider(sampler=sampler, shutdown_on_exit=False)


CONTEXTS = ["sampler", "sampler that raises", "disabled SDK", "suppressed"]


@pytest.fixture
def world(scanners, tmp_path, monkeypatch):
    """A function that runs a block in a context in which no span is recorded, and reads the store afterwards."""
    opened = []

    @contextmanager
    def make(context, **settings):
        chosen = Settings(keywords=KEYWORDS, **settings)
        exporter, provider = InMemorySpanExporter(), _provider(context, monkeypatch)
        store = Store.open(tmp_path / "store.db", chosen.store)
        opened.append((provider, store))
        provider.add_span_processor(CylestioSpanProcessor(lambda: store))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        pipeline = Pipeline(
            settings=chosen,
            scanner=scanners(chosen),
            store=store,
            tracer_provider=provider,
            resolvers=span_resolvers.ORDERED,
        )
        runtime.install(pipeline)
        if context == "suppressed":
            with suppress_instrumentation():
                yield pipeline
        else:
            yield pipeline
        assert not exporter.get_finished_spans()
        store.flush(10)

    def rows(query):
        with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
            return connection.execute(query).fetchall()

    make.rows = rows
    yield make
    runtime.turn_off()
    for provider, store in opened:
        store.close()
        provider.shutdown()


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_call_is_refused_and_stored_with_its_span(world, context):
    with world(context, mode="block"):
        for _ in range(3):
            with pytest.raises(BlockedError):
                current().begin(chat("a zebra"))
    spans = world.rows("SELECT trace_id, span_id, name, action, severity FROM spans")
    assert {row[2:] for row in spans} == {("chat m", "block", "high")}
    assert len({row[:2] for row in spans}) == 3
    found = world.rows("SELECT trace_id, span_id, action FROM findings")
    assert sorted(found) == sorted((*row[:2], "block") for row in spans)
    assert "0" * 32 not in {row[0] for row in spans}
    assert len(world.rows("SELECT * FROM events")) == 3


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_call_without_a_finding_is_not_stored(world, context):
    with world(context):
        current().begin(chat("hello")).end(answer("ok"))
    assert not world.rows("SELECT * FROM spans")


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_finding_in_the_answer_stores_the_call_with_masked_content(world, context):
    with world(context, content="masked"):
        current().begin(chat(f"the key is {AWS}")).end(answer("a lion"))
    ((attributes,),) = world.rows("SELECT attributes FROM spans")
    assert AWS not in attributes
    assert ("keyword.user.lion",) in world.rows("SELECT rule_id FROM findings")


@pytest.mark.parametrize("context", CONTEXTS)
def test_calls_within_a_call_share_its_trace(world, context):
    with world(context):
        outer = current().begin(chat("a zebra"))
        with outer.attached():
            inner = current().begin(chat("a lion"))
        inner.end(answer("ok"))
        outer.end(answer("ok"))
        assert trace.get_current_span() is trace.INVALID_SPAN
    spans = world.rows("SELECT trace_id, span_id, parent_span_id FROM spans")
    assert len({row[0] for row in spans}) == 1
    assert len({row[1] for row in spans}) == 2
    assert {row[2] for row in spans} <= {None, outer.span.get_span_context().span_id.to_bytes(8, "big").hex()}


def test_a_local_span_does_not_enter_the_outbox(world):
    with world("sampler"):
        pipeline = current()
        pipeline.store.forward(frozenset({"traces"}), None, lambda: None)
        pipeline.begin(chat("a zebra")).end(answer("ok"))
    assert world.rows("SELECT count(*) FROM spans") == [(1,)]
    assert world.rows("SELECT count(*) FROM outbox") == [(0,)]
