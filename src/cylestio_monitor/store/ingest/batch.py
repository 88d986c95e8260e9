"""The encoded rows of one group: what one transaction inserts, and what the side file holds while none is possible."""

from __future__ import annotations

from typing import Any, Final, TypeAlias, Union

import msgspec

from cylestio_monitor.store.sqlite.records import (
    Approval,
    CallFactsRow,
    Decision,
    OpenCall,
    RecordedPart,
    ToolVersion,
    ValueOrigin,
)
from cylestio_monitor.store.sqlite.rows import (  # noqa: TC001 -- msgspec reads the annotations at run time
    EncodedSpan,
    EventRecord,
    FindingRecord,
)

# `Union` and not `|`: msgspec reads the alias at run time, also under Python 3.10.
AnyRecord: TypeAlias = Union[Approval, CallFactsRow, Decision, OpenCall, RecordedPart, ToolVersion, ValueOrigin]  # noqa: UP007 -- see above


class Batch(msgspec.Struct):
    """Rows that are committed together.

    Attributes:
        spans: Encoded spans.
        findings: Findings of spans that have not ended, each with its time in nanoseconds since the epoch.
        events: Logged events.
        records: Rows of the other tables.
        metrics: Batches of metrics, as `metric_queue.pack` makes them.
        counters: What is added to the counters of the file.
        source: JSON of resource and scope of the events.
        forward: Signals that the process which saw the rows sends over OTLP.
    """

    spans: list[EncodedSpan] = msgspec.field(default_factory=list)
    findings: list[tuple[FindingRecord, int]] = msgspec.field(default_factory=list)
    events: list[EventRecord] = msgspec.field(default_factory=list)
    records: list[AnyRecord] = msgspec.field(default_factory=list)
    metrics: list[bytes] = msgspec.field(default_factory=list)
    counters: dict[str, int] = msgspec.field(default_factory=dict)
    source: bytes = b"{}"
    forward: list[str] = msgspec.field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """True if the batch has nothing to write."""
        return not any((self.spans, self.findings, self.events, self.records, self.metrics, self.counters))


class AlikeSpans:
    """Spans of one transaction that agree in all that they are counted by; they are counted together.

    Attributes:
        first: The first of them.
        spans: Their number.
        start_ns: The earliest begin.
        last_ns: The latest begin.
        end_ns: The latest end.
        duration_ns: The sum of their durations.
        input_tokens: The sum of theirs.
        output_tokens: The sum of theirs.
        cost: The sum of theirs.
        root_name: The name of a span without a parent; `None` where each has one.
    """

    __slots__ = (
        "cost",
        "duration_ns",
        "end_ns",
        "first",
        "input_tokens",
        "last_ns",
        "output_tokens",
        "root_name",
        "spans",
        "start_ns",
    )

    def __init__(self, first: EncodedSpan) -> None:
        """Counts nothing yet.

        Args:
            first: The first span.
        """
        self.first = first
        self.spans = self.duration_ns = self.input_tokens = self.output_tokens = 0
        self.start_ns = self.last_ns = first.record.start_ns
        self.end_ns = first.record.end_ns
        self.cost = 0.0
        self.root_name: str | None = None

    def add(self, span: EncodedSpan) -> None:
        """Counts one span."""
        record = span.record
        start_ns, end_ns = record.start_ns, record.end_ns
        self.spans += 1
        if start_ns < self.start_ns:
            self.start_ns = start_ns
        elif start_ns > self.last_ns:
            self.last_ns = start_ns
        self.end_ns = max(self.end_ns, end_ns)
        if end_ns > start_ns:
            self.duration_ns += end_ns - start_ns
        self.input_tokens += record.input_tokens or 0
        self.output_tokens += record.output_tokens or 0
        self.cost += span.cost
        if record.parent_span_id is None and self.root_name is None:
            self.root_name = record.name


encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final[Any] = msgspec.msgpack.Decoder(Batch)


def decode(data: bytes) -> Batch:
    """Returns the batch that `encode` wrote.

    Raises:
        msgspec.MsgspecError: The bytes are no batch.
    """
    batch: Batch = _decoder.decode(data)
    return batch
