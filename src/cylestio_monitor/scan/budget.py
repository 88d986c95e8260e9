"""Limits the time that one scan takes on the caller's thread.

A text that holds many pieces of what patterns search for, and is no match, can cost seconds. A scan that reaches its
limit stops and keeps the reason: the scanner then reports the text as incompletely scanned.
"""

from __future__ import annotations

from time import perf_counter, thread_time

import msgspec

SCAN_SECONDS = 0.2
"""CPU time of one scan of a text or of a value."""

MASK_SECONDS = 2.0
"""CPU time of the redaction of one value; a text that is not searched in this time is left out of the record."""


class Budget(msgspec.Struct):
    """CPU time of the calling thread that a scan may take.

    The first half is measured by the clock on the wall, which costs little to read, the rest in CPU time: a thread that
    waits for others does not lose its budget.

    Attributes:
        seconds: CPU time.
        reason: The bound that the scan reached first, such as ``time`` or ``length``; empty for a complete scan.
    """

    seconds: float = SCAN_SECONDS
    reason: str = ""
    _wall_start: float = msgspec.field(default_factory=perf_counter)
    _cpu_end: float | None = None

    def stop(self, reason: str) -> None:
        """Notes that a part was not scanned; the first reason stays."""
        self.reason = self.reason or reason

    def spent(self) -> bool:
        """Returns whether the time is over, and notes it."""
        now = perf_counter()
        half = self.seconds / 2
        if now < self._wall_start + half:
            return False
        cpu = thread_time()
        if self._cpu_end is None:
            self._cpu_end = cpu + half
        if cpu < self._cpu_end:
            self._wall_start = now + (self._cpu_end - cpu) - half
            return False
        self.stop("time")
        return True
