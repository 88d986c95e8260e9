"""Whatever stands in a payload: no reader raises, what else the payload says is scanned, and the host's data stay."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import warm
from capture import payloads
from capture.odd_values import ODD, at, places, with_value
from capture.payload_readers import READERS
from cylestio_monitor import pipeline, runtime, semconv
from cylestio_monitor.capture.parsing.reading import PATH
from cylestio_monitor.config import KeywordSettings, Settings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.inspection import SeenParts

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.payload_readers import Reader

MARKS = [f"zq{number:02d}x" for number in range(40)]
SETTINGS = Settings(keywords=KeywordSettings(dangerous=(*MARKS, ODD), defaults=False), content="masked")


class Bench:
    """A pipeline of its own, the span of the last call, and what was logged about things that could not be read."""

    def __init__(self, **overrides: Any) -> None:
        settings = msgspec.structs.replace(SETTINGS, **overrides)
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.pipeline = pipeline.Pipeline(
            settings=settings,
            scanner=warm.scanner(SETTINGS),
            tracer_provider=provider,
            meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False),
        )
        self.failures: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what a reader logs in place of raising."""
        if "ould not" in record.msg:
            self.failures.append(f"{record.getMessage()}: {record.exc_info[1]!r}" if record.exc_info else record.msg)

    def marks(self, run: Callable[[], None]) -> tuple[set[str], str]:
        """Runs one call: the marks that were found in it, and everything that was recorded of it."""
        self.pipeline.seen = SeenParts()
        self.exporter.clear()
        self.failures.clear()
        run()
        self.pipeline.flush()
        spans = self.exporter.get_finished_spans()
        rules = {rule for span in spans for rule in span.attributes.get(semconv.RULES, ())}
        assert spans, "a call without a span"
        return {rule.rpartition(".")[2] for rule in rules}, str([span.attributes for span in spans])


@pytest.fixture(scope="module")
def bench():
    made = Bench()
    handler = logging.Handler()
    handler.emit = made.emit
    log = logging.getLogger("cylestio_monitor")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    runtime.install(made.pipeline)
    yield made
    runtime.turn_off()
    log.setLevel(before)
    log.removeHandler(handler)


def said(value: Any) -> set[str]:
    """The marks that stand in a payload."""
    return set(payloads.MARK.findall(str(value)))


@pytest.mark.parametrize("name", READERS)
def test_every_text_of_a_recorded_payload_is_scanned(bench, name):
    reader = READERS[name]
    found, _ = bench.marks(lambda: reader.run(bench.pipeline, reader.payload))
    assert found >= said(reader.payload)
    assert bench.failures == []


@pytest.mark.parametrize("name", READERS)
def test_every_text_of_a_recorded_payload_is_scanned_once_and_at_its_place(bench, name):
    reader = READERS[name]
    bench.marks(lambda: reader.run(bench.pipeline, reader.payload))
    events = [dict(event.attributes) for span in bench.exporter.get_finished_spans() for event in span.events]
    found = [(one[semconv.FINDING_RULE], one[semconv.FINDING_PATH]) for one in events if semconv.FINDING_RULE in one]
    twice = [place for place, count in Counter(found).items() if count > 1]
    assert [place for place in twice if ".tools[" not in place[1]] == []  # a list of tools is content and definitions
    assert [place for place in found if place[1].startswith(PATH)] == []


def chosen(reader: Reader, number: int) -> dict[str, Any]:
    """The odd values for one place: all of them under `make fuzz`, else two that hurt most and one in turn."""
    if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz":
        return reader.values
    titles = list(reader.values)
    return {title: reader.values[title] for title in ("null", "object of a list", titles[number % len(titles)])}


@pytest.mark.parametrize("name", READERS)
def test_no_value_is_too_odd_to_be_read(bench, name):
    reader = READERS[name]
    _, recorded = bench.marks(lambda: reader.run(bench.pipeline, reader.payload))
    shown = said(recorded)
    wrong = []
    for number, place in enumerate(places(reader.payload)):
        held = said(at(reader.payload, place))
        for title, value in chosen(reader, number).items():
            payload = with_value(reader.payload, place, value)
            before = shape(payload)
            found, recorded = bench.marks(functools.partial(reader.run, bench.pipeline, payload))
            left = said(text_of(payload))
            problems = {
                "not scanned": left - found,
                "not recorded": (left & shown) - said(recorded),
                "the odd text was not scanned": held and title in _TEXTS and not found & {ODD, "incomplete"},
                "the payload was changed": shape(payload) != before,
                "could not be read": title not in _RAISING and bench.failures[:1],
            }
            wrong += [(place, title, problem, what) for problem, what in problems.items() if what]
    assert wrong == []


@pytest.mark.parametrize("name", [name for name in READERS if "stream" in name])
def test_a_stream_that_can_be_refused_is_read_alike(bench, name, monkeypatch):
    monkeypatch.setattr(bench, "pipeline", Bench(mode="block").pipeline)
    reader = READERS[name]
    for place in places(reader.payload):
        payload = with_value(reader.payload, place, {"type": []})
        # The marks are dangerous words: such an answer is refused where it asks for a tool.
        with contextlib.suppress(BlockedError):
            reader.run(bench.pipeline, payload)
    assert bench.failures == []


_TEXTS = {"text", "list of texts"}
_RAISING = {"object"}
"""Values whose own code raises: their place is reported as unread, and the rest is read."""


def text_of(value: Any) -> str:
    """Every text of a payload, also of one with objects that have none."""
    if isinstance(value, dict):
        return " ".join(f"{text_of(key)} {text_of(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(text_of, value))
    return value if isinstance(value, str) else value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def shape(value: Any) -> Any:
    """A payload as something that can be compared, whatever it holds."""
    if isinstance(value, dict):
        return [(shape(key), shape(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(shape, value)]
    return repr(value) if isinstance(value, (str, bytes, int, float, bool, type(None), set)) else id(value)
