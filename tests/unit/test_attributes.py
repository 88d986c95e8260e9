import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._internal.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cylestio_monitor.emit.genai import attributes as safe


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (True, True),
        (1.5, 1.5),
        (7, 7),
        ("\ud800x", "\ufffdx"),
        (2**63, str(2**63)),
        (["a", "\ud800"], ["a", "\ufffd"]),
        ([1, "a", None], ["1", "a"]),
        ((1, 2), [1, 2]),
        (b"x", "b'x'"),
    ],
)
def test_a_value_is_made_fit(value, expected):
    assert safe({"k": value}) == {"k": expected}


def test_none_is_left_out():
    assert safe({"k": None}) == {}


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.text(st.characters(exclude_categories=[]))
)


@given(st.dictionaries(st.sampled_from(["a", "b"]), anything | st.lists(anything)))
def test_whatever_comes_in_an_otlp_exporter_can_encode_it(attributes):
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("t").start_span("s", attributes=safe(attributes))
    span.end()
    provider.shutdown()
    assert encode_spans(exporter.get_finished_spans()).SerializeToString()
