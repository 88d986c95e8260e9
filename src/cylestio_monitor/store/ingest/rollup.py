"""Totals that are kept while rows are written: a row per run, per agent, session, user and tool, and per hour.

A run is the trace as the store sees it. Its integer id is the key of its spans and findings: ids grow with time, so the
indexes over them grow at their end, whereas random trace ids would spread every commit over the whole index. Trace ids
themselves are indexed by shards of 16,384 runs. A trace whose last span came more than four shards ago gets a second
run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.store.ingest.batch import AlikeSpans
from cylestio_monitor.store.sqlite import database, usage
from cylestio_monitor.store.sqlite.rows import FAILED, encode_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from cylestio_monitor.store.ingest.grouping import GroupOrigin
    from cylestio_monitor.store.sqlite.rows import EncodedSpan, EventRecord, FindingRecord

SHARD_BITS: Final = 14
OTHER: Final = "(other)"
"""Takes the place of models and tools of an hour that has too many of them."""

_RECENT_SHARDS: Final = 4
_MOST_RUNS: Final = 16_384
_MOST_KEYS: Final = 1000


class Totals(msgspec.Struct, array_like=True):
    """Counts that are added up; the fields are columns of `run` and `entity`."""

    spans: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    failed: int = 0
    findings: int = 0
    severity_number: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    def add(self, alike: AlikeSpans) -> None:
        """Counts spans that are alike."""
        record, number = alike.first.record, alike.spans
        self.spans += number
        self.model_calls += number * (record.event_type == "llm_call")
        self.tool_calls += number * (record.event_type == "tool_call")
        self.failed += number * (record.status == FAILED)
        self.severity_number = max(self.severity_number, record.severity_number)
        self.input_tokens += alike.input_tokens
        self.output_tokens += alike.output_tokens
        self.cost += alike.cost


class _RunTotals(msgspec.Struct):
    """The amounts a transaction adds to one run."""

    start_ns: int
    end_ns: int
    name: str | None = None
    has_root: int = 0
    service_name: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    totals: Totals = msgspec.field(default_factory=Totals)


class _Entity(msgspec.Struct):
    """The amounts a transaction adds to one agent, session, user or tool."""

    first_ns: int
    last_ns: int
    agent_id: str | None = None
    user_id: str | None = None
    totals: Totals = msgspec.field(default_factory=Totals)


class _Hour(msgspec.Struct, array_like=True):
    """The amounts a transaction adds to one row of `usage`."""

    events: int
    first_ns: int
    last_ns: int
    failed: int = 0
    duration_ns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


_TOTALS: Final = Totals.__struct_fields__
_SUM: Final = ", ".join(
    f"{name} = max({name}, excluded.{name})" if name == "severity_number" else f"{name} = {name} + excluded.{name}"
    for name in _TOTALS
)
_UPDATE_RUN: Final = (
    "UPDATE run SET name = CASE WHEN name IS NULL OR ? > has_root THEN ? ELSE name END, has_root = max(has_root, ?), "  # noqa: S608 -- constants
    "service_name = coalesce(service_name, ?), agent_id = coalesce(agent_id, ?), "
    "session_id = coalesce(session_id, ?), user_id = coalesce(user_id, ?), start_ns = min(start_ns, ?), "
    "end_ns = max(end_ns, ?), "
    + ", ".join(f"{name} = max({name}, ?)" if name == "severity_number" else f"{name} = {name} + ?" for name in _TOTALS)
    + " WHERE id = ? AND trace_id = ?"
)
_INSERT_RUN: Final = (
    "INSERT INTO run (id, shard, trace_id, name, has_root, service_name, agent_id, session_id, user_id, start_ns, "
    f"end_ns, {', '.join(_TOTALS)})"
)
_INSERT_ENTITY: Final = f"INSERT INTO entity (kind, name, first_ns, last_ns, agent_id, user_id, {', '.join(_TOTALS)})"
_ON_ENTITY: Final = (
    "ON CONFLICT (kind, name) DO UPDATE SET first_ns = min(first_ns, excluded.first_ns), "
    "last_ns = max(last_ns, excluded.last_ns), agent_id = coalesce(excluded.agent_id, agent_id), "
    f"user_id = coalesce(excluded.user_id, user_id), {_SUM}"
)
_FOUND_IN_RUN: Final = (
    "UPDATE run SET findings = findings + ?, severity_number = max(severity_number, ?), "
    "agent_id = coalesce(agent_id, ?), session_id = coalesce(session_id, ?), "
    "user_id = coalesce(user_id, ?) WHERE id = ?"
)
_INSERT_USAGE: Final = f"INSERT INTO usage ({usage.KEY}, {', '.join(_Hour.__struct_fields__)})"
_ON_USAGE: Final = (
    f"ON CONFLICT ({usage.KEY}) DO UPDATE SET events = events + excluded.events, "
    "first_ns = min(first_ns, excluded.first_ns), "
    "last_ns = max(last_ns, excluded.last_ns), "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _Hour.__struct_fields__[3:])
)
_INSERT_GROUP: Final = (
    "INSERT INTO finding_group (group_id, rule_id, category, severity_number, source, target, subtype, agent_id, tool, "
    "first_ns, last_ns, findings, state)"
)
_ON_GROUP: Final = (
    "ON CONFLICT (group_id) DO UPDATE SET severity_number = max(severity_number, excluded.severity_number), "
    "last_ns = max(last_ns, excluded.last_ns), findings = findings + excluded.findings, "
    "state = CASE state WHEN 'resolved' THEN 'open' ELSE state END"
)


class Runs:
    """The runs that this process has written lately; keeps their ids between transactions."""

    def __init__(self) -> None:
        """Knows no run."""
        self._ids: dict[str, int] = {}

    def forget(self) -> None:
        """Drops all known ids, after a rollback or for another file."""
        self._ids.clear()

    def write(self, connection: sqlite3.Connection, runs: Mapping[str, _RunTotals]) -> dict[str, int]:
        """Adds to runs, in the caller's transaction.

        Args:
            connection: With an open transaction.
            runs: What to add, by trace id.

        Returns:
            The id of each run by trace id.
        """
        newest = connection.execute("SELECT coalesce(max(id), 0) FROM run").fetchone()[0]
        known = self._known(connection, runs, newest)
        for trace_id, number in list(known.items()):
            run = runs[trace_id]
            name = (run.has_root, run.name, run.has_root)
            labels = (run.service_name, run.agent_id, run.session_id, run.user_id)
            totals = msgspec.structs.astuple(run.totals)
            values = (*name, *labels, run.start_ns, run.end_ns, *totals, number, trace_id)
            changed = connection.execute(_UPDATE_RUN, values).rowcount
            if not changed:  # retention removed the run, and another run may have its id
                del known[trace_id]
        fresh = []
        for number, trace_id in enumerate((one for one in runs if one not in known), newest + 1):
            run = runs[trace_id]
            known[trace_id] = number
            labels = (run.service_name, run.agent_id, run.session_id, run.user_id)
            totals = msgspec.structs.astuple(run.totals)
            key = (number, number >> SHARD_BITS, trace_id, run.name, run.has_root)
            fresh.append((*key, *labels, run.start_ns, run.end_ns, *totals))
        database.insert(connection, _INSERT_RUN, fresh)
        if len(self._ids) + len(known) > _MOST_RUNS:
            self._ids.clear()
        self._ids.update(known)
        return known

    def _known(self, connection: sqlite3.Connection, runs: Iterable[str], newest: int) -> dict[str, int]:
        known = {trace_id: self._ids[trace_id] for trace_id in runs if trace_id in self._ids}
        missing = [trace_id for trace_id in runs if trace_id not in known]
        if missing and newest:
            shards = list(range(max(0, (newest >> SHARD_BITS) - _RECENT_SHARDS + 1), (newest >> SHARD_BITS) + 1))
            query = (
                "SELECT run.trace_id, max(run.id) FROM json_each(?) AS shard CROSS JOIN json_each(?) AS wanted "
                "CROSS JOIN run ON run.shard = shard.value AND run.trace_id = wanted.value GROUP BY run.trace_id"
            )
            rows = connection.execute(query, (encode_json(shards).decode(), encode_json(missing).decode()))
            known.update(dict(rows.fetchall()))
        return known


class RollUp:
    """The amounts one transaction adds to all totals."""

    def __init__(self, runs: Runs) -> None:
        """Creates empty totals.

        Args:
            runs: The runs of this process.
        """
        self._known = runs
        self._alike: dict[tuple[Any, ...], AlikeSpans] = {}
        self._runs: dict[str, _RunTotals] = {}
        self._entities: dict[tuple[str, str], _Entity] = {}
        self._hours: dict[tuple[Any, ...], _Hour] = {}
        self._groups: dict[str, list[Any]] = {}
        self._found: dict[int, list[Any]] = {}

    def add_span(self, span: EncodedSpan) -> None:
        """Counts a span to its run, its agent, session, user and tool, and its hour."""
        record = span.record
        hour = record.start_ns // usage.HOUR_NS
        key = (record.trace_id, span.common, record.session_id, span.user_id, hour, record.status)
        alike = self._alike.get(key)
        if alike is None:
            self._alike[key] = alike = AlikeSpans(span)
        alike.add(span)

    def _count(self) -> None:
        """Adds the spans that were counted together to all totals."""
        for alike in self._alike.values():
            span, record = alike.first, alike.first.record
            run = self._run(record.trace_id, alike.start_ns, alike.end_ns)
            is_root = alike.root_name is not None
            if run.name is None or is_root > run.has_root:
                run.name, run.has_root = alike.root_name or record.name, int(is_root)
            run.service_name = run.service_name or span.service_name
            run.agent_id = run.agent_id or record.agent_id
            run.session_id = run.session_id or record.session_id
            run.user_id = run.user_id or span.user_id
            run.totals.add(alike)
            for kind, name in _entities(record.agent_id, record.session_id, span.user_id, record.tool):
                entity = self._entity(kind, name, alike.start_ns, alike.end_ns)
                entity.agent_id = record.agent_id or entity.agent_id
                entity.user_id = span.user_id or entity.user_id
                entity.totals.add(alike)
            if record.event_type is not None:
                self._add_hours(alike)
        self._alike.clear()

    def add_finding(self, finding: FindingRecord, time_ns: int, run: int, origin: GroupOrigin) -> None:
        """Counts a stored finding to its run, its agent, session, user and tool, and its group.

        Args:
            finding: The row.
            time_ns: Its time.
            run: The id of its run.
            origin: The facts of its group.
        """
        found = self._found.setdefault(run, [0, 0, None, None, None])
        number = SEVERITY_NUMBER.get(finding.severity, 0)
        found[0] += 1
        found[1] = max(found[1], number)
        found[2:] = finding.agent_id, finding.session_id, finding.user_id
        for kind, name in _entities(finding.agent_id, finding.session_id, finding.user_id, finding.tool):
            entity = self._entity(kind, name, time_ns, time_ns)
            entity.agent_id = finding.agent_id or entity.agent_id
            entity.totals.findings += 1
            entity.totals.severity_number = max(entity.totals.severity_number, number)
        if finding.group_id:
            group = self._groups.get(finding.group_id)
            if group is None:
                facts = (origin.source, finding.target, finding.subtype, finding.agent_id, finding.tool)
                group = [
                    finding.group_id,
                    origin.rule_id,
                    origin.category,
                    number,
                    *facts,
                    time_ns,
                    time_ns,
                    0,
                    "open",
                ]
                self._groups[finding.group_id] = group
            group[3] = max(group[3], number)
            group[10] = max(group[10], time_ns)
            group[11] += 1

    def add_event(self, event: EventRecord, alert: str) -> None:
        """Counts a logged event to its hour."""
        labels = (event.agent_id, event.event_type, event.channel, event.level, alert)
        self._hour(event.time_ns, event.time_ns, 1, usage.event_key(event.time_ns, *labels))

    def touch_run(self, trace_id: str, time_ns: int | None) -> None:
        """Makes sure that a trace has a run.

        Args:
            trace_id: The trace.
            time_ns: A time in it, nanoseconds since the epoch; `None` for what its spans say.
        """
        self._count()
        if time_ns is not None or trace_id not in self._runs:
            time_ns = time.time_ns() if time_ns is None else time_ns
            self._run(trace_id, time_ns, time_ns)

    def write_runs(self, connection: sqlite3.Connection) -> dict[str, int]:
        """Writes the runs and returns their ids by trace id."""
        self._count()
        return self._known.write(connection, self._runs)

    def write(self, connection: sqlite3.Connection) -> None:
        """Writes everything but the runs."""
        entities = [
            (*key, one.first_ns, one.last_ns, one.agent_id, one.user_id, *msgspec.structs.astuple(one.totals))
            for key, one in self._entities.items()
        ]
        database.insert(connection, _INSERT_ENTITY, entities, _ON_ENTITY)
        hours = [(*key, *msgspec.structs.astuple(one)) for key, one in self._hours.items()]
        database.insert(connection, _INSERT_USAGE, hours, _ON_USAGE)
        database.insert(connection, _INSERT_GROUP, [tuple(one) for one in self._groups.values()], _ON_GROUP)
        for run, values in self._found.items():
            connection.execute(_FOUND_IN_RUN, (*values, run))

    def _run(self, trace_id: str, start_ns: int, end_ns: int) -> _RunTotals:
        run = self._runs.get(trace_id)
        if run is None:
            run = self._runs[trace_id] = _RunTotals(start_ns, end_ns)
        elif start_ns < run.start_ns or end_ns > run.end_ns:
            run.start_ns, run.end_ns = min(run.start_ns, start_ns), max(run.end_ns, end_ns)
        return run

    def _entity(self, kind: str, name: str, start_ns: int, end_ns: int) -> _Entity:
        entity = self._entities.get((kind, name))
        if entity is None:
            entity = self._entities[kind, name] = _Entity(start_ns, end_ns)
        entity.first_ns, entity.last_ns = min(entity.first_ns, start_ns), max(entity.last_ns, end_ns)
        return entity

    def _add_hours(self, alike: AlikeSpans) -> None:
        record = alike.first.record
        labels = (record.agent_id, record.event_type, record.channel, record.alert, record.status)
        key = usage.span_key(record.start_ns, *labels, record.model, record.tool)
        hour = self._hour(alike.start_ns, alike.last_ns, alike.spans, key)
        hour.failed += alike.spans * (record.status == FAILED)
        hour.duration_ns += alike.duration_ns
        hour.input_tokens += alike.input_tokens
        hour.output_tokens += alike.output_tokens
        hour.cost += alike.cost

    def _hour(self, first_ns: int, last_ns: int, events: int, key: tuple[Any, ...]) -> _Hour:
        hour = self._hours.get(key)
        if hour is None and len(self._hours) >= _MOST_KEYS:
            key = (*key[:-2], OTHER, OTHER)
            hour = self._hours.get(key)
        if hour is None:
            self._hours[key] = hour = _Hour(events, first_ns, last_ns)
            return hour
        hour.events += events
        hour.first_ns, hour.last_ns = min(hour.first_ns, first_ns), max(hour.last_ns, last_ns)
        return hour


def _entities(
    agent_id: str | None, session_id: str | None, user_id: str | None, tool: str | None
) -> Iterable[tuple[str, str]]:
    for kind, name in (("agent", agent_id), ("session", session_id), ("user", user_id), ("tool", tool)):
        if name:
            yield kind, usage.label(name)
