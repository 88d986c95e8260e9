"""Whatever is put on a span: it arrives marked, its neighbours untouched, and nobody raises."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from cylestio_monitor import semconv
from cylestio_monitor.sanitize import clean_text, clean_value, to_json
from cylestio_monitor.store import Event
from cylestio_monitor.store.read import queries, traces
from cylestio_monitor.store.sqlite import keys
from store.filling import Bench

NOW = time.time_ns()
CONTEXT = SpanContext(1, 2, False, TraceFlags(1))


class Raising:
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


class Items(dict):
    def items(self):
        raise RuntimeError("no")


def cyclic():
    value = {}
    value["self"] = [value]
    return value


def deep(depth=2000):
    value = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE = {
    "surrogate": {"a": "x\ud800y"},
    "nul": {"a": "x\x00y"},
    "nan": {"a": float("nan"), "b": [float("inf")]},
    "huge integer": {"a": 2**80, "b": 2**63},
    "huger integer": {"a": 10**100_000},
    "cyclic": {"a": cyclic()},
    "deep": {"a": deep()},
    "raising": {"a": Raising(), "b": [Raising()]},
    "raising mapping": Items(a=1),
    "bytes": {"a": b"\xff\x00"},
    "many": {f"k{n}": n for n in range(20_000)},
    "long": {"a": "x" * 100_000_000},
    "long list": {"a": ["x"] * 1_000_000},
    "long key": {"k" * 1_000_000: 1},
    "odd key": {1: 2, None: 3},
    "wrong types": {semconv.SEVERITY_NUMBER: "high", semconv.ALERT: 7, semconv.USAGE_INPUT_TOKENS: True},
}


def span(name="chat", attributes=None, number=2, **kwargs):
    return ReadableSpan(
        name,
        SpanContext(1, number, False, TraceFlags(1)),
        resource=Resource({"service.name": "s"}),
        attributes=attributes,
        kind=SpanKind.CLIENT,
        start_time=NOW,
        end_time=NOW + 1,
        **kwargs,
    )


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_span_arrives_and_so_do_its_neighbours(bench, collector, kind):
    outbox = bench.send_to(collector, timeout=5)
    bench.span("before")
    bench.store.add_span(span("hostile", HOSTILE[kind]))
    bench.span("after")
    assert outbox.force_flush(20)
    assert sorted(collector.names) == ["after", "before", "hostile"]
    (row,) = bench.rows("SELECT attributes FROM spans WHERE name = 'hostile'")
    assert isinstance(json.loads(row["attributes"]), dict)
    if kind not in {"wrong types", "bytes", "raising mapping"}:
        assert json.loads(row["attributes"]).get(semconv.SANITIZED) is True


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "x" * 10_000_000])
def test_names_status_events_and_links_may_be_hostile_too(bench, collector, text):
    outbox = bench.send_to(collector, timeout=5)
    bench.store.add_span(
        span(
            text,
            status=Status(StatusCode.ERROR, text),
            events=[SpanEvent(text, {"a": text}, 1)],
            links=[Link(CONTEXT, {"a": text})],
        )
    )
    bench.span("after")
    assert outbox.force_flush(20)
    assert len(collector.spans) == 2


def test_a_value_of_type_bytes_is_kept_as_base64(bench):
    bench.store.add_span(span("b", {"a": b"\xff"}))
    bench.flush()
    assert json.loads(bench.rows("SELECT attributes FROM spans")[0]["attributes"])["a"] == "/w=="


def test_events_may_hold_anything(bench):
    for value in HOSTILE.values():
        ticket = bench.store.add_event(Event("a", "x", "SYSTEM", "INFO", NOW, value))
    assert ticket.wait(20)
    bench.flush()
    assert len(bench.rows("SELECT json_extract(data, '$.a') FROM events")) == len(HOSTILE)
    assert bench.store.stats()["dropped"] == {}


def test_a_span_that_comes_twice_stands_once_with_its_findings_once(bench):
    from cylestio_monitor.model import Finding

    finding = Finding("secret.x", "secret", "high", "dangerous", "input", "llm", "messages[0]", 1, 5)
    ticket = bench.store.add_findings(1, 2, [finding], agent_id="a", model="m")
    assert ticket.urgent
    assert ticket.wait(5)
    event = SpanEvent(
        semconv.EVENT_FINDING,
        {
            semconv.FINDING_RULE: "secret.x",
            semconv.FINDING_CATEGORY: "secret",
            semconv.FINDING_SEVERITY: "high",
            semconv.FINDING_ALERT: "dangerous",
            semconv.FINDING_TARGET: "input",
            semconv.FINDING_SUBTYPE: "llm",
            semconv.FINDING_PATH: "messages[0]",
            semconv.FINDING_START: 1,
            semconv.FINDING_END: 5,
        },
        NOW,
    )
    twice = span("chat", {semconv.OPERATION_NAME: "chat"}, events=[event])
    bench.store.add_span(twice)
    bench.store.add_span(twice)
    bench.flush()
    assert len(bench.rows("SELECT * FROM spans")) == 1
    (row,) = bench.rows("SELECT * FROM findings")
    assert (row["rule_id"], row["agent_id"], row["model"]) == ("secret.x", "a", "m")


TEXT = st.text(st.characters(), max_size=8)
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(JSONISH, st.integers(16, 2000))
def test_json_always_parses_and_fits(value, limit):
    text = to_json(value, limit)
    assert len(text.encode()) <= limit
    json.loads(text)


@given(st.text(st.characters()), st.integers(0, 50))
def test_text_always_encodes_and_fits(text, limit):
    cleaned = clean_text(text, limit)
    assert len(cleaned.encode()) <= limit
    assert "\x00" not in cleaned


@given(JSONISH)
def test_cleaning_twice_changes_nothing(value):
    once = clean_value(value)
    assert clean_value(once) == once


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    attributes=st.dictionaries(st.text(st.characters(), max_size=8), JSONISH, max_size=8), name=st.text(st.characters())
)
def test_any_span_is_stored_and_read_back(shared_bench, attributes, name):
    shared_bench.number += 1
    assert shared_bench.store.add_span(span(name, attributes, shared_bench.number)).wait(0) is False
    shared_bench.flush()
    (row,) = shared_bench.rows("SELECT * FROM spans WHERE span_id = ?", f"{shared_bench.number:016x}")
    json.loads(row["attributes"])


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("h") / "s.db")
    made.number = 10
    yield made
    assert made.store.stats()["dropped"] == {}
    made.close()


SECRET = "the quick brown fox" * 20


def test_content_is_encrypted_at_rest_where_a_key_is_given(tmp_path, monkeypatch, collector):
    monkeypatch.setenv(keys.KEY_VARIABLE, "correct horse battery staple")
    bench = Bench(tmp_path / "s.db")
    outbox = bench.send_to(collector)
    with bench.tracer.start_as_current_span("chat", attributes={"gen_ai.input.messages": SECRET}) as current:
        trace_id = f"{current.get_span_context().trace_id:032x}"
    assert outbox.force_flush(10)
    with queries.connect(bench.path) as connection:
        (node,) = traces.trace(connection, trace_id, bench.path)
        assert node.span["attributes"]["gen_ai.input.messages"] == SECRET
        monkeypatch.setenv(keys.KEY_VARIABLE, "another key of some length")
        (node,) = traces.trace(connection, trace_id, bench.path)
        assert "another key" in node.span["content_error"]
        monkeypatch.delenv(keys.KEY_VARIABLE)
        (node,) = traces.trace(connection, trace_id, bench.path)
        assert "gen_ai.input.messages" not in node.span["attributes"]
    assert collector.spans
    (row,) = bench.rows("SELECT content FROM span")
    assert b"quick" not in row["content"]
    assert not (tmp_path / "s.db.key").exists()
    bench.close()


def test_a_key_that_is_too_short_or_a_keyring_that_is_not_there_is_said(tmp_path, monkeypatch):
    from cylestio_monitor.store import StoreError

    monkeypatch.setenv(keys.KEY_VARIABLE, "short")
    with pytest.raises(StoreError, match="at least 16"):
        Bench(tmp_path / "s.db")
    monkeypatch.setenv(keys.KEY_VARIABLE, "keyring")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    with pytest.raises(StoreError, match="keyring"):
        Bench(tmp_path / "s.db")


def test_values_that_are_equal_and_not_the_same_are_kept_apart(bench):
    values = (1, 1.0, True, "1", (1, 1), (1.0, 1.0), (True, True), ("a",))
    for value in (*values, *values):
        bench.span("chat", attributes={semconv.OPERATION_NAME: "chat", semconv.REQUEST_TOP_K: value})
    bench.flush()
    rows = bench.rows("SELECT attributes FROM spans ORDER BY id")
    stored = [json.loads(row["attributes"])[semconv.REQUEST_TOP_K] for row in rows]
    expected = [list(value) if isinstance(value, tuple) else value for value in (*values, *values)]
    assert [repr(value) for value in stored] == [repr(value) for value in expected]
