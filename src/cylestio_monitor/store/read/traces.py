"""Traces as they are read from the store: one as a tree of its spans, and those of the last program that ran."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.read.findings import findings_of, opened
from cylestio_monitor.store.read.lists import VALUES
from cylestio_monitor.store.read.pages import MOST, read_page
from cylestio_monitor.store.read.values import decoded
from cylestio_monitor.store.sqlite import content, keys

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.read.queries import Row
    from cylestio_monitor.store.sqlite.records import ValueOrigin


_SEALED = "the words around the findings are encrypted, and their key was not given"


@dataclass(slots=True)
class SpanNode:
    """One span of a trace with the spans below it.

    Attributes:
        span: The row of the `spans` view; `attributes`, `events`, `links` and `resource` decoded, and the content
            attributes among the attributes.
        findings: Its rows of `findings`.
        values: The untrusted values that it passed on, with the span that said each first.
        children: By start.
    """

    span: Row
    findings: list[FindingRow]
    values: list[ValueOrigin] = field(default_factory=list)
    children: list[SpanNode] = field(default_factory=list)


def trace(connection: sqlite3.Connection, trace_id: str, path: Path | None = None) -> list[SpanNode]:
    """One trace as trees, the roots by start; a span whose parent is not in the store is a root.

    Args:
        connection: From `connect`.
        trace_id: 32 hexadecimal digits, or enough of the first ones to be the only such trace.
        path: The database, where encrypted content shall be opened with the key of the environment.

    Raises:
        StoreError: Several traces begin with these digits.
    """
    prefix = trace_id.lower()
    found = connection.execute(
        "SELECT DISTINCT trace_id FROM run WHERE trace_id >= ? AND trace_id < ? LIMIT 2", (prefix, prefix + "g")
    ).fetchall()
    if len(found) > 1:
        raise StoreError(f"several traces begin with {trace_id}")
    if not found:
        return []
    cipher = keys.cipher_of(path)
    nodes: dict[str, SpanNode] = {}
    for row in connection.execute("SELECT * FROM spans WHERE trace_id = ? ORDER BY start_ns, id", (found[0][0],)):
        nodes[row["span_id"]] = SpanNode(span(row, cipher), [])
    _add_findings(nodes, findings_of(connection, found[0][0]), path)
    _add_values(nodes, connection, {"trace_id": found[0][0]})
    roots: list[SpanNode] = []
    for node in nodes.values():
        parent = nodes.get(node.span["parent_span_id"] or "")
        (roots if parent is None or parent is node else parent.children).append(node)
    return _without_circles(roots, nodes)


def _without_circles(roots: list[SpanNode], nodes: Mapping[str, SpanNode]) -> list[SpanNode]:
    """The roots, and one for each circle: spans from elsewhere may name each other as their parents."""
    reached: set[str] = set()
    waiting = list(roots)
    for first in nodes.values():
        while waiting:
            node = waiting.pop()
            reached.add(node.span["span_id"])
            waiting += node.children
        if first.span["span_id"] not in reached:
            nodes[first.span["parent_span_id"]].children.remove(first)
            roots.append(first)
            waiting.append(first)
    return roots


def span(row: sqlite3.Row, cipher: keys.Cipher | None = None) -> Row:
    """A row of the `spans` view with its JSON decoded and its content among the attributes."""
    columns = dict(row)
    for name in ("attributes", "events", "links", "resource"):
        columns[name] = decoded(columns[name], {} if name in {"attributes", "resource"} else [])
    try:
        columns["attributes"].update(content.unpack(columns.pop("content"), cipher))
    except StoreError as error:
        columns["content_error"] = str(error)
    return columns


def flattened(roots: Sequence[SpanNode]) -> Iterator[SpanNode]:
    """The spans of a trace, each after its parent.

    Args:
        roots: From `trace`.
    """
    waiting = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.children)


def spans_with_content(connection: sqlite3.Connection, trace_id: str, path: Path | None = None) -> Iterator[Row]:
    """The spans of a trace whose messages, arguments or results were recorded, by start.

    Args:
        connection: From `connect`.
        trace_id: 32 hexadecimal digits.
        path: The database, where encrypted content shall be opened with the key of the environment.
    """
    cipher = keys.cipher_of(path)
    query = "SELECT * FROM spans WHERE trace_id = ? AND content IS NOT NULL ORDER BY start_ns, id"
    for row in connection.execute(query, (trace_id,)):
        yield span(row, cipher)


def count_with_content(connection: sqlite3.Connection, trace_id: str) -> int:
    """The number of spans that `spans_with_content` reads."""
    query = "SELECT count(*) FROM spans WHERE trace_id = ? AND content IS NOT NULL"
    return int(connection.execute(query, (trace_id,)).fetchone()[0])


def one_span(connection: sqlite3.Connection, trace_id: str, span_id: str, path: Path | None = None) -> SpanNode | None:
    """One span with its findings and values and without the spans below it; `None` where there is none.

    Args:
        connection: From `connect`.
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        path: The database, where encrypted content shall be opened with the key of the environment.
    """
    query = "SELECT * FROM spans WHERE trace_id = ? AND span_id = ?"
    row = connection.execute(query, (trace_id, span_id)).fetchone()
    if row is None:
        return None
    node = SpanNode(span(row, keys.cipher_of(path)), [])
    _add_findings({span_id: node}, findings_of(connection, trace_id, span_id=span_id), path)
    _add_values({span_id: node}, connection, {"trace_id": trace_id, "span_id": span_id})
    return node


def _add_findings(nodes: Mapping[str, SpanNode], findings: Sequence[FindingRow], path: Path | None) -> None:
    """Adds findings to their spans, the words around them opened; where that fails, the span says so."""
    shown = findings if path is None else opened(findings, path)
    for stored, finding in zip(findings, shown, strict=True):
        node = nodes.get(finding.span_id)
        if node is not None:
            node.findings.append(finding)
            if stored.excerpt and not finding.excerpt:
                node.span.setdefault("content_error", _SEALED)


def _add_values(nodes: Mapping[str, SpanNode], connection: sqlite3.Connection, filters: Mapping[str, str]) -> None:
    """Adds the untrusted values of a trace, or of one of its spans, to their spans."""
    values: list[ValueOrigin] = read_page(connection, VALUES, filters, limit=MOST).rows
    for value in reversed(values):  # the newest come first
        if value.span_id in nodes:
            nodes[value.span_id].values.append(value)


def latest_run(connection: sqlite3.Connection, *, limit: int = 50) -> list[str]:
    """Ids of the traces of the process whose span came last, the oldest first.

    A program without a span of its own around its calls makes a trace of each call: what belongs together then is what
    one process did. Its resource says so, by `service.instance.id`.

    Args:
        connection: From `connect`.
        limit: Most traces; of more, the newest.
    """
    newest: dict[str, None] = {}
    for row in connection.execute(
        """
        SELECT trace_id FROM span WHERE source IN (
            SELECT id FROM shared WHERE json_extract(body, '$.resource') = (
                SELECT json_extract(body, '$.resource') FROM shared
                WHERE id = (SELECT source FROM span ORDER BY id DESC LIMIT 1)))
        ORDER BY id DESC LIMIT ?
        """,
        (MOST,),
    ):
        newest[row["trace_id"]] = None
        if len(newest) >= limit:
            break
    return list(reversed(newest))
