"""Outcomes of control as rows: the facts of each tool call, the decision about it and the origins of its values."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from cylestio_monitor.sanitize import pointer_token
from cylestio_monitor.store.sqlite.records import CallFactsRow, Decision, ValueOrigin

if TYPE_CHECKING:
    from cylestio_monitor.govern.outcome import ControlOutcome
    from cylestio_monitor.store.store import Store

_STEP: Final = re.compile(r"\[(\d+)\]|\.?([^.\[]+)")


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
        source = origin.source
        source_trace, source_span, attribute, pointer = [*source.part.split(":", 3), "", "", ""][:4]
        value = origin.value.encode("utf-8", "surrogatepass")
        store.add_record(
            ValueOrigin(
                trace_id=trace_id,
                span_id=span_id,
                argument=origin.argument,
                kind=origin.kind,
                shape=source.shape,
                origin=f"tool:{source.tool}",
                value_hash=hashlib.blake2b(value, digest_size=16, key=store.key[:64]).hexdigest(),
                source_trace_id=source_trace or None,
                source_span_id=source_span or None,
                source_attribute=attribute or None,
                source_pointer=(pointer if source.path else pointer.removesuffix("#")) + _pointer(source.path),
                source_start=source.start if source.is_exact else None,
                source_end=source.end if source.is_exact else None,
            )
        )


def _pointer(path: str) -> str:
    """Returns the JSON pointer of a path such as ``[0].body``."""
    names = (index or key for index, key in _STEP.findall(path))
    return "".join(f"/{pointer_token(name)}" for name in names)
