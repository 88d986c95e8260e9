"""A stream ends once, with the truth, whatever the program does with it."""

from __future__ import annotations

import gc
import logging
import threading

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from capture.streams import sources
from cylestio_monitor import semconv
from wire import Broken, ErrorEvent, Hang, Status, Text, Usage

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(caplog):
    """Nothing may be said about contexts, and nothing may fail in a finaliser."""
    caplog.set_level(logging.INFO)
    yield
    said = [record.getMessage() for record in caplog.records if record.name.startswith(("opentelemetry", "cylestio"))]
    assert said == []


@pytest.fixture(params=sources(), ids=lambda source: source.title)
def source(request):
    return request.param


@pytest.fixture
def client(source, wire):
    wire.always(Text("one two three four five six seven"), usage=Usage(11, 7))
    with source.client(wire) as made:
        yield made


def opened(source, client):
    stream = source.open(client)
    return stream.__enter__() if source.manager else stream


def read_all(source, client):
    for _ in opened(source, client):
        pass


def read_within_with(source, client):
    with source.open(client) as stream:
        for _ in stream:
            pass


def leave_with_early(source, client):
    with source.open(client) as stream:
        next(iter(stream))


def close_early(source, client):
    stream = opened(source, client)
    next(iter(stream))
    stream.close()


def close_unread(source, client):
    opened(source, client).close()


def close_twice(source, client):
    stream = opened(source, client)
    stream.close()
    stream.close()


def break_and_drop(source, client):
    for _ in opened(source, client):
        break
    gc.collect()


def raise_in_the_loop(source, client):
    with pytest.raises(ZeroDivisionError), source.open(client) as stream:  # noqa: PT012 -- the loop is the point
        for _ in stream:
            1 / 0  # noqa: B018 -- the application's own mistake


def raise_in_the_loop_and_drop(source, client):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 -- the loop is the point
        for _ in opened(source, client):
            1 / 0  # noqa: B018 -- the application's own mistake
    gc.collect()


def never_read(source, client):
    opened(source, client)
    gc.collect()


def read_in_another_thread(source, client):
    stream = opened(source, client)
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    thread.join()


def begin_here_and_end_in_another_thread(source, client):
    stream = opened(source, client)
    next(iter(stream))
    thread = threading.Thread(target=stream.close)
    thread.start()
    thread.join()


def read_in_a_cycle(source, client):
    """A stream that refers to itself is freed by the cycle collector, wherever that runs."""
    stream = opened(source, client)
    stream.itself = stream
    next(iter(stream))
    del stream
    gc.collect()


GOOD_ENDINGS = [
    read_all,
    read_within_with,
    leave_with_early,
    close_early,
    close_unread,
    close_twice,
    break_and_drop,
    raise_in_the_loop,
    raise_in_the_loop_and_drop,
    never_read,
    read_in_another_thread,
    begin_here_and_end_in_another_thread,
    read_in_a_cycle,
]


def case(function):
    title = function.__name__.replace("_", " ")
    return pytest.param(function, id=function.__name__, marks=pytest.mark.case(f"Stream ending: {title}"))


@pytest.mark.parametrize("ending", [case(ending) for ending in GOOD_ENDINGS])
def test_an_ending_without_an_error(hooked, source, client, ending):
    tracer = hooked.provider.get_tracer("application")
    with tracer.start_as_current_span("turn") as turn:
        ending(source, client)
        assert trace.get_current_span() is turn
    first, last = sorted(hooked.spans(2), key=lambda span: span.name)
    assert first.name.startswith("chat ")
    assert first.parent.span_id == last.context.span_id
    assert first.status.status_code is StatusCode.UNSET
    assert semconv.ERROR_TYPE not in first.attributes
    hooked.exporter.clear()
    read_all(source, client)  # what comes after has the parent it should have: none
    (span,) = hooked.spans(1)
    assert span.parent is None
    assert span.attributes[semconv.RESPONSE_FINISH_REASONS]


@pytest.mark.case("Stream error: the connection breaks before the first event")
@pytest.mark.case("Stream error: the connection breaks in the middle")
@pytest.mark.parametrize("after", [0, 4])
def test_a_broken_stream_is_an_error(hooked, source, client, wire, after):
    wire.fail(Broken(after))
    with pytest.raises(Exception, match=r"[Cc]onnection") as caught:
        read_all(source, client)
    span = hooked.span()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[semconv.ERROR_TYPE] == type(caught.value).__name__


@pytest.mark.case("Stream error: the provider reports one in the middle")
def test_an_error_event_is_an_error(hooked, source, client, wire):
    wire.fail(ErrorEvent(4))
    with pytest.raises(source.error) as caught:
        read_all(source, client)
    span = hooked.span()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[semconv.ERROR_TYPE] == type(caught.value).__name__


@pytest.mark.case("Stream error: 429 instead of a stream")
def test_a_status_instead_of_a_stream_is_an_error(hooked, source, client, wire):
    wire.fail(Status(429))
    with pytest.raises(source.error):
        read_all(source, client)
    assert hooked.span().attributes[semconv.HTTP_STATUS_CODE] == 429


@pytest.mark.case("Stream ending: closed by another thread while one waits for the next event")
def test_a_close_by_another_thread_is_no_error(hooked, source, client, wire):
    wire.fail(Hang(after=4, seconds=0.4))
    stream = opened(source, client)
    closed = threading.Timer(0.1, stream.close)
    closed.start()
    with pytest.raises(Exception):  # noqa: B017, PT011 -- which one is the HTTP library's affair
        list(stream)
    closed.join()
    span = hooked.span()
    assert span.status.status_code is StatusCode.UNSET


def test_an_interrupt_is_a_cancel(hooked, source, client, wire, monkeypatch):
    stream = opened(source, client)
    response = stream.response if hasattr(stream, "response") else stream._response

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(response), "iter_raw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    monkeypatch.undo()
    assert hooked.span().attributes[semconv.ERROR_TYPE] == "KeyboardInterrupt"


def test_the_stream_stays_the_sdks_own(monitor, source, client):
    from cylestio_monitor.capture.anthropic import AnthropicInstrumentor
    from cylestio_monitor.capture.openai import OpenAIInstrumentor

    bare = opened(source, client)
    bare.close()
    instrumentors = AnthropicInstrumentor(), OpenAIInstrumentor()
    for instrumentor in instrumentors:
        instrumentor.instrument(skip_dep_check=True)
    observed = opened(source, client)
    assert type(observed) is type(bare)
    assert dir(observed) == dir(bare)
    response = observed.response if hasattr(observed, "response") else observed._response
    events = list(observed)
    assert events
    assert response.is_closed
    assert response.elapsed.total_seconds() > 0
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    assert [event.type for event in opened(source, client) if hasattr(event, "type")] == [
        event.type for event in events if hasattr(event, "type")
    ]


def test_a_dropped_stream_gives_its_connection_back_as_early_as_before(monitor, source, wire):
    from cylestio_monitor.capture.anthropic import AnthropicInstrumentor
    from cylestio_monitor.capture.openai import OpenAIInstrumentor

    def closed_at_once():
        with source.client(wire) as client:
            stream = opened(source, client)
            response = stream.response if hasattr(stream, "response") else stream._response
            next(iter(stream))
            del stream
            return response.is_closed

    gc.disable()
    try:
        before = closed_at_once()
        instrumentors = AnthropicInstrumentor(), OpenAIInstrumentor()
        for instrumentor in instrumentors:
            instrumentor.instrument(skip_dep_check=True)
        assert closed_at_once() == before
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
    finally:
        gc.enable()
        gc.collect()
