"""The entry point of an incident and its blast radius: what the runs touched from there on, and where else it is.

The entry point is the earliest of two: the span whose result introduced a value that a tool call used, and the first
finding in text that neither user nor developer wrote. Without both it is the first finding.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.model import PROVENANCE, SEVERITIES, SEVERITY_NUMBER
from cylestio_monitor.store.read.values import decoded
from cylestio_monitor.store.sqlite.rows import FAILED, time_ns_of, timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.read.lists import SpanSummary

MOST: Final = 1000
"""Largest number of values, facts of calls, and places elsewhere."""

_UNTRUSTED: Final = frozenset({"tool_result", "tool_definition", "memory"})
_HOSTS: Final = 4
"""Place of the hosts in an argument of `CallFacts`, which is stored as an array."""


class EntryPoint(msgspec.Struct, frozen=True):
    """Where an incident began.

    Attributes:
        kind: ``value``, where a value came in that a tool call used, or ``finding``.
        time_ns: Nanoseconds since the epoch.
        trace_id: The trace.
        span_id: The span.
        name: The span's name, or the rule of the finding.
        source: Who said it first, such as ``tool:mail/read``; empty where that is not recorded.
        place: The place in the recorded content, or the path of the finding.
    """

    kind: str
    time_ns: int
    trace_id: str
    span_id: str
    name: str
    source: str
    place: str


class ToolUse(msgspec.Struct):
    """The calls of one tool.

    Attributes:
        tool: Its name.
        calls: Number of calls.
        blocked: The part of them that was refused.
        failed: The part of them that failed.
        first_ns: Begin of the first call, nanoseconds since the epoch.
        last_ns: Begin of the last one.
        severity: The worst severity of a finding in them.
    """

    tool: str
    calls: int = 0
    blocked: int = 0
    failed: int = 0
    first_ns: int = 0
    last_ns: int = 0
    severity: str = "none"


class ValueFlow(msgspec.Struct, frozen=True):
    """One value that came from a source that is not trusted and went into a tool call.

    Attributes:
        kind: Such as ``email`` or ``url``.
        shape: ``field`` or ``prose``.
        origin: First speaker.
        tool: The tool that was called with it.
        argument: Place in the arguments.
        trace_id: The trace of that call.
        span_id: The span of that call.
        source_span_id: The span that introduced the value.
    """

    kind: str
    shape: str
    origin: str
    tool: str | None
    argument: str
    trace_id: str
    span_id: str
    source_span_id: str | None


class Touched(msgspec.Struct, frozen=True):
    """One kind of thing that was touched, such as a host or a kind of secret.

    Attributes:
        name: The host, rule or user.
        count: How often.
        distinct: How many different ones, by keyed hash; 0 where that is not known.
    """

    name: str
    count: int
    distinct: int = 0


class Elsewhere(msgspec.Struct, frozen=True):
    """The same text or value in a run outside the incident, by keyed hash.

    Attributes:
        rule_id: The rule that found it there; ``provenance.value`` for a value that went into a tool call.
        trace_id: The trace.
        session_id: The session.
        agent_id: The agent.
        user_id: The user.
        first: Time of the first finding there, UTC; of a value, the begin of that run.
        count: Number of findings, or of arguments with the value.
    """

    rule_id: str
    trace_id: str
    session_id: str | None
    agent_id: str | None
    user_id: str | None
    first: str
    count: int


class BlastRadius(msgspec.Struct):
    """Everything that the runs of an incident touched from its entry point on.

    Attributes:
        tools: The tools that were called.
        values: The values that flowed on into tool calls.
        hosts: The hosts in arguments of tool calls.
        secrets: The kinds of secrets that were seen, by rule.
        personal_data: The kinds of personal data that were seen, by rule.
        users: The users whose runs these are.
        agents: The agents.
        sessions: The sessions.
        elsewhere: Other runs with the same text, or with the same value from a source that is not trusted.
    """

    tools: list[ToolUse]
    values: list[ValueFlow]
    hosts: list[Touched]
    secrets: list[Touched]
    personal_data: list[Touched]
    users: list[Touched]
    agents: list[Touched]
    sessions: list[Touched]
    elsewhere: list[Elsewhere]

    @property
    def touched(self) -> tuple[tuple[str, list[Touched]], ...]:
        """The things beside tools and values: the name of each kind, and those that were touched."""
        return (
            ("host", self.hosts),
            ("secret", self.secrets),
            ("personal data", self.personal_data),
            ("user", self.users),
            ("agent", self.agents),
            ("session", self.sessions),
        )


def entry_point(
    connection: sqlite3.Connection,
    keys: str,
    spans: Sequence[SpanSummary],
    findings: Sequence[FindingRow],
    named: set[int],
) -> EntryPoint | None:
    """Returns where an incident began; `None` where it has no finding.

    Args:
        connection: From `queries.connect`.
        keys: The keys of its runs, as a JSON array.
        spans: Its monitored spans.
        findings: Its findings, by time.
        named: Ids of the findings that the incident was opened on; it began no later than the last of them.
    """
    end = max((time_ns_of(one.timestamp) for one in findings if one.id in named), default=1 << 62)
    severe = [one for one in findings if one.severity != "none" and time_ns_of(one.timestamp) <= end]
    untrusted = [one for one in severe if one.subtype in _UNTRUSTED or (one.source or "").startswith("tool:")]
    starts = {one.span_id: one for one in spans}
    candidates = [EntryPoint("value", *source) for source in _sources(connection, keys, starts) if source[0] <= end]
    candidates += (_finding_entry(one, starts.get(one.span_id)) for one in untrusted)
    if not candidates:
        candidates = [_finding_entry(one, starts.get(one.span_id)) for one in severe]
    return min(candidates, key=lambda one: one.time_ns, default=None)


def _finding_entry(finding: FindingRow, span: SpanSummary | None) -> EntryPoint:
    # The finding itself is of the end of its span, where it was stored with the span.
    time_ns = time_ns_of(finding.timestamp) if span is None else span.start_ns
    source, place = finding.source or "", finding.path
    return EntryPoint("finding", time_ns, finding.trace_id, finding.span_id, finding.rule_id, source, place)


def _sources(
    connection: sqlite3.Connection, keys: str, spans: dict[str, SpanSummary]
) -> Iterable[tuple[int, str, str, str, str, str]]:
    rows = connection.execute(
        "SELECT DISTINCT source_trace_id, source_span_id, origin, coalesce(source_attribute, ''), "
        "coalesce(source_pointer, '') FROM value_origin WHERE run IN (SELECT value FROM json_each(?)) "
        "AND source_span_id IS NOT NULL AND origin GLOB 'tool:*' LIMIT ?",
        (keys, MOST),
    )
    for trace_id, span_id, origin, attribute, pointer in rows:
        span = spans.get(span_id)
        if span is not None:
            yield span.start_ns, trace_id or span.trace_id, span_id, span.name, origin, f"{attribute} {pointer}".strip()


def blast_radius(
    connection: sqlite3.Connection,
    keys: str,
    spans: Sequence[SpanSummary],
    findings: Sequence[FindingRow],
    since_ns: int,
) -> BlastRadius:
    """Reads what the runs touched from a time on.

    Args:
        connection: From `queries.connect`.
        keys: The keys of the runs, as a JSON array.
        spans: Their monitored spans.
        findings: Their findings.
        since_ns: The time of the entry point, nanoseconds since the epoch.
    """
    later = [one for one in spans if one.start_ns >= since_ns]
    begun = {one.span_id for one in later}
    found = [one for one in findings if one.span_id in begun or time_ns_of(one.timestamp) >= since_ns]
    users = connection.execute(
        "SELECT user_id, count(*) FROM run WHERE id IN (SELECT value FROM json_each(?)) AND user_id IS NOT NULL "
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
        (keys, MOST),
    )
    return BlastRadius(
        tools=_tools(later),
        values=_values(connection, keys, {one.span_id: one for one in spans}),
        hosts=_hosts(connection, keys, since_ns),
        secrets=_rules(one for one in found if one.category == "secret"),
        personal_data=_rules(one for one in found if one.category == "sensitive_data"),
        users=[Touched(*row) for row in users],
        agents=_counted(one.agent_id for one in later),
        sessions=_counted(one.session_id for one in later),
        elsewhere=_elsewhere(connection, keys, findings),
    )


def _tools(spans: Iterable[SpanSummary]) -> list[ToolUse]:
    uses: dict[str, ToolUse] = {}
    for span in spans:
        if span.tool is None:
            continue
        use = uses.setdefault(span.tool, ToolUse(span.tool, first_ns=span.start_ns))
        use.calls += 1
        use.blocked += span.action == "block"
        use.failed += span.status == FAILED
        use.last_ns = max(use.last_ns, span.start_ns)
        use.severity = SEVERITIES[max(SEVERITY_NUMBER[use.severity], min(span.severity_number, 4))]
    return list(uses.values())


def _values(connection: sqlite3.Connection, keys: str, spans: dict[str, SpanSummary]) -> list[ValueFlow]:
    rows = connection.execute(
        "SELECT v.kind, v.shape, v.origin, c.tool, v.argument, run.trace_id, v.span_id, v.source_span_id "
        "FROM value_origin AS v JOIN run ON run.id = v.run LEFT JOIN call_facts AS c ON c.run = v.run "
        "AND c.span_id = v.span_id WHERE v.run IN (SELECT value FROM json_each(?)) ORDER BY v.id LIMIT ?",
        (keys, MOST),
    )
    flows = [ValueFlow(*row) for row in rows]
    return [
        msgspec.structs.replace(one, tool=spans[one.span_id].tool) if not one.tool and one.span_id in spans else one
        for one in flows
    ]


def _hosts(connection: sqlite3.Connection, keys: str, since_ns: int) -> list[Touched]:
    rows = connection.execute(
        "SELECT facts FROM call_facts WHERE run IN (SELECT value FROM json_each(?)) AND time_ns >= ? LIMIT ?",
        (keys, since_ns, MOST),
    )
    hosts: Counter[str] = Counter()
    for (facts,) in rows:
        stored = decoded(facts, {})
        arguments = stored.get("arguments", []) if isinstance(stored, dict) else []
        for argument in arguments:
            if isinstance(argument, list) and len(argument) > _HOSTS and isinstance(argument[_HOSTS], list):
                hosts.update(str(host) for host in argument[_HOSTS])
    return [Touched(name, count) for name, count in hosts.most_common(MOST)]


def _rules(findings: Iterable[FindingRow]) -> list[Touched]:
    counts: Counter[str] = Counter()
    hashes: dict[str, set[str]] = {}
    for one in findings:
        counts[one.rule_id] += 1
        hashes.setdefault(one.rule_id, set()).add(one.match_hash)
    return [Touched(rule, count, len(hashes[rule] - {""})) for rule, count in counts.most_common()]


def _counted(names: Iterable[str | None]) -> list[Touched]:
    return [Touched(name, count) for name, count in Counter(name for name in names if name).most_common(MOST)]


def _elsewhere(connection: sqlite3.Connection, keys: str, findings: Sequence[FindingRow]) -> list[Elsewhere]:
    hashes: list[Any] = sorted({one.match_hash for one in findings if one.severity != "none"} - {""})
    rows = connection.execute(
        "SELECT f.rule_id, run.trace_id, f.session_id, f.agent_id, f.user_id, min(f.timestamp), count(*) "
        "FROM (SELECT * FROM findings WHERE match_hash IN (SELECT value FROM json_each(?1)) "
        "AND run NOT IN (SELECT value FROM json_each(?2)) LIMIT ?3) AS f "
        "JOIN run ON run.id = f.run GROUP BY f.rule_id, f.run ORDER BY 6 LIMIT ?3",
        (msgspec.json.encode(hashes[:MOST]).decode(), keys, MOST),
    )
    found = {(row[0], row[1]): Elsewhere(*row) for row in rows}
    values = connection.execute(
        "SELECT run.trace_id, run.session_id, run.agent_id, run.user_id, min(run.start_ns), count(*) "
        "FROM (SELECT * FROM value_origin WHERE value_hash IN (SELECT value_hash FROM value_origin "
        "WHERE run IN (SELECT value FROM json_each(?1)) LIMIT ?2) "
        "AND run NOT IN (SELECT value FROM json_each(?1)) LIMIT ?2) AS v "
        "JOIN run ON run.id = v.run GROUP BY v.run ORDER BY 5 LIMIT ?2",
        (keys, MOST),
    )
    for trace_id, session_id, agent_id, user_id, start_ns, count in values:
        one = Elsewhere(PROVENANCE, trace_id, session_id, agent_id, user_id, timestamp(start_ns), count)
        found.setdefault((PROVENANCE, trace_id), one)
    return sorted(found.values(), key=lambda one: one.first)[:MOST]
