"""The records of an incident as JSON: those that the audit trail seals, as it sealed them, and the rows around them.

A sealed record is made from the values that its fingerprint covers. `verify` makes it again from the values in the
evidence and compares: a changed line of `records.jsonl` is found with the public key alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.read.values import decoded
from cylestio_monitor.store.sqlite import content
from cylestio_monitor.store.sqlite.rows import EventRecord, FindingRecord, SpanRecord, digest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from cylestio_monitor.store.read.incidents import Incident

MOST: Final = 20_000

_KINDS: Final[dict[str, type[msgspec.Struct]]] = {"span": SpanRecord, "finding": FindingRecord, "event": EventRecord}
_JSON: Final = frozenset({"attributes", "events", "extra", "owasp", "atlas", "data"})
_IN_RUNS: Final = "run IN (SELECT value FROM json_each(?))"
_SEALED: Final = {
    "span": f"SELECT id FROM span WHERE {_IN_RUNS} AND event_type IS NOT NULL LIMIT ?",  # noqa: S608 -- constants
    "finding": f"SELECT id FROM findings WHERE {_IN_RUNS} LIMIT ?",  # noqa: S608 -- constants
}
_ROWS: Final = ("part", "value_origin", "call_facts", "decision", "approval")
_EVENTS: Final = (
    "SELECT id FROM event WHERE timestamp >= ? AND timestamp <= ? AND trace_id IN (SELECT value FROM json_each(?)) "
    "UNION SELECT id FROM event WHERE event_type IN ('incident_opened', 'incident_changed', 'note_added', "
    "'incident_exported') AND (json_extract(data, '$.id') = ? OR json_extract(data, '$.ref') = ?) LIMIT ?"
)


def sealed(connection: sqlite3.Connection, incident: Incident) -> set[tuple[str, int]]:
    """Returns kind and id of every record of an incident that the audit trail seals."""
    keys = msgspec.json.encode(incident.runs).decode()
    found = {(kind, row[0]) for kind, query in _SEALED.items() for row in connection.execute(query, (keys, MOST))}
    traces = sorted({one.trace_id for one in incident.timeline if one.trace_id})
    first, last = connection.execute(
        "SELECT min(timestamp), max(timestamp) FROM findings WHERE run IN (SELECT value FROM json_each(?))", (keys,)
    ).fetchone()
    values = (first or "", last or "", msgspec.json.encode(traces).decode(), incident.row.id, incident.row.id, MOST)
    found.update(("event", row[0]) for row in connection.execute(_EVENTS, values))
    return found


def record_of(kind: str, ref: int, values: Sequence[Any]) -> dict[str, Any]:
    """Returns a sealed record as JSON.

    Args:
        kind: ``span``, ``finding`` or ``event``.
        ref: Its id.
        values: The values that its fingerprint covers.
    """
    names = _KINDS[kind].__struct_fields__
    record: dict[str, Any] = {"table": kind, "id": ref}
    # The seal of a finding of an earlier version covers fewer columns.
    for name, value in zip(names, [*values, *[None] * len(names)], strict=False):
        if name == "content":
            record |= _content(value)
        else:
            record[name] = decoded(value, value) if name in _JSON and value is not None else value
    return record


def _content(column: bytes | None) -> dict[str, Any]:
    """Returns recorded content; encrypted content stays closed, whoever exports it."""
    try:
        return {"content": content.unpack(column, None)}
    except StoreError as error:
        return {"content": None, "content_error": str(error)}


def lines(
    connection: sqlite3.Connection, incident: Incident, values: Iterator[tuple[str, int, list[Any]]]
) -> Iterator[dict[str, Any]]:
    """Yields the records of an incident.

    Args:
        connection: From `queries.connect`.
        incident: The incident.
        values: The sealed records: kind, id and the values that the fingerprint covers.
    """
    yield {"table": "incident", **msgspec.structs.asdict(incident.row), "items": incident.items}
    for kind, ref, covered in values:
        record = record_of(kind, ref, covered)
        if kind == "span":
            record |= dict(zip(("source", "common"), _shared(connection, ref), strict=True))
        yield record
    keys = msgspec.json.encode(incident.runs).decode()
    for table in _ROWS:
        for row in connection.execute(f"SELECT * FROM {table} WHERE {_IN_RUNS} LIMIT ?", (keys, MOST)):  # noqa: S608 -- constants
            yield {"table": table, **dict(row)}
    for note in incident.notes:
        yield {"table": "note", **msgspec.structs.asdict(note)}


def _shared(connection: sqlite3.Connection, ref: int) -> tuple[str, str]:
    row = connection.execute(
        "SELECT source.body, common.body FROM span LEFT JOIN shared AS source ON source.id = span.source "
        "LEFT JOIN shared AS common ON common.id = span.common WHERE span.id = ?",
        (ref,),
    ).fetchone()
    return row[0], row[1]


def is_as_sealed(record: dict[str, Any], values: Sequence[Any]) -> bool:
    """Returns whether a record is the one that these values make.

    Args:
        record: A line of `records.jsonl`.
        values: The values that the fingerprint of the record covers.
    """
    shown = dict(record)
    kind = shown["table"]
    if kind == "span":
        bodies = [shown.pop(name, None) for name in ("source", "common")]
        if [digest(str(body).encode()) for body in bodies] != list(values[-2:]):
            return False
    made = msgspec.json.decode(msgspec.json.encode(record_of(kind, shown.get("id", 0), values)))
    return bool(made == shown)
