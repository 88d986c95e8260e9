"""`cylestio show`: one span with its content, its findings and the origin of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE, Context
from cylestio_monitor.cli.reading import conversation
from cylestio_monitor.cli.reading.trace import span_document
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.read import lists, traces
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    import sqlite3

    from rich.console import Console

    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.sqlite.records import ValueOrigin

_FIELDS = (
    *("trace_id", "span_id", "parent_span_id", "service_name", "agent_id", "session_id", "provider", "model", "tool"),
    *("status", "status_message", "action", "alert"),
)


@click.command()
@click.argument("span_id", metavar="SPAN")
@options.json_document
@click.pass_obj
def show(obj: Context, span_id: str, *, as_json: bool) -> int:
    """Show one span: prompt, answer, arguments, result, and the findings marked in the text.

    SPAN is a span id or the first digits of one; `cylestio trace` and `cylestio search` print them. Where no content
    was recorded, the words around each finding are shown: see the setting `content`. Exit code 1 if there is no such
    span.

    \b
    Example: cylestio show 3f9a2c81d4e5b607
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    with obj.store() as connection:
        place = _find(connection, span_id)
        node = traces.one_span(connection, *place, obj.database) if place else None
        if node is None:
            is_trace = bool(lists.traces_beginning(connection, span_id.lower()))
            output.hint(f"{span_id} is a trace: cylestio trace {span_id}" if is_trace else f"no span {span_id}")
            return NEGATIVE
    if as_json:
        output.as_json(span_document(node))
        return 0
    console = output.console()
    _print_head(console, node.span)
    parts = conversation.blocks(node.span["attributes"]) or conversation.around(node.findings)
    if parts:
        output.say("")
        conversation.show(console, parts, obj.scanner())
    else:
        output.say("")
        output.say(node.span.get("content_error") or "no content was recorded: see the setting `content`")
    _print_findings(console, node.findings)
    _print_origins(console, node.values)
    return 0


def _find(connection: sqlite3.Connection, span_id: str) -> tuple[str, str] | None:
    """Returns trace and span id of the only span that begins with these digits.

    Raises:
        StoreError: Several spans begin with them.
    """
    prefix = span_id.lower()
    rows = connection.execute(
        "SELECT trace_id, span_id FROM spans WHERE span_id >= ? AND span_id < ? LIMIT 2", (prefix, prefix + "g")
    ).fetchall()
    if len(rows) > 1:
        raise StoreError(f"several spans begin with {span_id}")
    return (rows[0]["trace_id"], rows[0]["span_id"]) if rows else None


def _print_head(console: Console, span: dict[str, Any]) -> None:
    console.print(output.cell(span["name"], "bold"))
    values = [(name.removesuffix("_id").replace("_", " "), span.get(name)) for name in _FIELDS]
    values.append(("start (UTC)", timestamp(span["start_ns"])))
    values.append(("duration", f"{(span['end_ns'] - span['start_ns']) / 1e6:,.1f} ms"))
    if span["input_tokens"] is not None or span["output_tokens"] is not None:
        values.append(("tokens", f"{span['input_tokens'] or 0:,} in, {span['output_tokens'] or 0:,} out"))
    console.print(output.table(("", ""), ((name, value) for name, value in values if value not in {None, "", "unset"})))


def _print_findings(console: Console, findings: list[FindingRow]) -> None:
    if not findings:
        return
    output.say("")
    columns = (("finding", 0), ("severity", 0), ("place", 1), ("taxonomy", 2))
    rows = (
        (
            one.rule_id,
            output.level(one.severity),
            f"{one.path} {one.start}-{one.end}",
            " ".join((*one.owasp, *one.atlas)),
        )
        for one in findings
    )
    console.print(output.fitted(columns, rows))


def _print_origins(console: Console, origins: list[ValueOrigin]) -> None:
    if not origins:
        return
    output.say("")
    columns = (("value in", 0), ("kind", 1), ("first said by", 0), ("shape", 1), ("span", 2))
    rows = ((one.argument, one.kind, one.origin, one.shape, one.source_span_id) for one in origins)
    console.print(output.fitted(columns, rows))
