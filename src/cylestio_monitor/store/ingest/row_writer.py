"""Inserts rows inside one transaction: each with its seal, its entry in the audit trail and its share of the totals."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.store.ingest.rollup import RollUp, Runs
from cylestio_monitor.store.sqlite import database
from cylestio_monitor.store.sqlite.counters import INSERT_OUTBOX
from cylestio_monitor.store.sqlite.rows import (
    EVENT_COLUMNS,
    FINDING_COLUMNS,
    SPAN_COLUMNS,
    EncodedSpan,
    EventRecord,
    FindingRecord,
    digest,
    event_record,
    seal_record,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from cylestio_monitor.store.audit.chain import Chain
    from cylestio_monitor.store.ingest.grouping import FindingGroups
    from cylestio_monitor.store.sqlite.records import Record

_INTO_SPAN: Final = f"INSERT INTO span (id, source, common, {SPAN_COLUMNS}, seq, checksum, run)"
_MOST_SHARED: Final = 4096


def _insert(table: str, columns: str, last: str, conflict: str = "") -> str:
    marks = ", ".join("?" * (columns.count(",") + 4))
    return f"INSERT {conflict} INTO {table} ({columns}, seq, checksum, {last}) VALUES ({marks})"  # noqa: S608 -- constants


_INSERT_FINDING: Final = _insert("findings", FINDING_COLUMNS, "run", "OR IGNORE")
_INSERT_EVENT: Final = _insert("event", EVENT_COLUMNS, "source")


class SharedBodies:
    """The entries of `shared` that this process has used lately: id and digest by body."""

    def __init__(self) -> None:
        """Knows no entry."""
        self._known: dict[bytes, tuple[int, bytes]] = {}

    def forget(self) -> None:
        """Drops all known entries, after a rollback or for another file."""
        self._known.clear()

    def get(self, connection: sqlite3.Connection, body: bytes) -> tuple[int, bytes]:
        """Returns id and digest of an entry, which is added where it is new."""
        known = self._known.get(body)
        if known is None:
            key = digest(body)
            connection.execute("INSERT OR IGNORE INTO shared (digest, body) VALUES (?, ?)", (key, body.decode()))
            number = connection.execute("SELECT id FROM shared WHERE digest = ?", (key,)).fetchone()[0]
            if len(self._known) >= _MOST_SHARED:
                self._known.clear()
            known = self._known[body] = (number, key)
        return known


class RecordWriter:
    """The records and events of one transaction; `finish` completes it, the caller commits."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        chain: Chain,
        *,
        runs: Runs | None = None,
        shared: SharedBodies | None = None,
        forward: frozenset[str] = frozenset(),
        process: str = "",
    ) -> None:
        """Begins at the end of the audit trail.

        Args:
            connection: With an open transaction that holds the write lock.
            chain: The audit trail.
            runs: The runs that this process knows.
            shared: The entries of `shared` that this process knows.
            forward: Signals whose rows enter the outbox.
            process: This process, for calls that have not ended.
        """
        self.connection = connection
        self._trail = chain.begin(connection)
        self._rollup = RollUp(runs or Runs())
        self._shared = shared or SharedBodies()
        self._forward = forward
        self._process = process
        self._runs: dict[str, int] = {}

    def store_event(self, record: EventRecord, source: bytes | None = None) -> int:
        """Inserts an event and returns its id.

        Args:
            record: The row.
            source: JSON of resource and scope.
        """
        number = None if source is None else self._shared.get(self.connection, source)[0]
        checksum, leaf = seal_record(record)
        values = (*msgspec.structs.astuple(record), self._trail.next_seq, checksum, number)
        ref = self.connection.execute(_INSERT_EVENT, values).lastrowid or 0
        self._trail.add("event", ref, leaf)
        self._rollup.add_event(record, _alert(record.data))
        if "logs" in self._forward:
            self.connection.execute(INSERT_OUTBOX, ("logs", ref))
        return ref

    def prepare_records(self, records: Iterable[Record]) -> None:
        """Finds or creates the runs of the records that `store_record` will insert; called once."""
        for record in records:
            self._rollup.touch_run(record.trace_id, record.begin_ns)
        self._runs = self._rollup.write_runs(self.connection)

    def store_record(self, record: Record, source: bytes | None = None) -> None:
        """Inserts a record and, where it needs one, its event; `prepare_records` or `prepare` must know it."""
        values = msgspec.structs.asdict(record)
        values["run"] = self._runs[record.trace_id]
        if "process" in values:
            values["process"] = self._process
            values["is_forwarded"] = "traces" in self._forward
            values["source"] = None if source is None else self._shared.get(self.connection, source)[0]
            if self._has_span(record):
                return
        self.connection.execute(_record_statement(type(record), tuple(values)), tuple(values.values()))
        event = record.event()
        if event is not None:
            self.store_event(event_record(event), source)

    def finish(self) -> None:
        """Writes totals and the entries of the audit trail."""
        self._rollup.write(self.connection)
        self._trail.finish()

    def _has_span(self, record: Record) -> bool:
        query = "SELECT 1 FROM span WHERE run = ? AND span_id = ?"
        return self.connection.execute(query, (self._runs[record.trace_id], record.span_id)).fetchone() is not None


class RowWriter(RecordWriter):
    """All inserts of one transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        chain: Chain,
        *,
        groups: FindingGroups,
        runs: Runs,
        shared: SharedBodies,
        forward: frozenset[str],
        process: str,
    ) -> None:
        """Begins at the end of the audit trail.

        Args:
            connection: With an open transaction that holds the write lock.
            chain: The audit trail.
            groups: Assigns findings to groups, with the key of this store.
            runs: The runs that this process knows.
            shared: The entries of `shared` that this process knows.
            forward: Signals whose rows enter the outbox.
            process: This process, for calls that have not ended.
        """
        super().__init__(connection, chain, runs=runs, shared=shared, forward=forward, process=process)
        self._groups = groups

    def prepare(
        self, spans: Iterable[EncodedSpan], findings: Iterable[tuple[FindingRecord, int]], records: Iterable[Record]
    ) -> None:
        """Counts spans and finds or creates the runs of everything that this transaction will insert; called once.

        Args:
            spans: The spans, which `store_spans` will insert.
            findings: The findings with their times, which `store_findings` will insert.
            records: The records, which `store_record` will insert.
        """
        flagged: list[FindingRecord] = []
        for finding, time_ns in findings:
            self._rollup.touch_run(finding.trace_id, time_ns)
            flagged.append(finding)
        for span in spans:
            self._rollup.add_span(span)
            flagged += span.findings
        if flagged:
            self._groups.assign(self.connection, flagged)
        self.prepare_records(records)

    def store_spans(self, spans: Sequence[EncodedSpan]) -> list[int]:
        """Inserts spans with their findings; `prepare` must know them.

        Returns:
            Their ids.

        Raises:
            sqlite3.IntegrityError: One of them is in the store already; see `unknown`.
        """
        first = self.connection.execute("SELECT coalesce(max(id), 0) + 1 FROM span").fetchone()[0]
        rows = []
        for ref, span in enumerate(spans, first):
            record = span.record
            source, source_digest = self._shared.get(self.connection, span.source)
            common, common_digest = self._shared.get(self.connection, span.common)
            checksum, leaf = seal_record(record, source_digest, common_digest)
            seq = None
            if record.event_type is not None or record.severity_number or record.alert != "none":
                seq = self._trail.next_seq
                self._trail.add("span", ref, leaf)
            run = self._runs[record.trace_id]
            rows.append((ref, source, common, *msgspec.structs.astuple(record), seq, checksum, run))
            if span.findings:
                self.store_findings(span.findings, record.end_ns)
        database.insert(self.connection, _INTO_SPAN, rows)
        self._close_calls(spans)
        refs = [row[0] for row in rows]
        if "traces" in self._forward:
            exported = [("traces", ref) for ref, span in zip(refs, spans, strict=True) if span.is_exported]
            database.insert(self.connection, "INSERT OR IGNORE INTO outbox (signal, ref)", exported)
        return refs

    def unknown(self, spans: Sequence[EncodedSpan]) -> list[EncodedSpan]:
        """Returns the spans that the store does not have, each once, in their order."""
        query = "SELECT 1 FROM run JOIN span ON span.run = run.id WHERE run.trace_id = ? AND span.span_id = ?"
        first: dict[tuple[str, str], EncodedSpan] = {}
        for span in spans:
            first.setdefault((span.record.trace_id, span.record.span_id), span)
        return [span for key, span in first.items() if self.connection.execute(query, key).fetchone() is None]

    def store_findings(self, findings: Iterable[FindingRecord], time_ns: int) -> None:
        """Inserts findings; those that are known are left alone."""
        for finding in findings:
            checksum, leaf = seal_record(finding)
            run = self._runs[finding.trace_id]
            values = (*msgspec.structs.astuple(finding), self._trail.next_seq, checksum, run)
            cursor = self.connection.execute(_INSERT_FINDING, values)
            if cursor.rowcount:
                self._trail.add("finding", cursor.lastrowid or 0, leaf)
                self._rollup.add_finding(finding, time_ns, run, self._groups.origin(finding))

    def _close_calls(self, spans: Sequence[EncodedSpan]) -> None:
        """Removes the rows of calls whose spans have come."""
        if self.connection.execute("SELECT 1 FROM open_call LIMIT 1").fetchone() is not None:
            for span in spans:
                run = self._runs[span.record.trace_id]
                values = (run, span.record.span_id)
                self.connection.execute("DELETE FROM open_call WHERE run = ? AND span_id = ?", values)


@cache
def _record_statement(record: type[Record], names: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {record.table} ({', '.join(names)}) VALUES ({marks}) {record.conflict}"  # noqa: S608 -- names of columns


def _alert(data: str) -> str:
    """Returns the alert of a logged event, where the application gave one."""
    if '"alert"' not in data:
        return ""
    try:
        alert: Any = msgspec.json.decode(data, type=dict[str, Any]).get("alert")
    except msgspec.MsgspecError:
        return ""
    return alert if isinstance(alert, str) else ""
