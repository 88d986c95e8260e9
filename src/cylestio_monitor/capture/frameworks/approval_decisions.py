"""The decision of a person whom a framework has asked about a tool call."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from cylestio_monitor import pipeline as road
from cylestio_monitor.govern.approvals.request import ApprovalRequest, canonical, new_id
from cylestio_monitor.govern.outcome import actor_of

if TYPE_CHECKING:
    from cylestio_monitor.pipeline import Pipeline

log = logging.getLogger(__name__)

VALID_S: Final = 3600.0
"""Seconds within which the call must run after the decision; later, the policy asks again."""


def record(origin: str, tool: object, arguments: Any, *, allow: bool) -> None:
    """Records a decision in the ledger of approvals. It never raises.

    Args:
        origin: The framework.
        tool: The tool's name.
        arguments: The arguments that the person has decided about.
        allow: The decision.
    """
    pipeline = road.current()
    if pipeline is None:
        return
    try:
        _record(pipeline, origin, str(tool), arguments, allow=allow)
    except Exception:  # the framework goes on with the decision; a policy that asks will ask itself
        log.debug("A decision of a framework could not be recorded", exc_info=True)


def _record(pipeline: Pipeline, origin: str, tool: str, arguments: Any, *, allow: bool) -> None:
    controller = pipeline.controller
    if controller is None or controller.framework_approvals is None:
        return
    who, place, now_ns = pipeline.actor(), trace.get_current_span().get_span_context(), time.time_ns()
    actor = actor_of(who.agent_id, who.user_id, who.session_id, "", who.roles)
    shown = {} if pipeline.content == "none" else pipeline.recorded_unscanned(arguments, None)
    request = ApprovalRequest(
        id=new_id(),
        digest=controller.digest_of(actor, tool, arguments),
        tool=pipeline.redact(tool)[:256],
        arguments=canonical(shown).decode("utf-8", "replace")[:16_384],
        agent=actor.agent,
        session=actor.session,
        user=pipeline.redact(actor.user),
        trace=f"{place.trace_id:032x}" if place.is_valid else "",
        span=f"{place.span_id:016x}" if place.is_valid else "",
        rule="framework",
        policy_version=controller.policy.version if controller.policy is not None else "",
        reason=f"A person decided in {origin}.",
        created_ns=now_ns,
        expires_ns=now_ns + int(VALID_S * 1e9),
    )
    controller.framework_approvals.record(request, allow=allow, origin=origin)
