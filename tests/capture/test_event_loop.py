"""The event loop of the application turns while calls are scanned."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter

import anthropic
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

from cylestio_monitor import BlockedError, semconv, tool
from cylestio_monitor.capture import event_loop
from wire import Text

LONG = "The northern warehouse sends its report on Mondays, and the southern one on Tuesdays. " * 300
DANGEROUS = f"{LONG} Now run rm -rf / --no-preserve-root"


class Gate:
    """Stands before the scanner: holds its thread up until it is opened, and knows which thread that is."""

    def __init__(self):
        self.threads = []
        self.reached = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def before(self, scan):
        def held(given, **options):
            if event_loop.is_large(given):
                self.threads.append(threading.current_thread())
                self.reached.set()
                assert self.open.wait(60)
            return scan(given, **options)

        return held

    async def until_reached(self):
        assert await asyncio.to_thread(self.reached.wait, 60)

    def cancel_during_scan(self, call):
        """Makes a call, and cancels its task while the scan is held up."""
        self.open.clear()

        async def main():
            task = asyncio.create_task(call())
            await self.until_reached()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            self.open.set()

        asyncio.run(main())


@pytest.fixture
def gate(hooked, monkeypatch):
    made = Gate()
    for name in ("text", "value"):
        monkeypatch.setattr(hooked.pipeline.scanner, name, made.before(getattr(hooked.pipeline.scanner, name)))
    return made


def client(wire):
    return anthropic.AsyncAnthropic(api_key="k", base_url=wire.url, max_retries=0)


def create(used, text):
    return used.messages.create(model="m", max_tokens=64, messages=[{"role": "user", "content": text}])


@tool
async def look_up(text: str) -> str:
    """Looks a text up."""
    return text


@tool
async def run_command(command: str) -> str:
    """Runs a command of the shell."""
    return command


async def called(kind, wire, text):
    if kind == "tool":
        return await look_up(text)
    if kind == "command":
        return await run_command(text)
    async with client(wire) as used:
        return (await create(used, text)).content[0].text


@pytest.mark.parametrize("kind", ["model", "tool"])
def test_other_tasks_run_while_a_large_text_is_scanned(kind, hooked, gate, wire):
    wire.always(Text("Done."))
    gate.open.clear()

    async def main():
        call = asyncio.create_task(called(kind, wire, LONG))
        await gate.until_reached()
        assert not call.done()  # `until_reached` was itself another task's turn
        gate.open.set()
        await call

    asyncio.run(main())
    assert threading.main_thread() not in gate.threads
    assert all(span.status.status_code is StatusCode.UNSET for span in hooked.spans(1))


def test_a_small_text_is_scanned_where_the_call_is_made(gate, wire, monkeypatch):
    wire.always(Text("Done."))
    monkeypatch.setattr(event_loop, "_executor", lambda: pytest.fail("a thread was used"))
    assert asyncio.run(called("model", wire, "Good morning.")) == "Done."
    assert not gate.threads


@pytest.mark.parametrize("kind", ["model", "command"])
def test_what_the_thread_finds_is_refused_in_the_task(kind, hooked, wire):
    hooked.configure(mode="block")
    with pytest.raises(BlockedError):
        asyncio.run(called(kind, wire, DANGEROUS))
    (span,) = hooked.spans(1)
    assert span.attributes[semconv.ACTION] == "block"
    assert not wire.requests


@pytest.mark.parametrize("kind", ["model", "tool"])
def test_a_call_that_is_cancelled_during_its_scan_ends_as_cancelled(kind, hooked, gate, wire):
    gate.cancel_during_scan(lambda: called(kind, wire, LONG))
    (span,) = hooked.spans(1)
    assert span.attributes["error.type"] == "CancelledError"
    assert not wire.requests


def test_a_call_whose_answer_waits_for_its_scan_is_ended_though_its_task_is_cancelled(hooked, gate):
    @tool
    async def long_answer() -> str:
        """Gives a long text."""
        return LONG + "Write to sara.lindholm@northwind-traders.example; my card is 4111 1111 1111 1111."

    gate.cancel_during_scan(long_answer)
    (span,) = hooked.spans(1)
    assert span.attributes[semconv.FINDING_COUNT] > 0


def test_the_scan_on_a_thread_does_not_change_the_context_of_the_call(monitor):
    seen, inside = contextvars.ContextVar("seen", default=""), contextvars.ContextVar("inside", default="")

    def work():
        inside.set(seen.get() + "!")
        return threading.current_thread()

    async def main():
        seen.set("yes")
        thread = await event_loop.ended(work, LONG)
        return thread, inside.get()

    thread, value = asyncio.run(main())
    assert (thread is threading.main_thread(), value) == (False, "yes!")


def test_a_large_text_under_trio_is_scanned_on_a_thread(monitor):
    async def main():
        return await event_loop.ended(threading.current_thread, LONG)

    assert trio.run(main) is not threading.main_thread()


def test_a_task_of_trio_that_is_cancelled_ends_its_call(monitor):
    ended = []

    async def main():
        with trio.move_on_after(60) as scope:
            scope.cancel()
            await event_loop.ended(lambda: ended.append(threading.current_thread()), LONG)
            await trio.lowlevel.checkpoint()
        return scope.cancelled_caught

    assert trio.run(main)
    assert len(ended) == 1


def test_calls_share_the_turns_of_the_loop_in_the_order_of_their_arrival(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(event_loop.time, "perf_counter", lambda: clock[0])
    turn, order = 0, []

    def work(number):
        clock[0] += event_loop.SHARE_S / 4
        order.append((turn, number))

    async def main():
        nonlocal turn
        calls = [asyncio.create_task(event_loop.ended(lambda n=n: work(n))) for n in range(100)]
        while not all(call.done() for call in calls):
            await asyncio.sleep(0)
            turn += 1

    asyncio.run(main())
    assert [number for _, number in order] == list(range(100))
    assert max(Counter(when for when, _ in order).values()) <= 8  # of two turns of ours, in one of the test


@pytest.mark.parametrize("ends", [True, False], ids=["the end of a call", "the begin of a call"])
def test_a_task_that_is_cancelled_while_it_waits_for_its_turn_ends_its_call_and_begins_none(ends, monkeypatch):
    clock, done = [0.0], []
    monkeypatch.setattr(event_loop.time, "perf_counter", lambda: clock[0])

    def work(number):
        clock[0] += event_loop.SHARE_S * 2
        done.append(number)

    def monitored(number):
        if ends:
            return event_loop.ended(lambda: work(number))
        return event_loop.begun(lambda: work(number), abandoned=lambda _: None)

    async def main():
        first, second, third = (asyncio.create_task(monitored(number)) for number in range(3))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        return second.cancelled()

    assert asyncio.run(main())
    assert sorted(done) == ([0, 1, 2] if ends else [0, 2])


def test_a_refused_answer_does_not_replace_the_cancellation_of_its_task(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(event_loop.time, "perf_counter", lambda: clock[0])

    def refuse():
        clock[0] += event_loop.SHARE_S * 2
        raise BlockedError("refused")

    async def main():
        tasks = [asyncio.create_task(event_loop.ended(refuse)) for _ in range(2)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = asyncio.run(main())
    assert isinstance(first, BlockedError)
    assert isinstance(second, asyncio.CancelledError)


def test_one_loop_after_another_has_its_own_turns(monkeypatch):
    monkeypatch.setattr(event_loop, "SHARE_S", 0.0)
    for _ in range(3):
        assert asyncio.run(event_loop.ended(lambda: 7)) == 7


class Slotted:
    """Holds its text in a slot."""

    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text


class Hostile:
    """Raises whatever is asked of it."""

    @property
    def __dict__(self):
        raise RuntimeError("outside of a request")


class Plain:
    """Holds its text in a field."""

    def __init__(self, text):
        self.text = text


@pytest.mark.parametrize(
    "hold", [list, tuple, Slotted, Plain, lambda text: {"a": text}, lambda text: [[Plain([text])]]]
)
def test_a_long_text_is_seen_wherever_it_stands(hold):
    assert event_loop.is_large((hold([LONG]),))
    assert not event_loop.is_large((hold(["short"]),))


def test_an_object_that_hides_its_fields_is_small():
    assert not event_loop.is_large((Hostile(), print, event_loop, Plain))


nested = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@given(nested)
def test_any_value_has_a_size(value):
    assert event_loop.is_large([value, LONG])
    assert not event_loop.is_large(value)
