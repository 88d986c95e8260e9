"""Findings and events as the values of their rows, and what seals every row of the store."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.sanitize import clean_text, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cylestio_monitor.model import Finding

MAX_NAME: Final = 1024
"""Longest name, path or label, in bytes."""

_MAX_EVENT_BYTES: Final = 256_000

SPAN_COLUMNS: Final = (
    "trace_id, span_id, parent_span_id, name, kind, start_ns, end_ns, status, agent_id, session_id, severity_number, "
    "alert, event_type, channel, operation, provider, model, tool, action, input_tokens, output_tokens, attributes, "
    "events, extra, content"
)
"""The columns of a span that its seal covers, in its order; the digests of what it shares follow."""

FINDING_COLUMNS: Final = (
    'trace_id, span_id, timestamp, rule_id, category, severity, alert, target, subtype, path, start, "end", owasp, '
    "atlas, match_hash, agent_id, session_id, service_name, action, operation, model, tool"
)
"""The columns of a finding that its seal covers, in its order."""

EVENT_COLUMNS: Final = "agent_id, event_type, channel, level, timestamp, time_ns, data, trace_id, span_id"
"""The columns of an event that its seal covers, in its order."""

encode_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Event:
    """One entry for the public events table.

    Attributes:
        agent_id: The agent it belongs to.
        event_type: What happened, such as ``user_login``.
        channel: Where, such as ``SYSTEM``.
        level: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
        timestamp_ns: When, in nanoseconds since the epoch, UTC.
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
    """What a finding's row says of the call it was found in."""

    agent_id: str | None
    session_id: str | None
    service_name: str | None
    action: str | None
    operation: str | None
    model: str | None
    tool: str | None


class SpanRow(NamedTuple):
    """A span ready to be written.

    Attributes:
        source: JSON of resource and scope, for `shared`.
        common: JSON of the attributes that repeat, for `shared`.
        values: `SPAN_COLUMNS`, the content last.
        findings: Rows of `findings`, without the checksum.
        event_type: What the span is in the events view; `None` for a span that is not monitored.
    """

    source: bytes
    common: bytes
    values: list[Any]
    findings: Sequence[tuple[Any, ...]]
    event_type: str | None


def digest(body: bytes) -> bytes:
    """The identity of an entry of `shared`: 16 bytes."""
    return sha256(body).digest()[:16]


def seal(*parts: Any) -> tuple[int, bytes]:
    """Checksum and fingerprint (SHA-256, 32 bytes) of a row's values; bytes count as they are."""
    plain, blob = _bytes_of(parts)
    return zlib.crc32(blob, zlib.crc32(plain)), sha256(plain + b"\x00" + blob).digest()


def seal_span(values: Sequence[Any], *digests: bytes) -> tuple[int, bytes]:
    """As `seal` of the values and the digests: of a span only the content, its last value, is bytes."""
    plain, blob = _bytes_of_span(values, digests)
    return zlib.crc32(blob, zlib.crc32(plain)), sha256(plain + b"\x00" + blob).digest()


def checksum_span(values: Sequence[Any], *digests: bytes) -> int:
    """As `checksum` of the values and the digests."""
    plain, blob = _bytes_of_span(values, digests)
    return zlib.crc32(blob, zlib.crc32(plain))


def _bytes_of_span(values: Sequence[Any], digests: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    packed = values[-1]
    if packed is None:
        return encode_json(values), b"\x00".join(digests)
    return encode_json(values[:-1]), b"\x00".join((packed, *digests))


def checksum(*parts: Any) -> int:
    """CRC-32 of a row's values: finds what the disk did to them, not what an attacker did."""
    plain, blob = _bytes_of(parts)
    return zlib.crc32(blob, zlib.crc32(plain))


def _bytes_of(parts: tuple[Any, ...]) -> tuple[bytes, bytes]:
    blobs = [part for part in parts if type(part) is bytes]
    plain = [part for part in parts if type(part) is not bytes] if blobs else parts
    return encode_json(plain), b"\x00".join(blobs)


def timestamp(time_ns: int) -> str:
    """The public form of a time: UTC, ``YYYY-MM-DD HH:MM:SS.ffffff``."""
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns // 1000 % 1_000_000:06d}"


def finding_rows(
    trace_id: int, span_id: int, findings: Iterable[Finding], labels: Labels, time_ns: int
) -> list[tuple[Any, ...]]:
    """Rows of `findings`, without the checksum."""
    cleaned = [None if label is None else clean_text(label, MAX_NAME) for label in labels]
    return [
        (
            f"{trace_id:032x}",
            f"{span_id:016x}",
            timestamp(time_ns),
            clean_text(finding.rule_id, MAX_NAME),
            finding.category,
            finding.severity,
            finding.alert,
            finding.target,
            finding.subtype,
            clean_text(finding.path, MAX_NAME),
            finding.start,
            finding.end,
            encode_json(finding.owasp).decode(),
            encode_json(finding.atlas).decode(),
            finding.match_hash,
            *cleaned,
        )
        for finding in findings
    ]


def event_row(event: Event) -> tuple[Any, ...]:
    """The columns of `event` before `source`."""
    return (
        None if event.agent_id is None else clean_text(event.agent_id, MAX_NAME),
        clean_text(event.event_type, MAX_NAME),
        clean_text(event.channel, MAX_NAME),
        clean_text(event.level, 32),
        timestamp(event.timestamp_ns),
        event.timestamp_ns,
        to_json(event.data, _MAX_EVENT_BYTES),
        event.trace_id,
        event.span_id,
    )


def finding_of_event(trace_id: str, span_id: str, event: Mapping[str, Any], labels: Labels) -> tuple[Any, ...]:
    """The row of `findings` that a span event of a finding stands for, without the checksum."""
    get = event["attributes"].get

    def text(key: str) -> str:
        return clean_text(get(key) or "", MAX_NAME)

    def number(key: str) -> int:
        value = get(key)
        return value if type(value) is int else 0

    return (
        trace_id,
        span_id,
        timestamp(event["time_ns"]),
        text(semconv.FINDING_RULE),
        text(semconv.FINDING_CATEGORY),
        text(semconv.FINDING_SEVERITY) or "low",
        text(semconv.FINDING_ALERT) or "suspicious",
        text(semconv.FINDING_TARGET),
        text(semconv.FINDING_SUBTYPE),
        text(semconv.FINDING_PATH),
        number(semconv.FINDING_START),
        number(semconv.FINDING_END),
        encode_json(get(semconv.FINDING_OWASP) or []).decode(),
        encode_json(get(semconv.FINDING_ATLAS) or []).decode(),
        text(semconv.FINDING_HASH),
        *labels,
    )
