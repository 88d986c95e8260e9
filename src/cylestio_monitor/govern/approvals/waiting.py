"""Waits for a decision about a call: in a thread that may block, or in a task that must not."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from cylestio_monitor.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cylestio_monitor.govern.approvals.ledger import ApprovalLedger
    from cylestio_monitor.govern.approvals.request import ApprovalRequest

log = logging.getLogger(__name__)

POLL_S: Final = 0.1
"""Seconds between two looks into the ledger, which another process may have changed."""


class Decider(Protocol):
    """Somebody who can decide: a callback of the application, a terminal, a webhook."""

    @property
    def name(self) -> str:
        """The name that stands in the audit trail."""

    def ask(self, request: ApprovalRequest) -> bool | None:
        """Allows, denies, or leaves the decision to others with ``None``. Runs in a thread of its own; may block."""


class Approvals:
    """Holds calls until they are decided."""

    def __init__(self, ledger: ApprovalLedger, deciders: Sequence[Decider] = ()) -> None:
        """Takes the ledger and whoever is asked directly; others decide in the ledger.

        Args:
            ledger: Keeps the requests.
            deciders: Asked at once, all together; the first decision counts.
        """
        self._ledger = ledger
        self._deciders = deciders

    def wait(self, request: ApprovalRequest, digest: Callable[[], str] | None = None) -> bool:
        """Blocks until the request is decided or has expired; whether the call may run, once.

        Args:
            request: The request.
            digest: Gives the digest of the call as it is when it has been decided: arguments that somebody has changed
                meanwhile are not those that were allowed.
        """
        allowed = self._open(request)
        while allowed is None:
            time.sleep(POLL_S)
            allowed = self._outcome(request, digest)
        return allowed

    async def wait_async(
        self,
        request: ApprovalRequest,
        sleep: Callable[[float], Awaitable[object]],
        digest: Callable[[], str] | None = None,
    ) -> bool:
        """Does what `wait` does without blocking the event loop.

        Args:
            request: The request.
            sleep: Sleeps on the event loop that is in use, such as `asyncio.sleep`.
            digest: As of `wait`.
        """
        allowed = self._open(request)
        while allowed is None:
            await sleep(POLL_S)
            allowed = self._outcome(request, digest)
        return allowed

    def _open(self, request: ApprovalRequest) -> bool | None:
        """Asks whoever decides; returns false where the request cannot be recorded: nobody could decide then."""
        try:
            self._ledger.open(request)
        except StoreError:
            log.exception("An approval could not be recorded: the call is denied")
            return False
        for decider in self._deciders:
            threading.Thread(
                target=self._ask, args=(decider, request), name=f"cylestio-approval-{decider.name}", daemon=True
            ).start()
        return None

    def _ask(self, decider: Decider, request: ApprovalRequest) -> None:
        try:
            answer = decider.ask(request)
        except Exception:
            # A decider that fails has not decided: the request stays open for the others, and expires as denied.
            log.warning("The approval decider %s failed", decider.name, exc_info=True)
            return
        if answer is not None:
            try:
                self._ledger.decide(request.id, allow=answer is True, by=decider.name, now_ns=time.time_ns())
            except StoreError:
                log.exception("The decision of %s could not be recorded: the call is not allowed", decider.name)

    def _outcome(self, request: ApprovalRequest, digest: Callable[[], str] | None) -> bool | None:
        """Returns the outcome; `None` while there is none, which a store that is busy or full may also mean."""
        try:
            return self._recorded_outcome(request, digest)
        except StoreError:
            log.warning("The state of an approval could not be read or written", exc_info=True)
            return None if time.time_ns() < request.expires_ns else False

    def _recorded_outcome(self, request: ApprovalRequest, digest: Callable[[], str] | None) -> bool | None:
        state = self._ledger.state(request.id)
        if state == "waiting":
            if time.time_ns() < request.expires_ns:
                return None
            self._ledger.expire(request.id)
            state = self._ledger.state(request.id)
        if state == "allowed":
            now = request.digest if digest is None else digest()
            return self._ledger.spend(request.id, now, now_ns=time.time_ns())
        return False
