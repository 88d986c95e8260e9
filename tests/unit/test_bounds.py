"""Findings of one call, labels of metrics and attributes are bounded, whatever a server or a model sends."""

import contextlib
import sqlite3
from contextlib import closing

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer
from cylestio_monitor.capture.parsing.reading import MAX_VALUES
from cylestio_monitor.config import KeywordSettings
from cylestio_monitor.emit import metrics, security
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.inspection import MAX_FINDINGS
from cylestio_monitor.model import INCOMPLETE, Call, Message, Part, Result, ToolDefinition, Usage
from cylestio_monitor.store import Store
from road import answer, chat

KEYWORDS = KeywordSettings(dangerous=("zebra",), suspicious=("lion",), defaults=False)
MANY = 2000


def _arguments():
    return Call("execute_tool", "t", "internal", tool_name="t", arguments=["a lion"] * MANY), Result(response="ok")


def _response():
    return Call("execute_tool", "t", "internal", tool_name="t", arguments={}), Result(response=["a lion"] * MANY)


def _messages():
    parts = [Part("text", "a lion", path=f"messages[{number}]") for number in range(MANY)]
    return Call("chat", "chat m", messages=[Message("user", parts)]), answer("ok")


def _tools():
    tools = [ToolDefinition(f"t{number}", "a lion", path=f"tools[{number}]") for number in range(MANY)]
    return Call("chat", "chat m", tools=tools), answer("ok")


@pytest.mark.parametrize("flood", [_arguments, _response, _messages, _tools])
def test_a_flood_of_findings_is_counted_and_kept_in_part(road, tmp_path, flood):
    here = road(keywords=KEYWORDS)
    here.pipeline.store = store = Store.open(tmp_path / "store.db", here.settings.store)
    call, result = flood()
    here.pipeline.begin(call).end(result)
    span = here.span()
    count = span.attributes[semconv.FINDING_COUNT]
    assert count == MANY or INCOMPLETE in span.attributes[semconv.RULES]
    assert count > MAX_FINDINGS
    assert len(span.events) == security.MAX_EVENTS
    counted = [point.value for point in here.points(semconv.METRIC_FINDINGS)]
    assert sum(counted) == count
    store.add_span(span)
    store.flush(10)
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("SELECT count(*) FROM findings").fetchone()[0] <= MAX_FINDINGS + 1
    store.close()


def test_a_severe_finding_after_a_flood_of_mild_ones_is_kept(road):
    here = road(keywords=KEYWORDS)
    mild = MAX_FINDINGS * 3
    arguments = ["a lion"] * mild + ["a zebra"]
    here.pipeline.begin(Call("execute_tool", "t", "internal", tool_name="t", arguments=arguments)).end()
    span = here.span()
    assert span.attributes[semconv.ALERT] == "dangerous"
    assert span.attributes[semconv.RULES] == ("keyword.user.lion", "keyword.user.zebra")
    assert f"arguments[{mild}]" in [event.attributes[semconv.FINDING_PATH] for event in span.events]


def _invented(place, name):
    call, result = chat("hi"), answer("ok", usage=Usage(1, 1))
    match place:
        case "request model":
            call.model = name
        case "response model":
            result.model = name
        case "server":
            call.server_address = name
        case "provider":
            call.provider = name
        case "error type":
            result.error_type = name
        case "operation":
            call.operation = name
    return call, result


@pytest.mark.parametrize("place", ["request model", "response model", "server", "provider", "error type", "operation"])
def test_names_that_a_server_invents_do_not_make_new_series_without_end(road, place):
    here = road(keywords=KEYWORDS)
    for number in range(metrics.MAX_VALUES * 2):
        call, result = _invented(place, f"name-{number}-" + "x" * 2000)
        here.pipeline.begin(call).end(result)
    here.exporter.clear()
    points = here.points(semconv.METRIC_CLIENT_DURATION)
    assert len(points) <= metrics.MAX_VALUES + 1
    labels = [value for point in points for value in point.attributes.values()]
    assert metrics.OTHER in labels
    assert max(len(str(value)) for value in labels) <= metrics.MAX_CHARACTERS


@pytest.mark.parametrize("place", ["tool", "method"])
def test_names_on_the_metrics_of_mcp_are_bounded(road, place):
    here = road(keywords=KEYWORDS)
    for number in range(metrics.MAX_VALUES * 2):
        name = f"name-{number}"
        method = name if place == "method" else "tools/call"
        call = Call(
            "execute_tool",
            "tools/call",
            "server",
            tool_name=name if place == "tool" else "t",
            attributes={semconv.MCP_METHOD: method},
        )
        here.pipeline.begin(call).end()
    here.exporter.clear()
    assert len(here.points(semconv.METRIC_MCP_SERVER_DURATION)) <= metrics.MAX_VALUES + 1


def test_combinations_of_labels_are_bounded(road, monkeypatch):
    monkeypatch.setattr(metrics, "MAX_COMBINATIONS", 50)
    here = road(keywords=KEYWORDS)
    for number in range(20):
        for other in range(20):
            call, result = chat("hi"), answer("ok", model=f"r{other}")
            call.model = f"m{number}"
            here.pipeline.begin(call).end(result)
    here.exporter.clear()
    assert len(here.points(semconv.METRIC_CLIENT_DURATION)) <= 51


def test_three_calls_make_few_series(road):
    here = road()
    for _ in range(3):
        here.pipeline.begin(chat("hi")).end(answer("ok", usage=Usage(1, 1)))
    names = [semconv.METRIC_FINDINGS, semconv.METRIC_CLIENT_DURATION, semconv.METRIC_CLIENT_TOKENS]
    assert sum(len(here.points(name)) for name in names) < 80


class Unreadable:
    """A fold that can read no event."""

    def __init__(self):
        self.complete = []

    def event(self, _):
        raise ValueError("no")

    def result(self):
        return Result()


@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_unreadable_events_of_one_stream_are_kept_in_part(road, mode):
    here = road(keywords=KEYWORDS, mode=mode)
    observed = ObservedAnswer(here.pipeline.begin(chat("hi")), Unreadable())
    with contextlib.suppress(BlockedError):
        for number in range(3 * MAX_VALUES):
            observed.observe({"event": number})
    kept = observed._result().messages[0].parts
    assert 0 < len(kept) <= MAX_VALUES + 1
    observed.failed(ValueError("no"))
    assert INCOMPLETE in here.span().attributes[semconv.RULES]
