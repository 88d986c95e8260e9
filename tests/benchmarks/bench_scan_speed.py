"""CPU time of the scanner on real texts: median and 99th percentile per KB, beside a fixed cost for each text.

Usage:
    python tests/benchmarks/bench_scan_speed.py CORPUS... [--per-corpus 60] [--repeat 3]

A corpus is a file of JSON lines, plain or with gzip, of which each row has at least ``text``; ``corpus``, ``target``
and ``subtype`` are used where a row has them. `PER_TEXT` is taken off the cost of each text before it is divided by its
size: short texts have a cost that does not depend on their size.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import defaultdict
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING, Any

from cylestio_monitor.config import Settings
from cylestio_monitor.scan import Scanner

if TYPE_CHECKING:
    from collections.abc import Iterator

PER_TEXT = 15e-6
"""Seconds for each text that do not count as cost per KB."""

_SHORTEST = 200
_SHORT_TEXT = "The train to the coast leaves at ten, ok"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Gives the rows of a corpus."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def sample(paths: list[Path], per_corpus: int) -> dict[str, list[dict[str, Any]]]:
    """Returns so many harmless texts of each corpus, the same ones every time."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in paths:
        for row in rows(path):
            if len(row["text"]) >= _SHORTEST and not row.get("label"):
                found[row.get("corpus", path.stem)].append(row)
    choice = random.Random(1)
    return {name: choice.sample(texts, min(per_corpus, len(texts))) for name, texts in sorted(found.items())}


def seconds(scanner: Scanner, text: str, target: Any, subtype: Any, repeat: int) -> float:
    """Returns the least CPU time of several scans of a text."""
    times = []
    for _ in range(repeat):
        began = thread_time()
        scanner.text(text, target=target, subtype=subtype)
        times.append(thread_time() - began)
    return min(times)


def percentile(values: list[float], share: float) -> float:
    """Returns the value below which the share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    """Prints a line for each corpus and one for all texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="+", type=Path)
    parser.add_argument("--per-corpus", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    scanner = Scanner(Settings(), key=bytes(32))
    scanner.wait_compiled()
    print(f"engine: {scanner.engine}")
    each = seconds(scanner, _SHORT_TEXT, "input", "tool_result", 200)
    print(f"per text, 40 characters: {each * 1e6:.1f} us")
    print(f"{'corpus':32} {'texts':>5} {'median':>8} {'p99':>8}  us per KB")
    every: list[float] = []
    for name, texts in sample(chosen.corpus, chosen.per_corpus).items():
        costs = []
        for row in texts:
            target, subtype = row.get("target", "input"), row.get("subtype", "tool_result")
            spent = seconds(scanner, row["text"], target, subtype, chosen.repeat)
            costs.append(max(spent - PER_TEXT, 0.0) * 1e6 / (len(row["text"].encode("utf-8", "replace")) / 1024))
        every += costs
        print(f"{name:32} {len(costs):5} {percentile(costs, 0.5):8.1f} {percentile(costs, 0.99):8.1f}")
    print(f"{'all':32} {len(every):5} {percentile(every, 0.5):8.1f} {percentile(every, 0.99):8.1f}")


if __name__ == "__main__":
    main()
