"""Writes the coverage table of `docs/reference/coverage.md`: what the tests show, a line a case and a column a version.

usage: python tests/capture/coverage.py NAME=CASES.json ...

Each file is what `pytest tests/capture --cases FILE` wrote with the SDKs that NAME stands for.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "coverage.md"
VERSIONS = {
    "current": "anthropic 2, openai 3",
    "sdk-previous": "anthropic 1, openai 2",
    "sdk-older": "anthropic 0, openai 1",
    "sdk-others": "other SDKs",
}
"""The environments, by the name of their requirements, and what they hold."""

_HEAD = """# What is covered

Generated from the tests by `tests/capture/coverage.py`. Each line is a test that runs the real SDK against a loopback
server, or real MCP processes. A tick means that the case passes with these versions: exactly one span a call, with the
facts and the ending that the case is about. An empty field means that the SDK of this version has no such method.
"""


def outcomes(file: Path) -> dict[str, bool]:
    """Which cases of one run passed, by title."""
    found: dict[str, bool] = json.loads(file.read_text("utf-8"))
    return found


def page(runs: dict[str, dict[str, bool]]) -> str:
    """The page, from the outcomes of each run by its name."""
    sections: dict[str, set[str]] = defaultdict(set)
    for run in runs.values():
        for title in run:
            section, _, _ = title.partition(": ")
            sections[section if ": " in title else "Hooks and properties"].add(title)
    out = [_HEAD]
    for section in sorted(sections):
        columns = [name for name in VERSIONS if any(title in runs.get(name, {}) for title in sections[section])]
        if len(columns) == 1:  # of other SDKs there is one environment, which the titles themselves name
            out += [f"## {section}", "", "| case | |", "|---|---|"]
        else:
            out += [f"## {section}", "", f"| case | {' | '.join(VERSIONS[name] for name in columns)} |"]
            out.append("|---|" + "---|" * len(columns))
        for title in sorted(sections[section]):
            marks = [{True: "✓", False: "fails", None: ""}[runs[name].get(title)] for name in columns]
            name = title.removeprefix(f"{section}: ")
            out.append(f"| {name} | {' | '.join(marks)} |")
        out.append("")
    return "\n".join(out)


def main(arguments: list[str]) -> None:
    """Reads the files and writes the page."""
    runs = {name: outcomes(Path(file)) for name, _, file in (argument.partition("=") for argument in arguments)}
    PAGE.write_text(page(runs), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
