"""How the cost of a call grows with the conversation, with open conversations, with a stream, and on an event loop.

`make bench-growth` runs `call_growth.py` in processes that take turns: without monitoring, with content off, with
masked content. It prints what monitoring adds and the ratio of the larger size to the smaller one; with `--write` it
writes `docs/explanation/growth.md`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "call_growth.py"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "growth.md"
NAMES = ("plain", "none", "masked")
"""Without monitoring, and the two settings of `content`."""
ROUNDS = 3

_PAIRS = (
    ("a call with known messages", "10 known messages", "1,000 known messages"),
    ("a second turn among live parts", "2,000 live parts", "20,000 live parts"),
    ("a chunk of a stream without findings", "chunk of 1,000, clean", "chunk of 30,000, clean"),
    ("a chunk of a stream with a finding in each", "chunk of 1,000, flagged", "chunk of 30,000, flagged"),
)
_GAPS = ("loop gap, 20 calls of 100 KB", "loop gap, 1,000 tasks of 1 KB")

TEXT = """# How the cost grows

<!-- Written by tests/benchmarks/bench_growth.py --write: measure again, do not edit. -->

From one run (Python {python}, {cores} cores). Processes without monitoring, with `content: none` and with
`content: masked` took turns; the fastest of {rounds} counts. Messages are passages of the reference of the Python
language, each another, so no text is sent twice except as the history of its conversation. Calls of the Anthropic SDK
go over a transport that answers from memory. Times are processor time of the calling thread.

| added by monitoring, us | content | smaller | larger | ratio |
|---|---|---:|---:|---:|
{growth}

| longest gap of the event loop, ms of processor time | plain | `none` | `masked` |
|---|---:|---:|---:|
{gaps}

- *known messages*: an earlier call has sent all but the last one; smaller is 10 of them, larger 1,000, of 600
  characters.
- *live parts*: smaller is 200 open conversations of ten messages, larger 2,000. Each holds an e-mail address.
- *a chunk*: of an answer with 1,000 chunks, and with 30,000.
- *the gap* is the longest time between two turns of a task that only yields, while the calls are made on the same loop.
"""


def main() -> None:
    """Measures and prints, or writes the page."""
    rows: dict[str, dict[str, float]] = {name: {} for name in NAMES}
    for _ in range(ROUNDS):
        for name, best in rows.items():
            for row, value in measured(name).items():
                best[row] = min(value, best.get(row, value))
    growth = [
        f"| {what} | `{name}` | {small:,.0f} | {large:,.0f} | {large / small:.2f} |"
        for what, few, many in _PAIRS
        for name in NAMES[1:]
        for small, large in [(rows[name][few] - rows["plain"][few], rows[name][many] - rows["plain"][many])]
    ]
    gaps = [f"| {row} | {' | '.join(f'{rows[name][row]:,.1f}' for name in NAMES)} |" for row in _GAPS]
    page = TEXT.format(
        python=platform.python_version(),
        cores=os.cpu_count(),
        rounds=ROUNDS,
        growth="\n".join(growth),
        gaps="\n".join(gaps),
    )
    print(page)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page, "utf-8")


def measured(name: str) -> dict[str, float]:
    """Returns the rows of one process."""
    done = subprocess.run([sys.executable, str(PROGRAM), name], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
