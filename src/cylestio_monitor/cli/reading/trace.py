"""`cylestio trace`: one trace as a tree of its spans, with the findings in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE, Context
from cylestio_monitor.cli.reading import conversation
from cylestio_monitor.store.read import traces

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.text import Text
    from rich.tree import Tree

    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.sqlite.records import ValueOrigin

MAX_DEPTH = 12
"""Deepest nesting that is drawn; what lies deeper is drawn below the root."""


@click.command()
@click.argument("trace_id", metavar="[ID]", required=False)
@click.option(
    "--content",
    is_flag=True,
    help="Also show what was recorded: messages, arguments and results, or the words around each finding.",
)
@options.json_document
@click.pass_obj
def trace(obj: Context, trace_id: str | None, *, content: bool, as_json: bool) -> int:
    """Show a trace as a tree of spans, each with its findings.

    ID is a trace id or the first digits of one. Without it, the traces of the program that ran last are shown, the
    newest 50: a program without a span around its calls makes a trace of each. Each line ends with the first digits of
    the span's id, for `cylestio show`. Exit code 1 if there is no such trace.

    \b
    Example: cylestio trace 333740bfbeb7 --content
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    with obj.store() as connection:
        wanted = [trace_id] if trace_id else traces.latest_run(connection)
        found = [roots for one in wanted if (roots := traces.trace(connection, one, obj.database))]
    if not found:
        output.hint(f"no trace {trace_id}" if trace_id else "no trace yet")
        return NEGATIVE
    if as_json:
        output.as_json({"traces": [_document(roots) for roots in found]})
        return 0
    for roots in found:
        show(roots)
        if content:
            _show_content(roots, obj.scanner())
    return 0


def _show_content(roots: list[traces.SpanNode], scanner: Scanner) -> None:
    """Prints the recorded content of every span, in the order of the tree."""
    console = output.console()
    for node in traces.flattened(roots):
        if parts := conversation.blocks(node.span["attributes"]) or conversation.around(node.findings):
            output.say("")
            console.print(output.cell(f"{node.span['name']}  {node.span['span_id']}", "bold"))
            conversation.show(console, parts, scanner, indent="  ")
        elif error := node.span.get("content_error"):
            output.say(f"{node.span['name']}  {node.span['span_id']}: {error}")


def show(roots: list[traces.SpanNode]) -> None:
    """Prints a trace as trees."""
    console = output.console()
    names = {node.span["span_id"]: node.span["name"] for node in traces.flattened(roots)}
    for root in roots:
        console.print(_tree(root, names))


def _document(roots: list[traces.SpanNode]) -> dict[str, Any]:
    """A trace as a flat list of its spans, each after its parent: nesting would be as deep as a stranger likes."""
    return {"trace_id": roots[0].span["trace_id"], "spans": [span_document(node) for node in traces.flattened(roots)]}


def span_document(node: traces.SpanNode) -> dict[str, Any]:
    """A span with its findings and values, without the spans below it, as JSON shows it."""
    findings = [msgspec.structs.asdict(one) for one in node.findings]
    return {**node.span, "findings": findings, "values": [msgspec.to_builtins(one) for one in node.values]}


def _tree(root: traces.SpanNode, names: Mapping[str, str]) -> Tree:
    from rich.tree import Tree  # noqa: PLC0415 -- a JSON answer does not need it

    first = _span_line(root.span).append(f"  trace {root.span['trace_id'][:12]} span {root.span['span_id'][:8]}", "dim")
    top = Tree(first, guide_style="dim")
    waiting = [(root, top, 0)]
    while waiting:
        node, drawn, depth = waiting.pop()
        for finding in node.findings:
            drawn.add(_finding_line(finding))
        for value in node.values:
            drawn.add(_value_line(value, names))
        for child in node.children:
            line = _span_line(child.span).append(f"  {child.span['span_id'][:8]}", "dim")
            branch = (drawn if depth < MAX_DEPTH else top).add(line)
            waiting.append((child, branch, depth + 1))
    return top


def _span_line(span: Mapping[str, Any]) -> Text:
    """Name, duration, tokens, and what stands out: an error, a refusal."""
    line = output.cell("").append_text(output.cell(span["name"], "bold"))
    line.append(f"  {(span['end_ns'] - span['start_ns']) / 1e6:,.0f} ms", "dim")
    if span["input_tokens"] is not None or span["output_tokens"] is not None:
        line.append(f"  {span['input_tokens'] or 0:,} → {span['output_tokens'] or 0:,} tokens", "dim")
    if span["action"] == "block":
        line.append("  blocked", "bold red")
    elif span["status"] == "error":
        line.append("  error ", "red").append_text(
            output.cell(span["status_message"] or span["attributes"].get(semconv.ERROR_TYPE), "red", 120)
        )
    return line


def _finding_line(finding: FindingRow) -> Text:
    line = output.cell("").append_text(output.cell("● ", output.STYLES.get(finding.severity, "")))
    line.append_text(output.level(f"{finding.severity:<8}"))
    line.append("  ").append_text(output.cell(finding.rule_id))
    line.append("  ").append_text(output.cell(f"{finding.path or finding.target}", "dim"))
    line.append_text(output.cell(f" {finding.start}-{finding.end}", "dim"))
    if tags := (*finding.owasp, *finding.atlas):
        line.append("  ").append_text(output.cell(" ".join(tags), "dim"))
    return line


def _value_line(value: ValueOrigin, names: Mapping[str, str]) -> Text:
    """The argument whose value only an untrusted source had said, and the span in which that was."""
    source = value.source_span_id or ""
    line = output.cell("").append_text(output.cell("← ", "dim")).append_text(output.cell(value.argument or "value"))
    line.append(" first said by ", "dim").append_text(output.cell(names.get(source) or value.origin))
    if source:
        line.append("  ").append_text(output.cell(source, "dim"))
    return line
