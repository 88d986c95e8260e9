"""Writes the tables of docs/how-to/dashboards.md: each panel's question, its query, and the answer of the filled stack.

usage: python tests/e2e/write_dashboards_page.py
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e import filled, programs

PAGE = programs.ROOT / "docs" / "how-to" / "dashboards.md"
MARK = "<!-- written by tests/e2e/write_dashboards_page.py -->\n"
HIDDEN = {"__name__", "job", "instance", "collector_instance_id", "service_instance_id", "service_name_", "owasp"}


def answer(stack: filled.Filled, panel: dict) -> str:
    """What the panel shows after the two sessions of workday.py, in one line."""
    (target,) = panel["targets"]
    if panel["datasource"]["type"] == "jaeger":
        tags = dict(pair.split("=", 1) for pair in shlex.split(target["tags"].replace("$session", "tuesday")))
        traces = stack.jaeger.find("coding-agent", tags)
        return f"{len(traces)} traces, {sum(len(trace['spans']) for trace in traces)} spans"
    if panel["datasource"]["type"] == "tempo":
        return "parsed with Grafana's grammar; Tempo is not run here"
    rows = stack.prometheus.query(target["expr"].replace("$__range", "1h").replace("$service", "support-agent"))
    told = []
    for labels, value in sorted(rows, key=lambda row: -row[1])[:4]:
        names = ", ".join(text for name, text in labels.items() if name not in HIDDEN and text)
        names = names or labels.get("__name__", "")
        told.append(f"{names}: {value:.4g}" if names else f"{value:.4g}")
    return "; ".join(told) + ("; ..." if len(rows) > 4 else "")


def table(stack: filled.Filled, dashboard: dict) -> str:
    """A section of the page."""
    lines = [f"## {dashboard['title'].removeprefix('Cylestio: ').capitalize()}\n"]
    for panel in dashboard["panels"]:
        (target,) = panel["targets"]
        query = target.get("expr") or target.get("query") or f"{target.get('service')}: {target.get('tags')}"
        lines += [f"### {panel['title']}\n", f"{panel['description']}\n", f"```text\n{query}\n```\n"]
        lines.append(f"Answer: {answer(stack, panel)}\n")
    return "\n".join(lines)


def main() -> None:
    """Keeps the page's own words above the mark, and writes what follows anew."""
    with contextlib.ExitStack() as running, tempfile.TemporaryDirectory() as folder:

        def started(program):
            running.callback(program.process.stop)
            return program

        stack = filled.fill(programs.built("collector"), programs.built("jaeger"), Path(folder), started)
        files = sorted((programs.CONFIG / "grafana" / "dashboards").glob("*.json"))
        sections = [table(stack, json.loads(file.read_text("utf-8"))) for file in files]
    head = PAGE.read_text("utf-8").split(MARK)[0]
    PAGE.write_text(head + MARK + "\n" + "\n".join(sections), "utf-8")


if __name__ == "__main__":
    main()
