"""Compares what monitoring adds to a call with the same at the merge base, by ratios in one run.

usage: python tests/benchmarks/bench_gate.py [--base REVISION] [--limit RATIO]

The source of the base is checked out beside this one. `tests/benchmarks/call_costs.py` of this checkout runs with
each of them, in processes that take turns. A row fails if it adds more than the limit allows; it is measured again
first, up to three times, as noise only ever adds. Exit code 1: a row is above the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from call_costs import CONTENT, NONE, STORED

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "benchmarks" / "call_costs.py"
ROUNDS = 5
BATCHES = 3
LEAST_US = 2.0
"""A row whose added cost differs by less, in microseconds, does not fail: the streamed chunk is that small."""


def main() -> int:
    """Measures and prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="the revision to compare with; the merge base with the main branch by default")
    parser.add_argument("--limit", type=float, default=1.1, help="the highest ratio that passes (1.1)")
    given = parser.parse_args()
    base = given.base or merge_base()
    if base is None:
        print("bench-gate: this is the main branch and nothing differs from it; name a revision with --base")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "base"
        git("worktree", "add", "--quiet", "--detach", str(checkout), base)
        try:
            slower = compare({"base": checkout / "src", "here": ROOT / "src"}, given.limit, Path(folder))
        finally:
            git("worktree", "remove", "--force", str(checkout))
    for row in slower:
        print(f"bench-gate: {row} costs more than {given.limit:.2f} of what it did at {base[:12]}")
    return 1 if slower else 0


def merge_base() -> str | None:
    """Returns the commit at which this branch left the main branch; `None` where nothing has changed since."""
    for main_branch in ("origin/main", "main"):
        found = subprocess.run(
            ["git", "merge-base", "HEAD", main_branch], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if found.returncode == 0:
            base = found.stdout.strip()
            is_changed = base != git("rev-parse", "HEAD") or git("status", "--porcelain", "--", "src")
            return base if is_changed else None
    return None


def git(*arguments: str) -> str:
    """Runs git in the checkout and returns what it prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def compare(sources: dict[str, Path], limit: float, folder: Path) -> list[str]:
    """Measures in turns and prints the table; returns the rows that are above the limit."""
    plain: dict[str, float] = {}
    monitored: dict[str, dict[str, float]] = {name: {} for name in sources}
    slower: list[str] = []
    for _ in range(BATCHES):
        for _ in range(ROUNDS):
            keep_fastest(plain, costs(NONE, sources["here"], folder / "plain"))
            for name, source in sources.items():
                keep_fastest(monitored[name], costs(STORED, source, folder / name))
        added = {name: {row: micros - plain[row] for row, micros in rows.items()} for name, rows in monitored.items()}
        slower = [
            row
            for row, now in added["here"].items()
            if row in added["base"] and now > max(added["base"][row] * limit, added["base"][row] + LEAST_US)
        ]
        if not slower:
            break
    print(f"{'added by monitoring, us':<32}{'base':>12}{'here':>12}{'ratio':>8}")
    for row, now in added["here"].items():
        before = added["base"].get(row)
        if before is not None:
            print(f"{row:<32}{before:>12,.1f}{now:>12,.1f}{now / before:>8.2f}")
    return slower


def keep_fastest(best: dict[str, float], rows: dict[str, float]) -> None:
    """Keeps the lower value of each row."""
    for row, micros in rows.items():
        best[row] = min(micros, best.get(row, micros))


def costs(name: str, source: Path, folder: Path) -> dict[str, float]:
    """Returns the rows of one process that uses the source, with byte code, store and caches in a folder of its own."""
    environment = {
        **os.environ,
        **CONTENT,
        "PYTHONPATH": str(source),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "CYLESTIO_DB_PATH": str(folder / "gate.db"),
        "CYLESTIO_SCAN_ENGINE": "hyperscan",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), name], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
