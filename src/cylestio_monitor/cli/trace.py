"""`cylestio trace`: one trace as a tree of its spans, with the findings in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.cli import output
from cylestio_monitor.cli.group import NEGATIVE, Context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.text import Text
    from rich.tree import Tree

MAX_DEPTH = 100
"""Deepest nesting that is drawn; what lies deeper is drawn at that depth."""


@click.command()
@click.argument("trace_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_obj
def trace(obj: Context, trace_id: str | None, *, as_json: bool) -> int:
    """Show a trace as a tree of spans, each with its findings.

    ID is a trace id, or the first digits of one, or a session id; without it, the latest trace is shown.
    Exit code 1 if there is no such trace.
    """
    with obj.store() as store:
        spans = store.trace(trace_id)
    if not spans:
        output.hint(f"no trace {trace_id}" if trace_id else "no trace yet")
        return NEGATIVE
    if as_json:
        output.as_json({"trace_id": spans[0]["trace_id"], "spans": spans})
        return 0
    console = output.console()
    for tree in forest(spans):
        console.print(tree)
    return 0


def forest(spans: Sequence[Mapping[str, Any]]) -> list[Tree]:
    """One tree for each span whose parent is not here; children in the order they began.

    A parent that is its own descendant, as a hostile or broken sender may write it, makes its first span a root.
    """
    children: dict[str, list[Mapping[str, Any]]] = {}
    known = {span["span_id"] for span in spans}
    ordered = sorted(spans, key=lambda span: (span["start_ns"], span["span_id"]))
    roots = [span for span in ordered if span["parent_span_id"] not in known]
    for span in ordered:
        children.setdefault(span["parent_span_id"], []).append(span)
    drawn: set[str] = set()
    trees = [_draw(span, children, drawn) for span in roots]
    trees += [_draw(span, children, drawn) for span in ordered if span["span_id"] not in drawn]
    return trees


def _draw(root: Mapping[str, Any], children: Mapping[str, Sequence[Mapping[str, Any]]], drawn: set[str]) -> Tree:
    from rich.tree import Tree  # noqa: PLC0415 -- a JSON answer does not need it

    top = Tree(_span_line(root), guide_style="dim")
    waiting = [(root, top, 0)]
    drawn.add(root["span_id"])
    while waiting:
        span, node, depth = waiting.pop()
        for finding in span["findings"]:
            node.add(_finding_line(finding))
        for child in children.get(span["span_id"], ()):
            if child["span_id"] not in drawn:
                drawn.add(child["span_id"])
                branch = node.add(_span_line(child)) if depth < MAX_DEPTH else top.add(_span_line(child))
                waiting.append((child, branch, depth + 1))
    return top


def _span_line(span: Mapping[str, Any]) -> Text:
    """Name, duration, tokens, and what stands out: an error, a refusal."""
    line = output.cell(span["name"], "bold")
    line.append(f"  {(span['end_ns'] - span['start_ns']) / 1e6:,.0f} ms", "dim")
    if span["input_tokens"] is not None or span["output_tokens"] is not None:
        line.append(f"  {span['input_tokens'] or 0:,} → {span['output_tokens'] or 0:,} tokens", "dim")
    if span["action"] == "block":
        line.append("  blocked", "bold red")
    elif span["status"] == "error":
        line.append("  error ", "red").append_text(
            output.cell(span["status_message"] or span["error_type"], "red", 120)
        )
    return line


def _finding_line(finding: Mapping[str, Any]) -> Text:
    line = output.cell("● ", output.STYLES.get(finding["severity"], ""))
    line.append_text(output.level(finding["severity"]))
    line.append("  ").append_text(output.cell(finding["rule_id"]))
    line.append("  ").append_text(output.cell(f"{finding['path'] or finding['target']}", "dim"))
    line.append_text(output.cell(f" {finding['start']}-{finding['end']}", "dim"))
    if tags := (*finding["owasp"], *finding["atlas"]):
        line.append("  ").append_text(output.cell(" ".join(tags), "dim"))
    return line
