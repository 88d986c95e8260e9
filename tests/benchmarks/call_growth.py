"""How the cost of a call grows: with known messages, with open conversations, with the chunks of a flagged stream.

usage: python tests/benchmarks/call_growth.py plain|none|masked

One process has one setting for its whole life; `bench_growth.py` runs them in turns. Calls of the Anthropic SDK go over
a transport that answers from memory. Printed is one JSON object: microseconds of processor time of the calling thread,
and for the event loop its longest gap in milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
import call_costs
from real_text import passages

if TYPE_CHECKING:
    from collections.abc import Callable

KNOWN = (10, 1_000)
OPEN = (200, 2_000)
"""Conversations that are open at a time, of ten messages each."""
STREAM = (1_000, 30_000)
ADDRESS = "Write to sara.lindholm@northwind-traders.example, "


def main() -> None:
    """Sets monitoring up as named, measures every row, prints them."""
    name = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(
            CYLESTIO_DB_PATH=str(Path(folder) / "growth.db"), CYLESTIO_CONTENT=name, ANTHROPIC_OPEN_TELEMETRY="false"
        )
        if name == "plain":
            del os.environ["CYLESTIO_CONTENT"]
        rest = call_costs.begin(call_costs.NONE if name == "plain" else call_costs.STORED)
        rows = {**known_messages(rest), **open_conversations(rest), **flagged_streams(rest), **event_loop()}
        print(json.dumps(rows))
        if name != "plain":
            from cylestio_monitor import stop_monitoring

            stop_monitoring()


def client(chunks: int = 0, text: str = "four or five ") -> Any:
    """An Anthropic client whose transport answers at once, whole or with so many chunks of `text`."""
    import anthropic

    from wire import anthropic_format as wire
    from wire.blocks import Answer, Text

    answer = Answer((Text(text * (chunks or 15), piece=len(text)),))
    transport = call_costs.transport(wire.events(answer, {}), wire.message(answer, {}), chunks)
    return anthropic.Anthropic(api_key="k", http_client=transport)


def conversation(length: int, texts: Any) -> list[dict[str, str]]:
    """Messages of a user and a model in turn, that begin with the user."""
    roles = itertools.cycle(("user", "assistant"))
    return [{"role": next(roles), "content": next(texts)} for _ in range(length)]


def known_messages(rest: Callable[[], None]) -> dict[str, float]:
    """The median call that adds one message to so many which an earlier call has sent."""
    used, texts = client(), passages(600)
    rows = {}
    for length in KNOWN:
        messages = conversation(length, texts)
        create(used, messages[:-1])
        times = []
        for _ in range(25):
            messages[-1] = {"role": "user", "content": next(texts)}
            times.append(create(used, messages))
            rest()
        rows[f"{length:,} known messages"] = statistics.median(times[5:])
    return rows


def open_conversations(rest: Callable[[], None]) -> dict[str, float]:
    """The median second turn while so many conversations are open; each of them holds an e-mail address."""
    used, texts = client(), passages(300)
    rows: dict[str, float] = {}
    for count in OPEN:
        held = [conversation(9, texts) for _ in range(count)]
        for number, messages in enumerate(held):
            messages[0]["content"] += f" {ADDRESS}{number}"
            create(used, messages)
            if number % 100 == 0:
                rest()
        rest()
        times = []
        for number, messages in enumerate(held):
            times.append(create(used, [*messages, {"role": "user", "content": next(texts)}]))
            if number % 100 == 0:
                rest()
        rest()
        rows[f"{count * 10:,} live parts"] = statistics.median(times)
    return rows


def create(used: Any, messages: list[dict[str, str]]) -> float:
    """Microseconds of one call."""
    begun = time.thread_time()
    used.messages.create(model="m", max_tokens=64, messages=messages)
    return (time.thread_time() - begun) * 1e6


def flagged_streams(rest: Callable[[], None]) -> dict[str, float]:
    """One chunk of an answer in which every chunk holds an e-mail address, and of one in which none does."""
    rows = {}
    for what, piece in (("clean", "four or five plain words in a row, and so on; "), ("flagged", ADDRESS)):
        for chunks in STREAM:
            used = client(chunks, piece)
            times = []
            for _ in range(5 if chunks < STREAM[-1] else 2):
                begun = time.thread_time()
                for _event in used.messages.create(
                    model="m", max_tokens=64, messages=[{"role": "user", "content": "Go"}], stream=True
                ):
                    pass
                times.append((time.thread_time() - begun) / chunks * 1e6)
                rest()
            rows[f"chunk of {chunks:,}, {what}"] = min(times)
    return rows


def event_loop() -> dict[str, float]:
    """The longest gap of the event loop while calls are made on it, in milliseconds of its thread's processor time."""
    return {
        "loop gap, 20 calls of 100 KB": asyncio.run(longest_gap(20, 100_000)),
        "loop gap, 1,000 tasks of 1 KB": asyncio.run(longest_gap(1_000, 1_000)),
    }


async def longest_gap(tasks: int, size: int) -> float:
    """Makes the calls at a time; gives the longest time between two turns of a task that only yields."""
    import anthropic
    import httpx2

    from wire import anthropic_format as wire
    from wire.blocks import Answer, Text

    whole = wire.message(Answer((Text("Done."),)), {})

    async def respond(_: Any) -> Any:
        await asyncio.sleep(0.02)
        return httpx2.Response(200, json=whole)

    used = anthropic.AsyncAnthropic(
        api_key="k", http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    )
    texts = passages(size)

    async def call(text: str) -> None:
        await used.messages.create(model="m", max_tokens=64, messages=[{"role": "user", "content": text}])

    await call(next(texts))
    longest, done = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not done:
            begun = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - begun)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(call(next(texts)) for _ in range(tasks)))
    done = True
    await watching
    return longest * 1e3


if __name__ == "__main__":
    main()
