"""What this and other instrumentations of the same SDKs add to a call, measured alike in one run.

`make bench-peers` makes an environment with the other packages (`requirements/peers.in`) outside the checkout, runs
each instrumentation there in processes of its own (`call_costs.py`), and writes `docs/explanation/cost-of-others.md`.
All have message content switched on, and write to a batch processor whose exporter does nothing; this one scans as
well. Each figure is the difference to the same calls without any instrumentation.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from call_costs import CONTENT, NONE, OWN, PEERS, TESTS, in_turns

sys.path.insert(0, str(TESTS))
from peers.environment import environment, run

PAGE = TESTS.parent / "docs" / "explanation" / "cost-of-others.md"
TEXT = """# What others cost

<!-- Written by tests/benchmarks/bench_peers.py: measure again, do not edit. -->

What each instrumentation adds to the same calls of the same SDKs, from one run with Python {python}. All have message
content switched on and write to a batch processor whose exporter does nothing; Cylestio Monitor scans both sides, too.
Each call has another passage of real text (the reference of the Python language).
Times are processor time of the calling thread over a transport that answers from memory: the median call of the fastest
of nine processes, which took turns with those of the others. Compare the columns, the machine decides the figures.

{table}

*Import and instrument* is what a process pays beyond the OpenTelemetry SDK and its instrumentor base, before it makes a
call. Some instrumentations import the SDK then, which the application would do a little later anyway.

The packages:

{packages}
"""


def main() -> None:
    """Measures every instrumentation and prints the table."""
    python = environment("peers")
    program = TESTS / "benchmarks" / "call_costs.py"

    def costs(name: str) -> dict[str, float]:
        return {row: micros for row, micros in run(python, program, name, **CONTENT).items() if row != "stderr"}

    found = in_turns(costs, (NONE, *PEERS, OWN))
    plain = found.pop(NONE)
    added = {name: {row: micros - plain[row] for row, micros in rows.items()} for name, rows in found.items()}
    lines = [f"| added | {' | '.join(added)} |", "|---|" + "---:|" * len(added)]
    for row in plain:
        cells = ["-" if (value := rows.get(row)) is None else f"{value:,.1f}" for rows in added.values()]
        lines.append(f"| {row}, us | {' | '.join(cells)} |")
    starts = [f"{start(python, name):,.1f}" if name in PEERS else "-" for name in added]
    lines.append(f"| import and instrument both SDKs, ms | {' | '.join(starts)} |")
    table = "\n".join(lines)
    print(table)
    versions = (TESTS.parent / "requirements" / "peers.in").read_text("utf-8").splitlines()
    packages = "\n".join(f"- `{line}`" for line in versions if "==" in line and "lang" not in line)
    PAGE.write_text(TEXT.format(table=table, packages=packages, python=platform.python_version()), "utf-8")


def start(python: Path, name: str) -> float:
    """Milliseconds of processor time that importing and instrumenting both SDKs adds; neither SDK is imported by it."""
    base = (
        "import time, opentelemetry.instrumentation.instrumentor; from opentelemetry import trace; "
        "from opentelemetry.sdk.trace import TracerProvider; p = TracerProvider(); trace.set_tracer_provider(p)"
    )
    hooks = "; ".join(
        f"import {module}; {module}.{sdk}Instrumentor().instrument(tracer_provider=p, skip_dep_check=True)"
        for module, sdk in zip(PEERS[name], ("Anthropic", "OpenAI"), strict=True)
    )

    def seconds(statement: str) -> float:
        code = f"{statement}; print(time.process_time())"
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment = {**inherited, "PYTHONPATH": str(TESTS.parent / "src"), **CONTENT}
        done = subprocess.run(
            [python, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        return float(done.stdout.split()[-1])

    seconds(f"{base}; {hooks}")  # byte code is written by a first start
    pairs = [(seconds(base), seconds(f"{base}; {hooks}")) for _ in range(7)]
    plain, hooked = (min(column) for column in zip(*pairs, strict=True))
    return (hooked - plain) * 1e3


if __name__ == "__main__":
    main()
