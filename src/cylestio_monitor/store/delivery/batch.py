"""Sends one batch, splits a refused batch to find the bad record, or keeps it until the collector recovers.

A record is set aside only if the collector accepted another record of the same batch. A collector that refuses every
record is broken or is not a collector, and the records themselves are valid. A backend that does not accept the signal
answers with a status that says so; the whole batch is then set aside.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cylestio_monitor.store.delivery.transport import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.store.delivery.outbox_table import OutboxEntry, OutboxTable
    from cylestio_monitor.store.delivery.transport import Channel

BATCH: Final = 512
"""Most records of one request."""

_BACKOFF_S: Final = (0.25, 5.0)
"""First and longest wait for a collector that is not there or too busy."""

_HOLD_S: Final = (0.5, 10.0)
"""The same for one that answers what no collector should."""

IN_DOUBT: Final = "which does not say which"
"""The end of the reason for records of which the collector accepted some without naming them."""

_SUSPECTS: Final = 3
"""Refused records without an accepted one, after which others are tried to see whether any is accepted."""

_PROBES: Final = 3

_STREAK: Final = 64
"""Requests taken whole after which larger ones are tried again."""


@dataclass(slots=True)
class Line:
    """The state of one signal's delivery.

    Attributes:
        signal: ``traces``, ``logs`` or ``metrics``.
        channel: Its exporter.
        size: Records in the next request; it shrinks where a collector refuses parts without saying which.
        streak: Consecutive requests of that size that were accepted completely.
        failures: Consecutive batches that could not be delivered.
        not_before: Time (monotonic) before which nothing is sent.
        asked: Whether the collector itself named that time.
        problem: The reason why the last batch could not be delivered; empty after a delivery.
        unsupported: The answer of a backend that does not accept this signal; empty while it accepts it.
    """

    signal: str
    channel: Channel
    size: int = BATCH
    streak: int = 0
    failures: int = 0
    not_before: float = 0.0
    asked: bool = False
    problem: str = ""
    unsupported: str = ""

    def rest(self, outcome: Outcome) -> None:
        """Waits after a batch that could not be delivered: longer every time, or as long as the collector asked."""
        first, longest = _BACKOFF_S if outcome.verdict == "retry" else _HOLD_S
        pause = min(first * 2 ** min(self.failures, 10), longest) * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter
        self.asked = outcome.wait_s is not None
        self.not_before = time.monotonic() + (pause if outcome.wait_s is None else outcome.wait_s)
        self.failures += 1
        self.problem = outcome.reason

    def accepted(self) -> None:
        """Counts a request that was accepted completely; after several of them the next requests are larger."""
        self.streak += 1
        if self.size < BATCH and self.streak >= _STREAK:
            self.size, self.streak = min(BATCH, self.size * 2), 0

    def part_refused(self) -> None:
        """Reduces the next requests to one record each, so that a refusal identifies the record."""
        self.size, self.streak, self.unsupported = 1, 0, ""

    def well(self) -> None:
        """Clears the failure state after a batch was delivered or set aside."""
        self.failures, self.not_before, self.asked, self.problem = 0, 0.0, False, self.unsupported


class BatchDelivery:
    """The delivery of one batch."""

    def __init__(self, table: OutboxTable, line: Line) -> None:
        """Nothing is sent yet.

        Args:
            table: Where the entries stand until they are delivered.
            line: The signal they belong to.
        """
        self._table = table
        self._line = line
        self._accepted = False
        self._suspects: list[OutboxEntry] = []

    def run(self, entries: Sequence[OutboxEntry]) -> Outcome | None:
        """Delivers the batch.

        Returns:
            Why the rest of it has to wait; `None` where all of it is delivered or set aside.

        Raises:
            sqlite3.Error: What was delivered could not be noted.
        """
        trouble = self._send(entries)
        if (
            self._suspects
            and trouble is not None
            and trouble.verdict == "rejected"
            and len(entries) > len(self._suspects)
        ):
            trouble = self._probe(entries) or trouble
            if self._accepted:
                trouble = None
        return trouble or (Outcome("rejected", self._suspects[0].reason) if self._suspects else None)

    def _send(self, entries: Sequence[OutboxEntry]) -> Outcome | None:
        outcome = self._line.channel.send(self._table.batch(self._line.signal, entries))
        if outcome.verdict == "sent":
            self._table.sent(self._line.signal, entries)
            self._line.accepted()
            self._accept()
            return None
        if outcome.verdict == "partial":
            self._part(entries, outcome)
            return None
        if outcome.verdict == "unsupported":
            reason = f"{outcome.reason}: the backend does not accept {self._line.signal}"
            self._table.set_aside(self._line.signal, entries, reason)
            self._line.unsupported = outcome.reason
            return None
        if outcome.verdict != "rejected":
            return outcome
        if len(entries) > 1:
            middle = len(entries) // 2
            return self._send(entries[:middle]) or self._send(entries[middle:])
        self._suspects.append(entries[0]._replace(reason=outcome.reason))
        if self._accepted:
            self._accept()
            return None
        return outcome if len(self._suspects) >= _SUSPECTS else None

    def _accept(self) -> None:
        """The collector takes records, so one that it refuses now is at fault.

        Each is asked about once more: it may have been refused while the collector was still unwell.
        """
        self._accepted = True
        self._line.unsupported = ""
        suspects, self._suspects = self._suspects, []
        for entry in suspects:
            outcome = self._line.channel.send(self._table.batch(self._line.signal, [entry]))
            if outcome.verdict == "sent":
                self._table.sent(self._line.signal, [entry])
            elif outcome.verdict == "rejected":
                self._table.set_aside(self._line.signal, [entry], outcome.reason)
            elif outcome.verdict == "partial":
                self._part([entry], outcome)

    def _probe(self, entries: Sequence[OutboxEntry]) -> Outcome | None:
        """Tries single records out of the rest: one that is accepted shows that the refused ones are at fault."""
        known = {entry.ref for entry in self._suspects}
        rest = [entry for entry in entries if entry.ref not in known]
        for entry in random.sample(rest, min(_PROBES, len(rest))):
            outcome = self._line.channel.send(self._table.batch(self._line.signal, [entry]))
            if outcome.verdict == "sent":
                self._table.sent(self._line.signal, [entry])
                self._accept()
                return None
            if outcome.verdict != "rejected":
                return outcome
        return None

    def _part(self, entries: Sequence[OutboxEntry], outcome: Outcome) -> None:
        """Some were refused, and by the protocol none may be sent again.

        Which ones is known where it is all of them. Else all are set aside as doubtful, and the next requests are
        small, so that the next refusal names its record.
        """
        refused = min(outcome.refused, len(entries))
        if refused == len(entries):
            reason = "refused by the collector (partial success)"
        else:
            reason = f"{refused} of {len(entries)} refused by the collector, {IN_DOUBT}"
        self._table.set_aside(self._line.signal, entries, reason, sent=len(entries) - refused)
        self._line.part_refused()
        self._accepted = True
