"""The row of a call that has a severe finding and has not ended: it remains if the process dies within the call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor import semconv
from cylestio_monitor.model import ALERT_OF, SEVERITY_NUMBER
from cylestio_monitor.store.sqlite.records import OpenCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.trace import SpanContext

    from cylestio_monitor.model import AttributeValue, Finding

_KINDS = {"internal": 0, "server": 1, "client": 2}


class StartedSpan(NamedTuple):
    """A span that has started.

    Attributes:
        context: Its ids.
        parent: The ids of its parent; `None` for a root.
        name: Its name.
        kind: ``client``, ``server`` or ``internal``.
        start_ns: Its start, in ns since the epoch.
        attributes: Its attributes so far.
    """

    context: SpanContext
    parent: SpanContext | None
    name: str
    kind: str
    start_ns: int
    attributes: Mapping[str, AttributeValue]


def open_call(span: StartedSpan, findings: Sequence[Finding], action: str) -> OpenCall:
    """Returns the row of a call with findings.

    Args:
        span: Its span.
        findings: Its findings so far; at least one.
        action: ``cylestio.security.action`` so far.
    """
    worst = max(findings, key=lambda finding: SEVERITY_NUMBER[finding.severity])
    operation = _text(span.attributes.get(semconv.OPERATION_NAME))
    kind, channel = semconv.event_type(operation, span.attributes.get(semconv.MCP_METHOD), scanned=True)
    return OpenCall(
        trace_id=f"{span.context.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_span_id=f"{span.parent.span_id:016x}" if span.parent is not None else None,
        name=span.name,
        kind=_KINDS.get(span.kind, 0),
        start_ns=span.start_ns,
        event_type=kind or "scan",
        channel=channel or "SYSTEM",
        agent_id=_text(span.attributes.get(semconv.CYLESTIO_AGENT_ID)),
        session_id=_text(span.attributes.get(semconv.CYLESTIO_SESSION_ID)),
        operation=operation,
        provider=_text(span.attributes.get(semconv.PROVIDER_NAME)),
        model=_text(span.attributes.get(semconv.REQUEST_MODEL)),
        tool=_text(span.attributes.get(semconv.TOOL_NAME)),
        alert=ALERT_OF[worst.severity],
        severity_number=SEVERITY_NUMBER[worst.severity],
        action=action,
        categories=json.dumps(sorted({finding.category for finding in findings})),
        rules=json.dumps(sorted({finding.rule_id for finding in findings})),
    )


def _text(value: object) -> str | None:
    return value if type(value) is str else None
