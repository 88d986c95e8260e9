"""Streams that end at a random point in a random way, and thousands of calls: as many spans as calls, and no growth."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import threading

import anthropic
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture.anthropic_calls import REQUEST
from capture.openai_calls import CHAT, RESPONSE
from cylestio_monitor import semconv
from wire import anthropic_format, openai_format
from wire.blocks import Answer, Text

ANSWER = Answer((Text("one two three four five six seven eight nine ten"),))


def sse(events, *, done=False):
    lines = [
        f"event: {name}\ndata: {json.dumps(data)}\n\n" if name else f"data: {json.dumps(data)}\n\n"
        for name, data in events
    ]
    return ("".join(lines) + ("data: [DONE]\n\n" if done else "")).encode()


class Transports:
    """HTTP answered from memory, in the HTTP library that the SDKs use; streams may break after some bytes."""

    def __init__(self):
        self.library = __import__(anthropic._base_client.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
        self.break_after: int | None = None
        self.bodies = {
            "/v1/messages": sse(anthropic_format.events(ANSWER, REQUEST)),
            "/chat/completions": sse(openai_format.chat_events(ANSWER, CHAT), done=True),
            "/responses": sse(openai_format.response_events(ANSWER, RESPONSE)),
        }
        self.answers = {
            "/v1/messages": anthropic_format.message(ANSWER, REQUEST),
            "/chat/completions": openai_format.chat(ANSWER, CHAT),
            "/responses": openai_format.response(ANSWER, RESPONSE),
        }

    def pieces(self, body):
        for start in range(0, len(body), 64):
            if self.break_after is not None and start >= self.break_after:
                raise self.library.ReadError("the wire broke")
            yield body[start : start + 64]

    def answer(self, request):
        streamed = json.loads(request.content).get("stream")
        path = next(path for path in self.bodies if request.url.path.endswith(path))
        if not streamed:
            return self.library.Response(200, json=self.answers[path])
        headers = {"content-type": "text/event-stream"}
        return self.library.Response(200, headers=headers, content=self.pieces(self.bodies[path]))

    async def answer_async(self, request):
        response = self.answer(request)
        if response.headers["content-type"] != "text/event-stream":
            return response

        async def content():
            for piece in response.stream:
                await asyncio.sleep(0)
                yield piece

        return self.library.Response(200, headers={"content-type": "text/event-stream"}, content=content())

    def client(self):
        return self.library.Client(transport=self.library.MockTransport(self.answer))

    def async_client(self):
        return self.library.AsyncClient(transport=self.library.MockTransport(self.answer_async))


@pytest.fixture
def transports():
    return Transports()


def opens(transports):
    """Each kind of stream, from clients that share a transport."""
    one = anthropic.Anthropic(api_key="k", max_retries=0, http_client=transports.client())
    other = openai.OpenAI(api_key="k", max_retries=0, http_client=transports.client())
    return [
        lambda: one.messages.create(**REQUEST, stream=True),
        lambda: one.messages.stream(**REQUEST).__enter__(),
        lambda: other.chat.completions.create(**CHAT, stream=True),
        lambda: other.responses.create(**RESPONSE, stream=True),
        lambda: other.responses.stream(**RESPONSE).__enter__(),
    ]


def read(stream, events):
    for _, _ in zip(range(events), stream, strict=False):
        pass


def end(stream, how):
    if how == "close":
        stream.close()
    elif how == "close in a thread":
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join()
    elif how == "close twice":
        stream.close()
        stream.close()
    elif how == "read on":
        for _ in stream:
            pass
    elif how == "raise in with":
        with contextlib.suppress(ZeroDivisionError), stream:
            raise ZeroDivisionError
    # "drop": nothing more is done with it


WAYS = ["close", "close in a thread", "close twice", "read on", "raise in with", "drop"]


@pytest.mark.case("property: a stream that ends at a random point in a random way has one span")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.integers(0, 4),
    events=st.integers(0, 30),
    how=st.sampled_from(WAYS),
    again=st.sampled_from(WAYS),
    break_after=st.none() | st.integers(0, 3000),
)
def test_one_span_for_any_ending(hooked, transports, streams, kind, events, how, again, break_after):
    hooked.exporter.clear()
    transports.break_after = break_after
    stream, failure = None, None
    try:
        stream = streams[kind]()
        read(stream, events)
        end(stream, how)
    except Exception as error:  # noqa: BLE001 -- the broken wire, as each SDK wraps it
        failure = type(error).__name__
    with contextlib.suppress(Exception):  # reading on after a close is the application's mistake, not the call's
        end(stream, again)
    reads_on = again == "read on" and how == "drop"
    del stream
    gc.collect()
    (span,) = hooked.spans(1)
    found = span.attributes.get(semconv.ERROR_TYPE)
    assert found == failure or (reads_on and break_after is not None and failure is None)


@pytest.fixture
def streams(transports):
    return opens(transports)


def one_call(transports, streams, random_):
    """One call that ends in a random way."""
    transports.break_after = random_.choice([None, None, None, 900])
    with contextlib.suppress(Exception):
        stream = random_.choice(streams)()
        read(stream, random_.randrange(24))
        end(stream, random_.choice(WAYS))


async def async_call(transports, random_, client):
    stream = await client.messages.create(**REQUEST, stream=True)
    count = random_.randrange(24)
    task = asyncio.current_task()
    try:
        async for _ in stream:
            count -= 1
            if count == 0:
                how = random_.randrange(3)
                if how == 0:
                    await stream.close()
                elif how == 1:
                    task.cancel()
                else:
                    break
    except asyncio.CancelledError:
        if hasattr(task, "uncancel"):  # from Python 3.11 on a task remembers that it was cancelled
            task.uncancel()


@pytest.mark.slow
@pytest.mark.case("soak: thousands of calls with mixed endings make as many spans, and nothing stays behind")
def test_thousands_of_calls_with_mixed_endings(hooked, transports, streams):
    random_, part, alive = random.Random(7), 800, []
    for _ in range(3):
        for _ in range(part):
            one_call(transports, streams, random_)
        gc.collect()
        assert len(hooked.spans(part)) == part
        hooked.exporter.clear()
        gc.collect()
        alive.append(len(gc.get_objects()))
    # The first part fills caches; after it nothing may stay, not even one object for every four calls.
    assert alive[-1] - alive[-2] < part / 4


@pytest.mark.slow
@pytest.mark.case("soak: a thousand asynchronous calls with mixed endings make as many spans")
def test_a_thousand_tasks_with_mixed_endings(hooked, transports):
    random_ = random.Random(7)

    async def main():
        client = anthropic.AsyncAnthropic(api_key="k", max_retries=0, http_client=transports.async_client())
        for _ in range(50):
            await asyncio.gather(*(async_call(transports, random_, client) for _ in range(20)), return_exceptions=True)
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0.01)

    transports.break_after = None
    asyncio.run(main())
    gc.collect()
    spans = hooked.spans(1000)
    assert len(spans) == 1000
    assert {span.attributes.get(semconv.ERROR_TYPE) for span in spans} <= {None, "CancelledError"}
