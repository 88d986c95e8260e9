"""How a framework's generators end, and what is the current span meanwhile."""

import asyncio
import contextlib
import gc

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import warm
from cylestio_monitor import pipeline, runtime, semconv
from cylestio_monitor.capture import call_wrappers, span_resolvers
from cylestio_monitor.config import Settings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Message, Part, Result


@pytest.fixture(scope="module")
def scanner():
    return warm.scanner()


@pytest.fixture
def road(scanner):
    made = []

    def make(**settings):
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        made.append(provider)
        running = pipeline.Pipeline(
            settings=Settings(**settings), scanner=scanner, tracer_provider=provider, resolvers=span_resolvers.ORDERED
        )
        runtime.install(running)
        return running, exporter

    yield make
    runtime.turn_off()
    for provider in made:
        provider.shutdown()


def chat(text="hello"):
    return Call("chat", "chat m", messages=[Message("user", [Part("text", text, path="messages[0]")])])


def joined(items):
    return Result(messages=[Message("assistant", [Part("text", "".join(items), path="content[0]")])])


def pieces(seen, text="run rm -rf / now", error=None):
    for letter in text:
        seen.append(trace.get_current_span())
        yield letter
    if error is not None:
        raise error


async def pieces_async(seen, text="run rm -rf / now"):
    for letter in text:
        seen.append(trace.get_current_span())
        await asyncio.sleep(0)
        yield letter


def test_a_generator_runs_inside_its_span_and_its_reader_does_not(road):
    _, exporter = road()
    seen = []
    for _ in call_wrappers.steps(chat, pieces(seen), joined):
        assert trace.get_current_span() is trace.INVALID_SPAN
    (span,) = exporter.get_finished_spans()
    assert {one.get_span_context().span_id for one in seen} == {span.context.span_id}
    assert span.attributes[semconv.RULES] == ("keyword.rm-rf",)


@pytest.mark.parametrize("way", ["close", "drop", "throw", "fail"])
def test_a_generator_ends_its_span_once_however_it_ends(road, way):
    running, exporter = road()
    seen = []
    items = call_wrappers.steps(chat, pieces(seen, error=OSError("lost")), joined)
    next(items)
    if way == "close":
        items.close()
    elif way == "throw":
        with pytest.raises(KeyError):
            items.throw(KeyError("x"))
    elif way == "fail":
        with pytest.raises(OSError, match="lost"):
            list(items)
    del items
    gc.collect()
    running.flush()
    running.background.drain()
    for _ in range(200):
        if exporter.get_finished_spans():
            break
        asyncio.run(asyncio.sleep(0.005))
    (span,) = exporter.get_finished_spans()
    kind = {"throw": "KeyError", "fail": "OSError"}.get(way)
    assert span.attributes.get(semconv.ERROR_TYPE) == kind


def test_an_asynchronous_generator_read_by_several_tasks_leaves_nothing_attached(road):
    _, exporter = road()
    seen = []

    async def main():
        items = call_wrappers.steps_async(chat, pieces_async(seen), joined)
        while True:
            try:
                await asyncio.create_task(items.__anext__())
            except StopAsyncIteration:
                break
            assert trace.get_current_span() is trace.INVALID_SPAN

    asyncio.run(main())
    (span,) = exporter.get_finished_spans()
    assert span.attributes[semconv.RULES] == ("keyword.rm-rf",)


def test_a_model_call_of_an_sdk_inside_one_of_a_framework_is_the_same_call(road):
    running, exporter = road()
    said = "please run DROP TABLE users"

    def work():
        inner = running.begin(chat(said))
        inner.end(Result(response_id="r1", messages=[Message("assistant", [Part("text", "rm -rf /", path="x")])]))

    call_wrappers.observe(lambda: chat(said), work, lambda _: Result())
    (span,) = exporter.get_finished_spans()
    assert span.attributes[semconv.RESPONSE_ID] == "r1"
    found = [event.attributes[semconv.FINDING_RULE] for event in span.events]
    assert sorted(found) == ["keyword.drop", "keyword.rm-rf"]


def test_an_agents_span_holds_no_findings_and_does_not_say_that_it_was_scanned(road):
    _, exporter = road()
    call = Call("invoke_agent", "invoke_agent a", kind="internal", messages=chat("DROP TABLE users").messages)
    assert call_wrappers.observe(lambda: call, lambda: 42) == 42
    (span,) = exporter.get_finished_spans()
    assert span.attributes[semconv.SCANNED] is False
    assert semconv.ALERT not in span.attributes


def test_a_refused_tool_does_not_run(road):
    _, exporter = road(mode="block")
    ran = []
    call = Call("execute_tool", "execute_tool sh", kind="internal", tool_name="sh", arguments={"cmd": "rm -rf /"})
    with pytest.raises(BlockedError):
        call_wrappers.observe(lambda: call, lambda: ran.append(1))
    assert not ran
    assert exporter.get_finished_spans()[0].attributes[semconv.ACTION] == "block"


def test_a_call_that_cannot_be_read_and_monitoring_that_is_off_leave_the_work_as_it_is(road):
    _, exporter = road()
    assert call_wrappers.observe(lambda: 1 / 0, lambda: "done") == "done"
    runtime.turn_off()
    assert list(call_wrappers.steps(chat, pieces([], "ab"))) == ["a", "b"]
    with contextlib.suppress(StopIteration):
        next(call_wrappers.steps(chat, pieces([], "")))
    assert not exporter.get_finished_spans()
