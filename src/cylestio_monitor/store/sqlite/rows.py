"""Typed rows of spans, findings and events, and the seals that protect them.

The fields of a record are the columns that its seal covers, in the order of the seal. Encoder, writer, OTLP encoder,
verification and salvage read the same records.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence  # noqa: TC003 -- msgspec reads the annotations at run time
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.sanitize import clean_text, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cylestio_monitor.model import Finding

MAX_NAME: Final = 1024
"""Longest name, path or label, in bytes."""

FAILED: Final = 2
"""The status of a failed span: `StatusCode.ERROR`."""

_MAX_EVENT_BYTES: Final = 256_000

encode_json = msgspec.json.Encoder().encode


class SpanRecord(msgspec.Struct, array_like=True):
    """One span.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_span_id: 16 hexadecimal digits; `None` for a root.
        name: The span's name.
        kind: `SpanKind` of the SDK, 0 to 4.
        start_ns: Nanoseconds since the epoch.
        end_ns: Nanoseconds since the epoch.
        status: `StatusCode`, 0 to 2.
        agent_id: `cylestio.agent.id`.
        session_id: `cylestio.session.id`; no other column holds it.
        severity_number: 0 to 4.
        alert: ``none``, ``suspicious`` or ``dangerous``.
        event_type: Its type in the events view; `None` for a span that is not monitored.
        channel: Its channel in the events view.
        operation: `gen_ai.operation.name`.
        provider: `gen_ai.provider.name`.
        model: `gen_ai.request.model`.
        tool: `gen_ai.tool.name`.
        action: `cylestio.security.action`.
        input_tokens: `gen_ai.usage.input_tokens`; no other column holds it.
        output_tokens: `gen_ai.usage.output_tokens`; no other column holds it.
        attributes: JSON object of the attributes that are neither shared nor content.
        events: JSON array of ``{name, time_ns, attributes}``, or `None`.
        extra: JSON object of status message, links, trace state and drop counts, or `None`.
        content: Compressed content attributes, or `None`.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status: int
    agent_id: str | None
    session_id: str | None
    severity_number: int
    alert: str
    event_type: str | None
    channel: str | None
    operation: str | None
    provider: str | None
    model: str | None
    tool: str | None
    action: str | None
    input_tokens: int | None
    output_tokens: int | None
    attributes: str
    events: str | None
    extra: str | None
    content: bytes | None = None


class FindingRecord(msgspec.Struct, array_like=True):
    """One finding; the meaning of each field is that of the column in the reference of the store."""

    trace_id: str
    span_id: str
    timestamp: str
    rule_id: str
    category: str
    severity: str
    alert: str
    target: str
    subtype: str
    path: str
    start: int
    end: int
    owasp: str
    atlas: str
    match_hash: str
    agent_id: str | None = None
    session_id: str | None = None
    service_name: str | None = None
    action: str | None = None
    operation: str | None = None
    model: str | None = None
    tool: str | None = None
    user_id: str | None = None
    attribute: str | None = None
    pointer: str | None = None
    part_id: str | None = None
    source: str | None = None
    group_id: str | None = None
    excerpt: str | None = None

    @property
    def identity(self) -> tuple[str, str, str, str, int, int]:
        """The values that identify a finding within its span."""
        return self.rule_id, self.target, self.subtype, self.path, self.start, self.end


class EventRecord(msgspec.Struct, array_like=True):
    """One logged event; the meaning of each field is that of the column in the reference of the store."""

    agent_id: str | None
    event_type: str
    channel: str
    level: str
    timestamp: str
    time_ns: int
    data: str
    trace_id: str | None = None
    span_id: str | None = None


def _columns(record: type[msgspec.Struct]) -> str:
    return ", ".join(f'"{name}"' if name == "end" else name for name in record.__struct_fields__)


SPAN_COLUMNS: Final = _columns(SpanRecord)
FINDING_COLUMNS: Final = _columns(FindingRecord)
EVENT_COLUMNS: Final = _columns(EventRecord)

_FINDING_ADDED: Final = 7
"""The last fields of a finding, which came with version 3; a seal without any of them is that of version 2."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry for the public events table.

    Attributes:
        agent_id: The agent it belongs to.
        event_type: The type, such as ``user_login``.
        channel: The channel, such as ``SYSTEM``.
        level: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
        timestamp_ns: Nanoseconds since the epoch, UTC.
        data: JSON-like; sanitised before it is stored.
        trace_id: The trace it happened in, 32 hexadecimal digits.
        span_id: The span it happened in, 16 hexadecimal digits.
    """

    agent_id: str | None
    event_type: str
    channel: str
    level: str
    timestamp_ns: int
    data: Mapping[str, Any]
    trace_id: str | None = None
    span_id: str | None = None


class Labels(NamedTuple):
    """The facts about its call that a finding's row repeats."""

    agent_id: str | None
    session_id: str | None
    service_name: str | None
    action: str | None
    operation: str | None
    model: str | None
    tool: str | None
    user_id: str | None = None


class EncodedSpan(NamedTuple):
    """A span ready to be written.

    Attributes:
        source: JSON of resource and scope, for `shared`.
        common: JSON of the attributes that repeat, for `shared`.
        record: The row.
        findings: Its findings.
        service_name: `service.name` of the resource.
        user_id: `enduser.id`.
        cost: `cylestio.usage.cost`, in the currency of `control.prices`.
        is_exported: The span enters the outbox; a span of an unsampled trace stays local.
    """

    source: bytes
    common: bytes
    record: SpanRecord
    findings: Sequence[FindingRecord] = ()
    service_name: str | None = None
    user_id: str | None = None
    cost: float = 0.0
    is_exported: bool = True


def digest(body: bytes) -> bytes:
    """Returns the identity of an entry of `shared`, 16 bytes."""
    return sha256(body).digest()[:16]


def seal(values: Sequence[Any]) -> tuple[int, bytes]:
    """Returns checksum and fingerprint (SHA-256, 32 bytes) of the values of a row.

    Args:
        values: The values in the order of the record, which `covered_values` shortens; bytes are hashed as they are.
    """
    blobs = [value for value in values if type(value) is bytes]
    plain = encode_json([value for value in values if type(value) is not bytes] if blobs else values)
    return _sums(plain, b"\x00".join(blobs))


def seal_record(record: SpanRecord | FindingRecord | EventRecord, *digests: bytes) -> tuple[int, bytes]:
    """Returns checksum and fingerprint of a record, as `seal` of its values does, without a copy of them.

    Args:
        record: The row.
        digests: Of a span, those of the entries of `shared` that it refers to.
    """
    if type(record) is FindingRecord:
        return seal(covered_values(msgspec.structs.astuple(record)))
    packed = None
    if type(record) is SpanRecord and record.content is not None:
        packed, record.content = record.content, None
        try:
            plain = encode_json(record)[: -len(",null]")] + b"]"
        finally:
            record.content = packed
    else:
        plain = encode_json(record)
    return _sums(plain, b"\x00".join(digests if packed is None else (packed, *digests)))


def covered_values(values: Sequence[Any]) -> list[Any]:
    """Returns the values of a row of `findings` or `event` that its seal covers, in order."""
    if len(values) == len(FindingRecord.__struct_fields__) and not any(v is not None for v in values[-_FINDING_ADDED:]):
        return list(values[:-_FINDING_ADDED])
    return list(values)


def _sums(plain: bytes, blob: bytes) -> tuple[int, bytes]:
    return zlib.crc32(blob, zlib.crc32(plain)), sha256(plain + b"\x00" + blob).digest()


def timestamp(time_ns: int) -> str:
    """Returns the public form of a time: UTC, ``YYYY-MM-DD HH:MM:SS.ffffff``."""
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns // 1000 % 1_000_000:06d}"


def time_ns_of(text: str) -> int:
    """Returns the time that `timestamp` wrote; 0 for any other text."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def finding_records(
    trace_id: int, span_id: int, findings: Iterable[Finding], labels: Labels, time_ns: int
) -> list[FindingRecord]:
    """Returns the rows of findings of a span that has not ended."""
    cleaned = Labels(*(None if label is None else clean_text(label, MAX_NAME) for label in labels))
    return [
        FindingRecord(
            trace_id=f"{trace_id:032x}",
            span_id=f"{span_id:016x}",
            timestamp=timestamp(time_ns),
            rule_id=clean_text(finding.rule_id, MAX_NAME),
            category=finding.category,
            severity=finding.severity,
            alert=finding.alert,
            target=finding.target,
            subtype=finding.subtype,
            path=clean_text(finding.path, MAX_NAME),
            start=finding.start,
            end=finding.end,
            owasp=encode_json(finding.owasp).decode(),
            atlas=encode_json(finding.atlas).decode(),
            match_hash=finding.match_hash,
            **cleaned._asdict(),
            **_place(finding),
        )
        for finding in findings
    ]


_PLACE: Final = ("attribute", "pointer", "part_id", "source", "group_id", "excerpt")


def _place(finding: Finding) -> dict[str, str | None]:
    """Returns the position of the finding in the recorded content, as far as the caller knows it."""
    place = {name: getattr(finding, name, None) or None for name in _PLACE}
    if place["attribute"] is not None:
        place["pointer"] = place["pointer"] or ""  # of the whole attribute
    return place


def event_record(event: Event) -> EventRecord:
    """Returns the row of an event."""
    return EventRecord(
        agent_id=None if event.agent_id is None else clean_text(event.agent_id, MAX_NAME),
        event_type=clean_text(event.event_type, MAX_NAME),
        channel=clean_text(event.channel, MAX_NAME),
        level=clean_text(event.level, 32),
        timestamp=timestamp(event.timestamp_ns),
        time_ns=event.timestamp_ns,
        data=to_json(event.data, _MAX_EVENT_BYTES),
        trace_id=event.trace_id,
        span_id=event.span_id,
    )


def finding_of_event(trace_id: str, span_id: str, event: Mapping[str, Any], labels: Labels) -> FindingRecord:
    """Returns the row of the finding that a span event describes."""
    get = event["attributes"].get

    def text(key: str) -> str:
        return clean_text(get(key) or "", MAX_NAME)

    def number(key: str) -> int:
        value = get(key)
        return value if type(value) is int else 0

    def optional(name: str) -> str | None:
        value = get(f"{semconv.EVENT_FINDING}.{name}")
        return clean_text(value, MAX_NAME) if value or (value == "" and name == "pointer") else None

    return FindingRecord(
        trace_id=trace_id,
        span_id=span_id,
        timestamp=timestamp(event["time_ns"]),
        rule_id=text(semconv.FINDING_RULE),
        category=text(semconv.FINDING_CATEGORY),
        severity=text(semconv.FINDING_SEVERITY) or "low",
        alert=text(semconv.FINDING_ALERT) or "suspicious",
        target=text(semconv.FINDING_TARGET),
        subtype=text(semconv.FINDING_SUBTYPE),
        path=text(semconv.FINDING_PATH),
        start=number(semconv.FINDING_START),
        end=number(semconv.FINDING_END),
        owasp=encode_json(get(semconv.FINDING_OWASP) or []).decode(),
        atlas=encode_json(get(semconv.FINDING_ATLAS) or []).decode(),
        match_hash=text(semconv.FINDING_HASH),
        **labels._asdict(),
        **{name: optional(name) for name in _PLACE},
    )


def identity_of_event(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns what `FindingRecord.identity` is for the finding that a span event describes."""
    get = event["attributes"].get
    return tuple(get(key) for key in _IDENTITY)


_IDENTITY: Final = (
    semconv.FINDING_RULE,
    semconv.FINDING_TARGET,
    semconv.FINDING_SUBTYPE,
    semconv.FINDING_PATH,
    semconv.FINDING_START,
    semconv.FINDING_END,
)
