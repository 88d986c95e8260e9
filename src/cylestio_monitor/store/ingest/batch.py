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


encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final[Any] = msgspec.msgpack.Decoder(Batch)


def decode(data: bytes) -> Batch:
    """Returns the batch that `encode` wrote.

    Raises:
        msgspec.MsgspecError: The bytes are no batch.
    """
    batch: Batch = _decoder.decode(data)
    return batch
