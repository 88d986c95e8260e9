"""Typed rows of the tables that control and the web UI use.

The fields of a record are columns of its table. The writer adds `run`, the integer key of the trace, which no caller
needs to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import msgspec

from cylestio_monitor.sanitize import clean_text
from cylestio_monitor.store.sqlite.rows import MAX_NAME, Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cylestio_monitor.model import RecordedText

DecisionAction: TypeAlias = Literal["allow", "audit", "redact", "ask", "deny"]
ApprovalState: TypeAlias = Literal["waiting", "allowed", "denied", "expired", "used"]
DefinitionState: TypeAlias = Literal["seen", "approved", "refused"]
GroupState: TypeAlias = Literal["open", "in_review", "resolved", "false_alarm", "accepted_risk", "test_data"]
IncidentState: TypeAlias = Literal["open", "closed"]


class Record(msgspec.Struct, kw_only=True, tag=True):
    """A row of one table.

    Attributes:
        trace_id: The trace it belongs to, 32 hexadecimal digits.
        span_id: The span it belongs to, 16 hexadecimal digits.
    """

    table: ClassVar[str]
    conflict: ClassVar[str] = "ON CONFLICT DO NOTHING"

    trace_id: str
    span_id: str

    @property
    def begin_ns(self) -> int | None:
        """The time of the record, nanoseconds since the epoch; `None` for one that has no time of its own."""
        for name in ("time_ns", "start_ns", "created_ns", "first_ns"):
            time_ns = getattr(self, name, None)
            if isinstance(time_ns, int):
                return time_ns
        return None

    def event(self) -> Event | None:
        """Returns the event that puts this record into the audit trail; `None` where it needs none."""
        return None


class RecordedPart(Record, kw_only=True):
    """One flagged or masked text of recorded content: its identity, its first speaker, and where it was masked.

    Attributes:
        attribute: The content attribute, such as ``gen_ai.input.messages``.
        pointer: JSON pointer of the text in the attribute, such as ``/0/parts/1/content``.
        part_id: Keyed hash of the whole original text, equal for equal texts.
        source: First speaker: ``system``, ``user``, ``model`` or ``tool:<name>``.
        length: Length of the original text in code points.
        masks: JSON array of ``[start, end, length]``: the range of the original that was masked, in code points, and
            the length of the text in its place.
        path: The place in the call, as findings name it, such as ``messages[2].content[0]``.
    """

    table: ClassVar[str] = "part"
    attribute: str
    pointer: str
    part_id: str
    source: str
    length: int
    masks: str = "[]"
    path: str = ""


class ValueOrigin(Record, kw_only=True):
    """Where one value in the arguments of a tool call came from.

    Attributes:
        argument: Place in the arguments, such as ``recipients[0]``.
        kind: Such as ``url``, ``host``, ``email``, ``path``.
        shape: ``field`` or ``prose``.
        origin: First speaker, as `RecordedPart.source`.
        value_hash: Keyed hash of the value in its folded form: equal for equal values, wherever they stand.
        source_trace_id: The trace of the span that introduced the value.
        source_span_id: The span that introduced the value.
        source_attribute: The content attribute there.
        source_pointer: JSON pointer into that attribute; behind a ``#``, the pointer in a text that is itself JSON.
        source_start: First code point of the value in the original text there; `None` where it is not known.
        source_end: The code point after the last.
    """

    table: ClassVar[str] = "value_origin"
    argument: str
    kind: str
    shape: str
    origin: str
    value_hash: str
    source_trace_id: str | None = None
    source_span_id: str | None = None
    source_attribute: str | None = None
    source_pointer: str | None = None
    source_start: int | None = None
    source_end: int | None = None


class CallFactsRow(Record, kw_only=True):
    """The facts of one tool call that a policy may use; enough to replay a decision without content.

    Attributes:
        time_ns: Begin of the call, nanoseconds since the epoch.
        agent_id: The agent.
        session_id: The session.
        user_id: The user.
        server: The MCP server; `None` for a local tool.
        tool: The tool's name.
        definition: Digest of the tool's definition.
        facts: JSON object: argument names and kinds, hosts, path prefixes, sizes, provenance labels, keyed hashes.
    """

    table: ClassVar[str] = "call_facts"
    time_ns: int
    tool: str
    facts: str
    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    server: str | None = None
    definition: str | None = None


class ToolVersion(Record, kw_only=True):
    """One version of a tool's definition; seen again, only `last_ns` changes.

    Attributes:
        server: The MCP server; empty for tools of the application.
        name: The tool's name.
        digest: SHA-256 of the definition, hexadecimal.
        definition: The definition as JSON.
        first_ns: First seen, nanoseconds since the epoch.
        last_ns: Last seen, nanoseconds since the epoch.
        state: ``seen``, ``approved`` or ``refused``.
        decided_ns: Time of the decision.
        decided_by: Who decided.
    """

    table: ClassVar[str] = "tool_definition"
    conflict: ClassVar[str] = (
        "ON CONFLICT (server, name, digest) DO UPDATE SET last_ns = max(last_ns, excluded.last_ns)"
    )
    server: str
    name: str
    digest: str
    definition: str
    first_ns: int
    last_ns: int
    state: str = "seen"
    decided_ns: int | None = None
    decided_by: str | None = None


class Decision(Record, kw_only=True):
    """One decision of the policy.

    Attributes:
        time_ns: Nanoseconds since the epoch.
        action: ``allow``, ``audit``, ``redact``, ``ask`` or ``deny``.
        enforced: Whether the action was carried out; false in mode `monitor`.
        rule: The rule that decided; empty for the default.
        policy_version: Digest of the policy.
        reason: One sentence without content.
        agent_id: The agent.
        session_id: The session.
        user_id: The user.
        tool: The tool's name.
    """

    table: ClassVar[str] = "decision"
    conflict: ClassVar[str] = ""
    time_ns: int
    action: str
    enforced: bool
    rule: str
    policy_version: str
    reason: str
    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    tool: str | None = None

    def event(self) -> Event | None:
        """Returns a ``policy_decision`` event, for every action but ``allow``."""
        if self.action == "allow":
            return None
        names = ("action", "enforced", "rule", "policy_version", "reason", "session_id", "user_id", "tool")
        return _event(self, "policy_decision", "WARNING", self.time_ns, self.agent_id, names)


class Approval(Record, kw_only=True):
    """One call that waits for a person, and the person's answer.

    Attributes:
        id: Random, 32 hexadecimal digits.
        tool: The tool's name.
        arguments: The redacted arguments as JSON.
        digest: SHA-256 of the validated arguments, hexadecimal.
        rule: The rule that asked.
        policy_version: Digest of the policy.
        reason: One sentence without content.
        created_ns: Nanoseconds since the epoch.
        expires_ns: Time from which the call is denied.
        state: ``waiting``, ``allowed``, ``denied``, ``expired`` or ``used``.
        agent_id: The agent.
        session_id: The session.
        user_id: The user.
        server: The MCP server.
        decided_ns: Time of the answer.
        decided_by: Who answered.
        used_ns: Time at which the call ran.
    """

    table: ClassVar[str] = "approval"
    id: str
    tool: str
    arguments: str
    digest: str
    rule: str
    policy_version: str
    reason: str
    created_ns: int
    expires_ns: int
    state: str = "waiting"
    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    server: str | None = None
    decided_ns: int | None = None
    decided_by: str | None = None
    used_ns: int | None = None

    def event(self) -> Event | None:
        """Returns an ``approval_requested`` event."""
        names = ("id", "tool", "server", "digest", "rule", "policy_version", "reason", "session_id", "user_id")
        return _event(self, "approval_requested", "WARNING", self.created_ns, self.agent_id, names)


class OpenCall(Record, kw_only=True):
    """A call whose begin is stored before its span has ended; the span takes its place.

    Attributes:
        parent_span_id: 16 hexadecimal digits; `None` for a root.
        name: The span's name.
        kind: `SpanKind` of the SDK, 0 to 4.
        start_ns: Nanoseconds since the epoch.
        event_type: Type in the events view, such as ``llm_call``.
        channel: Channel in the events view, such as ``LLM``.
        agent_id: The agent.
        session_id: The session.
        operation: `gen_ai.operation.name`.
        provider: `gen_ai.provider.name`.
        model: `gen_ai.request.model`.
        tool: `gen_ai.tool.name`.
        alert: ``none``, ``suspicious`` or ``dangerous``.
        severity_number: 0 to 4.
        action: `cylestio.security.action`.
        categories: JSON array of the categories of its findings.
        rules: JSON array of the rules of its findings.
        process: The process that makes the call; filled in by the writer.
    """

    table: ClassVar[str] = "open_call"
    conflict: ClassVar[str] = (
        "ON CONFLICT (run, span_id) DO UPDATE SET severity_number = excluded.severity_number, alert = excluded.alert, "
        "action = excluded.action, categories = excluded.categories, rules = excluded.rules "
        "WHERE excluded.severity_number >= severity_number"
    )
    name: str
    start_ns: int
    kind: int = 2
    parent_span_id: str | None = None
    event_type: str = "llm_call"
    channel: str = "LLM"
    agent_id: str | None = None
    session_id: str | None = None
    operation: str | None = None
    provider: str | None = None
    model: str | None = None
    tool: str | None = None
    alert: str = "none"
    severity_number: int = 0
    action: str | None = None
    categories: str = "[]"
    rules: str = "[]"
    process: str = ""


RECORDS: tuple[type[Record], ...] = (RecordedPart, ValueOrigin, CallFactsRow, ToolVersion, Decision, Approval, OpenCall)


def _event(
    record: Record, event_type: str, level: str, time_ns: int, agent_id: str | None, names: tuple[str, ...]
) -> Event:
    data: Mapping[str, Any] = {name: getattr(record, name) for name in names}
    return Event(agent_id, event_type, "POLICY", level, time_ns, data, record.trace_id, record.span_id)


def recorded_part(trace_id: int, span_id: int, text: RecordedText) -> RecordedPart:
    """Returns the row of a text of a call."""
    return RecordedPart(
        trace_id=f"{trace_id:032x}",
        span_id=f"{span_id:016x}",
        path=clean_text(text.path, MAX_NAME),
        attribute=text.attribute,
        pointer=clean_text(text.pointer, MAX_NAME),
        part_id=text.part_id,
        source=clean_text(text.source, MAX_NAME),
        length=text.length,
        masks=msgspec.json.encode(text.masks).decode(),
    )
