"""An asynchronous stream ends once, with the truth, whatever tasks do with it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from capture.streams import async_sources
from cylestio_monitor import semconv
from wire import Broken, ErrorEvent, Hang, Text, Usage

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(caplog):
    """Nothing may be said about contexts, and nothing may fail in a finaliser."""
    caplog.set_level(logging.INFO)
    yield
    said = [record.getMessage() for record in caplog.records if record.name.startswith(("opentelemetry", "cylestio"))]
    assert said == []


@pytest.fixture(params=async_sources(), ids=lambda source: source.title)
def source(request, wire):
    wire.always(Text("one two three four five six seven"), usage=Usage(11, 7))
    return request.param


async def opened(source, client):
    made = source.open(client)
    return await (made.__aenter__() if source.manager else made)


async def read_all(source, client):
    async for _ in await opened(source, client):
        pass


async def read_within_with(source, client):
    made = source.open(client)
    async with made if source.manager else await made as stream:
        async for _ in stream:
            pass


async def leave_with_early(source, client):
    made = source.open(client)
    async with made if source.manager else await made as stream:
        await anext(aiter(stream))


async def close_early(source, client):
    stream = await opened(source, client)
    await anext(aiter(stream))
    await stream.close()


async def close_unread(source, client):
    await (await opened(source, client)).close()


async def freed():
    """Lets the loop close dropped generators, each of which may free the next."""
    for _ in range(5):
        gc.collect()
        await asyncio.sleep(0.002)


async def break_and_drop(source, client):
    async for _ in await opened(source, client):
        break
    await freed()


async def never_read(source, client):
    await opened(source, client)
    await freed()


async def raise_in_the_loop(source, client):
    made = source.open(client)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 -- the loop is the point
        async with made if source.manager else await made as stream:
            async for _ in stream:
                1 / 0  # noqa: B018 -- the application's own mistake


async def read_in_another_task(source, client):
    stream = await opened(source, client)

    async def read():
        async for _ in stream:
            pass

    await asyncio.create_task(read())


async def close_in_another_task(source, client):
    stream = await opened(source, client)
    await anext(aiter(stream))
    await asyncio.create_task(stream.close())


async def close_a_generator_in_another_task(source, client):
    async def texts():
        made = source.open(client)
        async with made if source.manager else await made as stream:
            async for event in stream:
                yield event

    generator = texts()
    await anext(generator)
    await asyncio.create_task(generator.aclose())


async def leave_a_generator_to_the_loop(source, client):
    async def texts():
        async for event in await opened(source, client):
            yield event

    generator = texts()
    await asyncio.create_task(anext(generator))
    del generator
    await freed()


GOOD_ENDINGS = [
    read_all,
    read_within_with,
    leave_with_early,
    close_early,
    close_unread,
    break_and_drop,
    never_read,
    raise_in_the_loop,
    read_in_another_task,
    close_in_another_task,
    close_a_generator_in_another_task,
    leave_a_generator_to_the_loop,
]


def case(function):
    title = function.__name__.replace("_", " ")
    return pytest.param(function, id=function.__name__, marks=pytest.mark.case(f"Async stream ending: {title}"))


@pytest.mark.parametrize("ending", [case(ending) for ending in GOOD_ENDINGS])
def test_an_ending_without_an_error(hooked, source, wire, ending):
    tracer = hooked.provider.get_tracer("application")

    async def main():
        async with source.client(wire) as client:
            with tracer.start_as_current_span("turn") as turn:
                await ending(source, client)
                assert trace.get_current_span() is turn
            first, last = sorted(hooked.spans(2), key=lambda span: span.name)
            assert first.name.startswith("chat ")
            assert first.parent.span_id == last.context.span_id
            assert first.status.status_code is StatusCode.UNSET
            assert semconv.ERROR_TYPE not in first.attributes
            hooked.exporter.clear()
            await read_all(source, client)  # what comes after has the parent it should have: none

    asyncio.run(main())
    (span,) = hooked.spans(1)
    assert span.parent is None
    assert span.attributes[semconv.RESPONSE_FINISH_REASONS]


async def cancel_while_it_waits(source, client):
    stream = await opened(source, client)

    async def read():
        async for _ in stream:
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def time_out_while_it_waits(source, client):
    async def read():
        async for _ in await opened(source, client):
            pass

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(read(), 0.1)


@pytest.mark.case("Async stream error: the task is cancelled while it waits for the next event")
@pytest.mark.parametrize("ending", [cancel_while_it_waits, time_out_while_it_waits])
def test_a_cancel_is_on_the_span(hooked, source, wire, ending):
    wire.fail(Hang(after=4))

    async def main():
        async with source.client(wire) as client:
            await ending(source, client)

    asyncio.run(main())
    span = hooked.span()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[semconv.ERROR_TYPE] == "CancelledError"


@pytest.fixture
def slow(wire):
    """A server that lets every request wait for half a second; gives the event that one has arrived."""
    arrived, take = threading.Event(), wire.take

    def take_slowly(asked):
        arrived.set()
        wire.closing.wait(0.5)
        return take(asked)

    wire.take = take_slowly
    return arrived


@pytest.mark.case("Async error: the task is cancelled while the request is made")
def test_a_cancelled_request_is_on_the_span(hooked, source, wire, slow):
    async def main():
        async with source.client(wire) as client:
            task = asyncio.create_task(opened(source, client))
            await asyncio.to_thread(slow.wait, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert hooked.span().attributes[semconv.ERROR_TYPE] == "CancelledError"


@pytest.mark.case("Async ending: the request is left behind when the loop ends")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # what is left behind is not closed: that is the case
def test_a_request_that_is_left_behind_ends_its_span(hooked, source, wire, slow):
    loop = asyncio.new_event_loop()
    request = opened(source, source.client(wire))
    task = loop.create_task(request)
    loop.run_until_complete(asyncio.to_thread(slow.wait, 5))
    with contextlib.suppress(Exception):  # without a loop the HTTP library cannot close its connection
        request.close()  # from another context than it began in, as the interpreter does with what is left
    task._log_destroy_pending = False
    del task, request
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gc.collect()
    assert len(hooked.spans(1)) == 1


@pytest.mark.case("Async stream error: the connection breaks in the middle")
@pytest.mark.case("Async stream error: the provider reports one in the middle")
@pytest.mark.parametrize("fault", [Broken(4), ErrorEvent(4)])
def test_a_broken_stream_is_an_error(hooked, source, wire, fault):
    wire.fail(fault)

    async def main():
        async with source.client(wire) as client:
            with pytest.raises(Exception, match=r"[Cc]onnection|the wire says") as caught:
                await read_all(source, client)
            return caught.value

    error = asyncio.run(main())
    span = hooked.span()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[semconv.ERROR_TYPE] == type(error).__name__
