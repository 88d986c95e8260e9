"""Decisions of people in frameworks that hold calls themselves: they are recorded, and nobody is asked again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cylestio_monitor.govern.recent import entry_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.govern.approvals.ledger import ApprovalLedger
    from cylestio_monitor.govern.approvals.request import ApprovalRequest

_MAX_KEPT: Final = 1024


class FrameworkApprovals:
    """The calls that people have allowed in frameworks, each for one use, and the ledger that records the decisions."""

    def __init__(self, ledger: ApprovalLedger, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Knows no decision yet.

        Args:
            ledger: Records them.
            clock_ns: Gives ns since the epoch.
        """
        self._ledger = ledger
        self._clock_ns = clock_ns
        self._allowed: OrderedDict[str, list[ApprovalRequest]] = OrderedDict()
        self._lock = threading.Lock()

    def record(self, request: ApprovalRequest, *, allow: bool, origin: str) -> None:
        """Records a decision; a call that was allowed is not held again, once.

        Args:
            request: The call.
            allow: The decision.
            origin: The framework, as the one who decided.

        Raises:
            StoreError: The decision could not be recorded; the call is held where the policy asks about it.
        """
        self._ledger.open(request)
        if not self._ledger.decide(request.id, allow=allow, by=origin, now_ns=self._clock_ns()) or not allow:
            return
        with self._lock:
            entry_of(self._allowed, request.digest, list, _MAX_KEPT).append(request)

    def spend(self, digest: str) -> ApprovalRequest | None:
        """Uses up a decision that allows a call; ``None`` where there is none.

        Args:
            digest: As `call_digest` returned it for the call that is about to run.
        """
        with self._lock:
            kept = self._allowed.get(digest)
            if kept is None:
                return None
            request = kept.pop(0)
            if not kept:
                del self._allowed[digest]
        return request if self._ledger.spend(request.id, digest, now_ns=self._clock_ns()) else None
