"""What stays in memory after a hundred thousand calls and ten thousand streams that are dropped without a word.

The calls end in every way that a call can: read whole, streamed, left early, closed, broken in the middle, cancelled,
sync and async. As many spans have to be in the store as calls were made, and the process must not have grown. Takes
some minutes; `--json` prints one line for `bench.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PART = 10_000
PARTS = 10


def main() -> None:
    """Makes the calls and prints how much the process grew with each ten thousand."""
    logging.disable(logging.CRITICAL)
    os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CYLESTIO_DB_PATH"] = str(Path(folder) / "memory.db")
        grown = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(grown))
        return
    for what, megabytes in grown.items():
        print(f"{what}: {megabytes:+.1f} MB")


def measure() -> dict[str, float]:
    """Megabytes by which the process grew, by what was done meanwhile."""
    from cylestio_monitor import start_monitoring, stop_monitoring
    from cylestio_monitor.otel import setup

    start_monitoring("memory")
    running = setup.running()
    assert running is not None
    store = running.store
    assert store is not None
    made, sizes = 0, []
    calls = Calls()
    for number in range(PARTS + 1):
        for _ in range(PART // 10):
            made += calls.mixed(10)
            if store.stats()["waiting"] > 2000:
                store.flush(60)  # calls that take no time at all outrun any disk
        sizes.append(settled(running))
        print(f"{made} calls: {sizes[-1]:.1f} MB", file=sys.stderr)
        if number == 0:
            first = made
    before = sizes[-1]
    for _ in range(PART // 100):
        made += calls.dropped(100)
        running.pipeline.flush()
        store.flush(60)
    after = settled(running)
    until = time.monotonic() + 30
    while store.stats()["written"]["span"] < made and time.monotonic() < until:
        time.sleep(0.01)  # the last dropped streams end on another thread
    stats = store.stats()
    assert (stats["written"]["span"], stats["dropped"]) == (made, {}), (made, stats)
    stop_monitoring()
    steps = [later - earlier for earlier, later in itertools.pairwise(sizes[1:])]
    return {
        f"growth with {made - first - PART:,} calls": sizes[-1] - sizes[0],
        f"growth with 10,000 calls, at most, after the first {2 * PART:,}": max(steps),
        f"growth with {PART:,} abandoned streams": after - before,
    }


def settled(running) -> float:
    """The resident size in MB, once everything that was seen is on disk and what is unused is freed."""
    gc.collect()
    running.pipeline.flush()
    running.store.flush(60)
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Calls:
    """Calls of the real SDKs over transports that answer from memory."""

    def __init__(self) -> None:
        import anthropic
        import openai

        from capture import test_soak as soak
        from capture.anthropic_calls import REQUEST
        from capture.openai_calls import CHAT

        self._soak = soak
        self._transports = soak.Transports()
        self._streams = soak.opens(self._transports)
        self._random = random.Random(7)
        one = anthropic.Anthropic(api_key="k", max_retries=0, http_client=self._transports.client())
        other = openai.OpenAI(api_key="k", max_retries=0, http_client=self._transports.client())
        self._whole = [lambda: one.messages.create(**REQUEST), lambda: other.chat.completions.create(**CHAT)]
        self._loop = asyncio.new_event_loop()
        self._client = anthropic.AsyncAnthropic(api_key="k", max_retries=0, http_client=self._transports.async_client())

    def mixed(self, count: int) -> int:
        """So many calls, of which one is asynchronous, three are streamed and the rest are answered whole."""
        self._transports.break_after = None
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._soak.async_call(self._transports, self._random, self._client))
        for _ in range(3):
            self._soak.one_call(self._transports, self._streams, self._random)
        self._transports.break_after = None
        for _ in range(count - 4):
            self._random.choice(self._whole)()
        return count

    def dropped(self, count: int) -> int:
        """So many streams that are begun and dropped."""
        self._transports.break_after = None
        for _ in range(count):
            stream = self._random.choice(self._streams)()
            self._soak.read(stream, self._random.randrange(3))
            del stream
        return count


if __name__ == "__main__":
    main()
