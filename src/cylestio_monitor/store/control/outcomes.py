"""Outcomes of control as rows: the facts of each tool call, the decision about it and the origins of its values."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cylestio_monitor.store.sqlite.records import CallFactsRow, Decision, ValueOrigin

if TYPE_CHECKING:
    from cylestio_monitor.govern.outcome import ControlOutcome
    from cylestio_monitor.store.store import Store


def record(store: Store, outcome: ControlOutcome, place: str, *, enforced: bool) -> None:
    """Queues the rows of one outcome. Never blocks, never raises.

    Args:
        store: The store.
        outcome: What was decided.
        place: Trace and span id, as ``trace:span``.
        enforced: Whether the decision was carried out.
    """
    trace_id, _, span_id = place.partition(":")
    facts, decision = outcome.facts, outcome.decision
    who = {
        "agent_id": facts.agent or None,
        "session_id": facts.session or None,
        "user_id": facts.user or None,
    }
    if facts.tool:  # a model call has a decision only where it was redacted
        store.add_record(
            CallFactsRow(
                trace_id=trace_id,
                span_id=span_id,
                time_ns=facts.time_ns,
                tool=facts.tool,
                server=facts.server or None,
                definition=facts.definition_digest or None,
                facts=facts.storable().decode(),
                **who,
            )
        )
    if decision.version or decision.action != "allow":
        store.add_record(
            Decision(
                trace_id=trace_id,
                span_id=span_id,
                time_ns=facts.time_ns,
                action=decision.action,
                enforced=enforced,
                rule=decision.rule,
                policy_version=decision.version,
                reason=decision.reason,
                tool=facts.full_tool,
                **who,
            ),
            urgent=decision.action in {"deny", "ask"},
        )
    for origin in outcome.origins:
        source_trace, source_span, pointer = [*origin.source.part.split(":", 2), "", ""][:3]
        value = f"{origin.kind}:{origin.argument}:{origin.start}:{origin.end}".encode()
        store.add_record(
            ValueOrigin(
                trace_id=trace_id,
                span_id=span_id,
                argument=origin.argument,
                kind=origin.kind,
                shape=origin.source.shape,
                origin=f"tool:{origin.source.tool}",
                value_hash=hashlib.blake2b(value, digest_size=16, key=store.key[:64]).hexdigest(),
                source_trace_id=source_trace or None,
                source_span_id=source_span or None,
                source_pointer=pointer or None,
                source_start=origin.source.start,
                source_end=origin.source.end,
            )
        )
