"""What a run is called, and the line at its end."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider

from cylestio_monitor import semconv
from cylestio_monitor.otel import provider, summary


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["python", "agent.py"], "agent"),
        (["python", "-W", "ignore", "-Xdev", "dir/agent.py", "-m", "x"], "agent"),
        (["python", "-u", "-m", "my.agents", "agent.py"], "my.agents"),
        (["python", "/usr/bin/uvicorn", "app:app"], "uvicorn"),
        (["python", "support/__main__.py"], "support"),
        (["python", "-c", "print()"], ""),
        (["python", "-"], ""),
        (["python"], ""),
        ([], ""),
        (["python", "-m"], ""),
        (["python", f"{'a' * 500}.py"], None),
        (["python", "a\x1b[2J\ud800.py"], None),
    ],
)
def test_a_program_gives_the_service_its_name(words, name):
    found = provider.program_name(words)
    assert len(found.encode()) <= 64
    assert found.isprintable()
    if name is not None:
        assert found == name


def scanned(operation=None, *, method=None, rule=None):
    attributes = {semconv.SCANNED: True}
    attributes |= {semconv.OPERATION_NAME: operation} if operation else {}
    attributes |= {semconv.MCP_METHOD: method} if method else {}
    provider_of_spans = TracerProvider()
    counted = summary.RunSummary()
    counted.attach(provider_of_spans)
    with provider_of_spans.get_tracer("t").start_as_current_span("s", attributes=attributes) as span:
        if rule:
            span.set_attribute(semconv.FINDING_COUNT, 1)
            values = {semconv.FINDING_RULE: rule, semconv.FINDING_ALERT: "dangerous"}
            span.add_event(semconv.EVENT_FINDING, values)
    return counted.text(is_stored=False)


@pytest.mark.parametrize(
    ("operation", "method", "line"),
    [
        ("chat", None, "cylestio: 1 call, no findings."),
        ("embeddings", None, "cylestio: 1 call, no findings."),
        ("execute_tool", "tools/call", "cylestio: 1 call, no findings."),
        ("invoke_agent", None, ""),
        (None, "initialize", ""),
        (None, "tools/list", ""),
    ],
)
def test_a_run_counts_the_calls_that_the_list_of_traces_counts(operation, method, line):
    assert scanned(operation, method=method) == line


def test_a_finding_outside_calls_is_said_too():
    assert scanned(method="tools/list", rule="r") == "cylestio: 0 calls, 1 dangerous finding."
