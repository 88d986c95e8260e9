"""A store whose every text, and in one variant every number, was written by an attacker past all checks."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Final

from cylestio_monitor import semconv
from cylestio_monitor.store import Event
from cylestio_monitor.store.sqlite.records import (
    Approval,
    CallFactsRow,
    Decision,
    RecordedPart,
    ToolVersion,
    ValueOrigin,
)
from web.conftest import browsing

if TYPE_CHECKING:
    from store.filling import Bench

MARKUP: Final = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(4)><style>*{display:none}</style>"
    '"\' style="x" onclick="x" autofocus onfocus=alert(5) <base href=//evil.test><iframe srcdoc="<script>alert(6)">'
)
HIDDEN: Final = "\u202eesrever\u2066\u200b\ufeff\x00\x1b]0;title\x07\x85\u2028\U000e0041"
LINK: Final = "javascript:alert(3) data:text/html,<script>alert(7)</script> //evil.test/x url(//evil.test/y)"
TEMPLATE: Final = "{{7*7777}}{% raw %}${7*7777}"
TEXT: Final = MARKUP + HIDDEN + LINK + TEMPLATE
NO_UNICODE: Final = b"\xed\xa0\x80<script>alert(1)</script>\xff\xfe\xc0\xaf"
"""Half of a surrogate pair and bytes that no text has, which SQLite keeps as text all the same."""

VARIANTS: Final = ("markup", "long", "bytes", "numbers")
_TEXTS: Final = {"markup": TEXT, "long": TEXT + "x" * 200_000, "bytes": TEXT, "numbers": TEXT}
_FAR: Final = 1 << 61

_KEPT: Final = {
    ("run", "trace_id"),
    ("span", "trace_id"),
    ("span", "span_id"),
    ("span", "parent_span_id"),
    ("findings", "group_id"),
    ("findings", "trace_id"),
    ("findings", "span_id"),
    ("incident_item", "kind"),
    ("incident_item", "ref"),
    ("incident_item", "incident"),
    ("note", "subject"),
    ("note", "ref"),
    ("event", "event_type"),
    ("silence", "group_id"),
    ("entity", "kind"),
    ("outbox", "signal"),
    ("meta", "key"),
    ("approval", "state"),
    ("tool_definition", "state"),
    # Rows are read by these times.
    ("findings", "timestamp"),
}
"""Columns that lead to a row; without them no page would show it."""

_OBJECTS: Final = {("span", "attributes"), ("span", "extra"), ("event", "data"), ("call_facts", "facts")}
_ARRAYS: Final = {("span", "events"), ("findings", "owasp"), ("findings", "atlas"), ("part", "masks")}
"""Columns that the store itself encodes as JSON, whatever was seen."""


def fill(bench: Bench, variant: str) -> dict[str, str]:
    """Fills a store so that every table has a row, then overwrites every other column with the attacker's values.

    Args:
        bench: The store.
        variant: One of `VARIANTS`.

    Returns:
        The ids of the rows: ``group``, ``incident``, ``trace``, ``span`` and ``approval``.
    """
    text = _TEXTS[variant]
    ids = _rows(bench, text)
    connection = sqlite3.connect(bench.path)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        if table.startswith(("sqlite_", "search")) or table in {"shared", "checkpoint"}:
            continue
        for column, kind, is_key in _columns(connection, table):
            if (table, column) in _KEPT or column == "id" or (is_key and table == "finding_group"):
                continue
            if kind == "TEXT":
                value, shape = _written(table, column, text, variant)
                connection.execute(f'UPDATE OR IGNORE {table} SET "{column}" = {shape}', (value,))
            elif variant == "numbers" and not is_key and kind in {"INTEGER", "REAL"} and not _is_place(column):
                connection.execute(f'UPDATE OR IGNORE {table} SET "{column}" = ?', ((1 << 63) - 1,))
    connection.commit()
    connection.close()
    return ids


def _rows(bench: Bench, text: str) -> dict[str, str]:
    from web.test_findings import finding

    labels = {semconv.CYLESTIO_AGENT_ID: "a", semconv.CYLESTIO_SESSION_ID: "s", semconv.ENDUSER_ID: "u"}
    with bench.tracer.start_as_current_span("root", attributes=labels) as root:
        context = root.get_span_context()
        place = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
        message = [{"role": "user", "parts": [{"type": "text", "content": text[:20_000]}]}]
        attributes = {
            semconv.OPERATION_NAME: "chat",
            semconv.REQUEST_MODEL: "m",
            semconv.INPUT_MESSAGES: json.dumps(message),
            **labels,
        }
        bench.span("chat", attributes=attributes)
        bench.span(
            "execute_tool", attributes={semconv.OPERATION_NAME: "execute_tool", semconv.TOOL_NAME: "t", **labels}
        )
    bench.store.add_findings(
        context.trace_id, context.span_id, [finding()], tool="t", agent_id="a", session_id="s", user_id="u"
    )
    for record in (
        RecordedPart(**place, attribute="x", pointer="/0", part_id="p", source="user", length=3),
        ValueOrigin(**place, argument="x", kind="k", shape="prose", origin="tool:t", value_hash="v"),
        CallFactsRow(**place, time_ns=1, tool="t", facts="{}"),
        ToolVersion(**place, server="s", name="n", digest="d1", definition="{}", first_ns=1, last_ns=1),
        ToolVersion(**place, server="s", name="n", digest="d2", definition="{}", first_ns=2, last_ns=2),
        Decision(**place, time_ns=1, action="deny", enforced=True, rule="r", policy_version="v", reason="r"),
        Approval(
            **place, id="e" * 32, tool="t", arguments="{}", digest="d", rule="r", policy_version="v", reason="r",
            created_ns=1, expires_ns=_FAR,
        ),
    ):  # fmt: skip
        bench.store.add_record(record)
    bench.store.add_event(Event("a", "note_added", "STORE", "INFO", 1, {"by": text, "reason": text}))
    bench.flush()
    with browsing(bench.path) as browser:
        (group,) = [row["group_id"] for row in bench.rows("SELECT group_id FROM finding_group")]
        browser.post(f"/findings/{group}/note", text="n")
        browser.post(f"/findings/{group}/silence", reason="r")
        incident = browser.post("/incidents", kind="group", ref=group).headers["location"]
        browser.post(f"{incident}/note", text="n")
        browser.post(f"{incident}/change", owner="o")
    found = {"group": group, "incident": incident.rpartition("/")[2], "approval": "e" * 32}
    return {**found, "trace": place["trace_id"], "span": place["span_id"]}


def _columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str, bool]]:
    """Name, type and membership of the primary key of each column."""
    return [(row[1], row[2], bool(row[5])) for row in connection.execute(f"PRAGMA table_info({table})")]


def _is_place(column: str) -> bool:
    return column in {"ref", "seq", "hour", "run", "severity_number"} or column.endswith("_id")


def _written(table: str, column: str, text: str, variant: str) -> tuple[str | bytes, str]:
    """A value and the SQL that writes it."""
    if (table, column) in _OBJECTS:
        return json.dumps({text[:300]: text, "by": text, "reason": text, "name": text}), "?"
    if (table, column) in _ARRAYS:
        return json.dumps([text, text]), "?"
    return (NO_UNICODE, "CAST(? AS TEXT)") if variant == "bytes" else (text, "?")
