"""How large the persistent queues must be: a simulation of outages, in steps of a second with random arrivals.

usage: python tests/benchmarks/simulate_queues.py [--rate SPANS_PER_S] [--drain SPANS_PER_S] [--queue REQUESTS]

For each length of an outage: the deepest the queue gets, its size on disk, what a queue of the given size refuses, and
how long it takes until the queue is empty again. The defaults are one agent collector of the sizing table in
docs/explanation/scale.md: twenty agent processes, one span a second each, a tenth of them with a finding.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass

OUTAGES_S = (60, 600, 3600, 6 * 3600, 24 * 3600)
BURST_EVERY_S = 600
BURST_S = 30


@dataclass(frozen=True)
class Outcome:
    """What became of one queue.

    Attributes:
        deepest: Requests that waited at the worst moment.
        refused: Requests that found the queue full; their senders keep them in their own store.
        empty_after_s: Seconds from the end of the outage until nothing waited; `inf` where it never catches up.
    """

    deepest: int
    refused: int
    empty_after_s: float


def simulate(outage_s: int, rate: float, drain: float, capacity: int, burst: float, seed: int = 1) -> Outcome:
    """One outage of the next hop, after which it takes what it can.

    Args:
        outage_s: How long nothing can be sent, in seconds.
        rate: Requests that arrive, per second on average.
        drain: Requests that can be sent, per second, once it is over.
        capacity: Requests that the queue holds.
        burst: Factor on the rate during half a minute of every ten.
        seed: Of the arrivals.
    """
    random_ = random.Random(seed)
    waiting = deepest = refused = second = 0
    while second < outage_s or waiting:
        factor = burst if second % BURST_EVERY_S < BURST_S else 1.0
        came = _poisson(random_, rate * factor)
        taken = min(came, capacity - waiting)
        refused += came - taken
        waiting += taken
        deepest = max(deepest, waiting)
        if second >= outage_s:
            waiting = max(0, waiting - int(drain))
            if second - outage_s > 7 * 24 * 3600:
                return Outcome(deepest, refused, math.inf)
        second += 1
    return Outcome(deepest, refused, second - outage_s)


def _poisson(random_: random.Random, mean: float) -> int:
    """A number of arrivals; by the normal distribution where that is as good."""
    if mean > 50:
        return max(0, round(random_.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, random_.random()
    while product > limit:
        count += 1
        product *= random_.random()
    return count


def length(seconds: float) -> str:
    """A time in the largest unit that leaves a number above one."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return "never" if seconds == math.inf else f"{seconds:.3g} s"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second that arrive (2)")
    parser.add_argument("--drain", type=float, default=100.0, help="requests a second that can be sent (100)")
    parser.add_argument("--queue", type=int, default=50_000, help="requests that the queue holds (50000)")
    parser.add_argument("--bytes", type=int, default=4_200, help="bytes of a request in the queue (4200)")
    parser.add_argument("--burst", type=float, default=5.0, help="factor during half a minute of every ten (5)")
    given = parser.parse_args()
    print(f"{'outage':>8}  {'deepest':>9}  {'on disk':>9}  {'refused':>9}  {'empty again after':>18}")
    for outage_s in OUTAGES_S:
        seen = simulate(outage_s, given.rate, given.drain, given.queue, given.burst)
        size = f"{seen.deepest * given.bytes / 1e6:.1f} MB"
        empty = length(seen.empty_after_s)
        print(f"{length(outage_s):>8}  {seen.deepest:>9,}  {size:>9}  {seen.refused:>9,}  {empty:>18}")


if __name__ == "__main__":
    main()
