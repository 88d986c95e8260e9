"""The one local collector: counts that agree with the SDK's, and bad input that is dropped or masked, and counted."""

from __future__ import annotations

import re

import pytest

from cylestio_monitor import semconv
from e2e import collectors, otlp
from e2e.backends import Jaeger, Prometheus
from e2e.programs import until
from e2e.spans import Sender, finding

pytestmark = pytest.mark.e2e

KEY = "AKIA" + "ABCDEFGHIJKLMNOP"
SERIES = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@pytest.fixture(scope="module")
def local_stack(collector, jaeger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    backend = Jaeger(jaeger, folder / "jaeger")
    local = collectors.run(collector, "local", folder / "collector", backend=backend.otlp, max_series=60)
    yield local, backend
    local.process.stop()
    backend.process.stop()


def _series(local, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (dict(LABEL.findall(labels)), float(value)) for n, labels, value in SERIES.findall(local.metrics()) if n == name
    ]


def _total(local, name: str, **labels: str) -> float:
    return sum(value for have, value in _series(local, name) if labels.items() <= have.items())


@pytest.mark.programs("collector")
def test_findings_counted_from_spans_equal_those_that_the_SDK_counts(local_stack):  # noqa: N802 -- SDK is written so
    local, _ = local_stack
    injection = finding("prompt_injection.override", "prompt_injection", "medium")
    with Sender("equal", local.grpc) as first, Sender("equal", local.grpc) as second:
        for sender in (first, second):
            for _ in range(25):
                sender.call(finding())
            for _ in range(7):
                sender.call(finding(), injection, injection)
            for _ in range(3):
                sender.call(
                    injection, operation="execute_tool", tool="delete_file", action="block", error="BlockedError"
                )
            sender.call()
            sender.flush()

    def agree():
        keys = ("rule", "category", "severity", "action", "operation", "tool")
        counts = []
        for metric in ("cylestio_span_findings_total", "cylestio_security_findings_total"):
            summed: dict[tuple[str, ...], float] = {}
            for labels, value in _series(local, metric):
                if labels["service_name"] == "equal":
                    key = tuple(labels.get(name, "") for name in keys)
                    summed[key] = summed.get(key, 0) + value
            counts.append(summed)
        return counts[0] if counts[0] == counts[1] and sum(counts[0].values()) == 98 else None

    counted = until(agree, 20, "the same counts from spans and from the SDK")
    assert counted["secret.aws-access-key-id", "secret", "high", "audit", "chat", ""] == 64
    assert (
        counted["prompt_injection.override", "prompt_injection", "medium", "block", "execute_tool", "delete_file"] == 6
    )


@pytest.mark.programs("collector")
def test_other_events_of_a_span_are_no_findings(local_stack):
    local, _ = local_stack
    with Sender("exceptions", local.grpc) as sender:
        span = sender.tracer.start_span("chat")
        span.record_exception(ValueError("x"))
        span.set_attribute(semconv.FINDING_COUNT, 1)
        span.add_event(semconv.EVENT_FINDING, {semconv.FINDING_RULE: "r", semconv.FINDING_CATEGORY: "keyword"})
        span.end()
    until(lambda: _total(local, "cylestio_span_findings_total", service_name="exceptions"), 20, "the finding")
    assert _total(local, "cylestio_span_findings_total", service_name="exceptions") == 1


@pytest.mark.programs("collector")
def test_the_number_of_series_is_bounded_whatever_is_sent(local_stack):
    local, _ = local_stack
    with Sender("many", local.grpc) as sender:
        for number in range(200):
            sender.call(finding(rule=f"rule-{number}"), operation="execute_tool", tool=f"tool-{number}")
    until(lambda: _total(local, "cylestio_span_findings_total", service_name="many") >= 60, 20, "counts")

    def summed():
        overflow = _series(local, "cylestio_span_findings_total")
        return sum(
            value
            for labels, value in overflow
            if labels.get("service_name") == "many" or "otel_metric_overflow" in labels
        )

    assert until(lambda: summed() == 200, 20, "all 200 counted, most under the overflow")
    for metric in ("cylestio_span_findings_total", "cylestio_span_calls_total", "cylestio_span_flagged_total"):
        assert len([1 for labels, _ in _series(local, metric) if labels.get("service_name") == "many"]) <= 61


@pytest.mark.programs("collector", "jaeger")
def test_secrets_are_masked_wherever_on_a_span_they_stand(local_stack):
    local, backend = local_stack
    bearer = "Bearer " + "a1" * 20
    body = otlp.request(
        [
            otlp.span(
                0xFEED,
                name=f"chat {KEY}",
                attributes={
                    "plain": f"x {KEY} y",
                    "list": ["fine", KEY],
                    "map": {"deep": {"er": KEY}},
                    "bytes": b"raw " + KEY.encode(),
                    "http.request.header.authorization": bearer,
                    "note": bearer,
                },
                events=[("event", {"inside": KEY})],
            )
        ],
        {"service.name": "leaky", "process.command_line": f"run --key {KEY}"},
    )
    assert otlp.post(local.http, body) == 200
    (trace,) = until(lambda: backend.find("leaky"), 20, "the span in Jaeger")
    assert KEY not in str(trace)
    assert bearer[7:] not in str(trace)
    assert "****" in str(trace)
    assert until(lambda: _total(local, "cylestio_span_masked_total", service_name="leaky"), 20, "it to be counted") == 1
    assert KEY not in local.process.log()


@pytest.mark.programs("collector", "prometheus")
def test_hostile_names_cannot_break_out_of_a_label_or_a_log(local_stack, tmp_path, started):
    local, _ = local_stack
    hostile = 'x"} 1\nevil_total{a="\\\x1b[31m\u2028'
    with Sender("hostile", local.grpc) as sender:
        sender.call(finding(rule=hostile), operation="execute_tool", tool=hostile, name=hostile)
        sender.call(finding(rule="r" * 5000), operation="execute_tool", tool="t" * 5000)
    until(lambda: _total(local, "cylestio_span_findings_total", service_name="hostile") == 2, 20, "both counted")
    prometheus = started(Prometheus(tmp_path, {"cylestio": [local.prometheus]}))
    rows = until(lambda: prometheus.query('cylestio_span_findings_total{service_name="hostile"}'), 20, "a scrape")
    names = prometheus.query("count({__name__=~'evil.*'})")
    assert names == []
    assert {labels["tool"] for labels, _ in rows} == {hostile, "t" * 128}
    assert prometheus.value("up{job='cylestio'}") == 1
    assert "\x1b" not in local.process.log()


@pytest.mark.programs("collector", "jaeger")
def test_malformed_oversized_and_foreign_input_is_refused_and_the_next_span_arrives(local_stack):
    local, backend = local_stack
    good = otlp.request([otlp.span(0xB0, attributes={"gen_ai.operation.name": "chat"})], {"service.name": "good"})
    assert otlp.post(local.http, b"\xff\xff\xff not protobuf") == 400
    assert otlp.post(local.http, b'{"resourceSpans": "no"}', "application/json") == 400
    assert otlp.post(local.http, good, "text/plain") == 415
    assert otlp.post(local.http, good, path="/v9/traces") == 404
    assert otlp.post(local.http, good[: len(good) // 2]) == 400
    assert otlp.post(local.http, b"\x00" * (17 << 20)) in {400, 413, 0}
    assert otlp.post(local.http, otlp.request([], {})) == 200
    wrong = otlp.request([otlp.span(0xB1)], {"service.name": "schema"}, "https://example.org/schemas/99.9.9")
    assert otlp.post(local.http, wrong) == 200
    assert otlp.post(local.http, otlp.request([otlp.span(0xB2)])) == 200
    assert otlp.post(local.http, good) == 200
    assert until(lambda: backend.find("good"), 20, "the good span")
    assert until(lambda: backend.find("schema"), 20, "a span of another schema version passes as it is")
    assert until(lambda: backend.find("unknown_service"), 20, "a span without a service gets a name")
    counted = re.compile(r'^http_server_request_body_size_count\{.*status_code="(\d+)".*\} (\d+)', re.MULTILINE)
    assert {("400", "4"), ("404", "1"), ("415", "1")} <= set(counted.findall(local.own_metrics()))


@pytest.mark.programs("collector", "jaeger")
def test_what_is_too_much_on_a_span_is_cut_and_counted(local_stack):
    local, backend = local_stack
    crowd = {f"key-{number:04}": "v" for number in range(1000)} | {semconv.FINDING_COUNT: 1, "long": "x" * 500_000}
    events = [(semconv.EVENT_FINDING, {semconv.FINDING_RULE: "r" * 9000, semconv.FINDING_CATEGORY: "keyword"})]
    body = otlp.request([otlp.span(0xC0, "n" * 5000, crowd, events)], {"service.name": "crowded"})
    assert otlp.post(local.http, body) == 200
    (trace,) = until(lambda: backend.find("crowded"), 20, "the span")
    (span,) = trace["spans"]
    assert len(span["operationName"]) == 256
    assert len(span["tags"]) < 140
    assert {tag["key"] for tag in span["tags"]} >= {semconv.FINDING_COUNT, "cylestio.collector.cut"}
    assert max(len(str(field["value"])) for log in span["logs"] for field in log["fields"]) <= 4096
    assert (
        until(lambda: _total(local, "cylestio_span_masked_total", service_name="crowded"), 20, "the cut counted") == 1
    )
