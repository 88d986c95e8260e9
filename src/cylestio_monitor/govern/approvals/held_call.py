"""A call that waits for the decision of a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor.govern.approvals.request import canonical, new_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cylestio_monitor.govern.approvals import ApprovalRequest, Approvals
    from cylestio_monitor.govern.outcome import ControlOutcome


class HeldCall:
    """The approval of one call.

    Attributes:
        request: The request that the call waits for; ``None`` where it does not wait.
        decided: The request that a person has decided, here or in the framework.
    """

    __slots__ = ("_digest", "decided", "request")

    def __init__(self) -> None:
        """Waits for nothing."""
        self.request: ApprovalRequest | None = None
        self.decided: ApprovalRequest | None = None
        self._digest: Callable[[], str] | None = None

    def hold(
        self,
        outcome: ControlOutcome,
        masked: object,
        trace: str,
        span: str,
        timeout_s: float,
        digest: Callable[[], str],
    ) -> None:
        """Makes the request that the call waits for.

        Args:
            outcome: What was decided about the call.
            masked: Its arguments without secrets and personal data.
            trace: Trace id, 32 hexadecimal digits.
            span: Span id, 16 hexadecimal digits.
            timeout_s: Seconds that the call waits.
            digest: Gives the digest of the call as it is after the wait.
        """
        self._digest = digest
        self.request = new_request(
            msgspec.structs.replace(outcome.facts, trace=trace),
            outcome.decision,
            arguments=canonical(masked).decode("utf-8", "replace"),
            digest=outcome.digest,
            span=span,
            timeout_s=timeout_s,
        )

    def wait(self, approvals: Approvals | None) -> bool:
        """Blocks until the call is decided; whether it may run."""
        request, self.request = self.request, None
        self.decided = request or self.decided
        return request is None or (approvals is not None and approvals.wait(request, self._digest))

    async def wait_async(self, approvals: Approvals | None, sleep: Callable[[float], Awaitable[object]]) -> bool:
        """Does what `wait` does without blocking the event loop."""
        request, self.request = self.request, None
        self.decided = request or self.decided
        return request is None or (approvals is not None and await approvals.wait_async(request, sleep, self._digest))
