"""The ledger of approvals: each request changes its state along one way, and an approval is spent once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from cylestio_monitor.govern.approvals.request import ApprovalRequest, ApprovalState

_MAX_KEPT: Final = 10_000


class ApprovalLedger(Protocol):
    """Keeps requests. Each method is atomic across all processes that share the ledger, and durable when it returns."""

    def open(self, request: ApprovalRequest) -> None:
        """Adds a request in state ``waiting``."""

    def state(self, request_id: str) -> ApprovalState | None:
        """The state of a request; ``None`` for an unknown id."""

    def decide(self, request_id: str, *, allow: bool, by: str, now_ns: int) -> bool:
        """Moves a waiting request that has not expired to ``allowed`` or ``denied``; whether it did."""

    def expire(self, request_id: str) -> bool:
        """Moves a waiting request to ``expired``; whether it did."""

    def spend(self, request_id: str, digest: str, *, now_ns: int) -> bool:
        """Moves an allowed request with this digest that has not expired to ``used``; whether it did."""


class MemoryLedger:
    """The ledger of a process that has no store: only this process can decide."""

    def __init__(self) -> None:
        """Starts empty."""
        self._kept: OrderedDict[str, tuple[ApprovalRequest, ApprovalState]] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, request: ApprovalRequest) -> None:
        """Adds a request in state ``waiting``; the oldest goes where there are too many."""
        with self._lock:
            self._kept[request.id] = request, "waiting"
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)

    def state(self, request_id: str) -> ApprovalState | None:
        """The state of a request; ``None`` for an unknown id."""
        with self._lock:
            kept = self._kept.get(request_id)
        return kept[1] if kept is not None else None

    def decide(
        self,
        request_id: str,
        *,
        allow: bool,
        by: str,  # noqa: ARG002 -- only a stored ledger keeps who decided
        now_ns: int,
    ) -> bool:
        """Moves a waiting request that has not expired to ``allowed`` or ``denied``; whether it did."""
        return self._move(request_id, "waiting", "allowed" if allow else "denied", now_ns=now_ns)

    def expire(self, request_id: str) -> bool:
        """Moves a waiting request to ``expired``; whether it did."""
        return self._move(request_id, "waiting", "expired")

    def spend(self, request_id: str, digest: str, *, now_ns: int) -> bool:
        """Moves an allowed request with this digest that has not expired to ``used``; whether it did."""
        return self._move(request_id, "allowed", "used", digest=digest, now_ns=now_ns)

    def _move(
        self,
        request_id: str,
        before: ApprovalState,
        after: ApprovalState,
        *,
        digest: str | None = None,
        now_ns: int = 0,
    ) -> bool:
        with self._lock:
            request, state = self._kept.get(request_id, (None, None))
            if request is None or state != before or request.expires_ns <= now_ns:
                return False
            if digest is not None and digest != request.digest:
                return False
            self._kept[request_id] = request, after
            return True
