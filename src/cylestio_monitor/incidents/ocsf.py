"""Findings as OCSF 1.9 Detection Findings (class 2004) with the profile `ai_operation`, for a SIEM.

Values that the schema has no place for stand in `unmapped`. No content is in them: a finding has a rule, a place and a
keyed hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor._version import __version__
from cylestio_monitor.incidents import taxonomies
from cylestio_monitor.store.sqlite.rows import time_ns_of

if TYPE_CHECKING:
    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.read.incidents import Incident
    from cylestio_monitor.store.read.lists import SpanSummary

VERSION: Final = "1.9.0"
_SEVERITY: Final = {
    "none": (1, "Informational"),
    "low": (2, "Low"),
    "medium": (3, "Medium"),
    "high": (4, "High"),
    "critical": (5, "Critical"),
}
_STATUS: Final = {"open": (2, "In Progress"), "closed": (4, "Resolved")}
_RULE: Final = 1
"""`analytic.type_id` of a rule."""
_HASH: Final = 8
_RESOURCE: Final = 10
_ROLES: Final = {"tool_call": (3, "Tool"), "tool_result": (3, "Tool"), "tool_definition": (3, "Tool")}


def detection_finding(finding: FindingRow, span: SpanSummary | None, incident: Incident) -> dict[str, Any]:
    """Returns one finding as an OCSF event.

    Args:
        finding: The finding.
        span: Its span, where the store has it.
        incident: The incident that it belongs to.
    """
    time_ms = time_ns_of(finding.timestamp) // 1_000_000
    severity_id, severity = _SEVERITY[finding.severity]
    status_id, status = _STATUS.get(incident.row.state, (0, "Unknown"))
    event: dict[str, Any] = {
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200401,
        "type_name": "Detection Finding: Create",
        "time": time_ms,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": f"{finding.rule_id} in {finding.subtype} {finding.target}",
        "metadata": {
            "version": VERSION,
            "profiles": ["ai_operation"],
            "product": {"name": "Cylestio Monitor", "vendor_name": "Cylestio", "version": __version__},
            "uid": f"{finding.trace_id}-{finding.span_id}-{finding.id}",
            "correlation_uid": incident.row.id,
        },
        "finding_info": _finding_info(finding, time_ms),
        "observables": _observables(finding),
        "remediation": {"desc": "Follow the runbook.", "references": [taxonomies.runbook(finding.category)]},
        "unmapped": {
            "incident": incident.row.id,
            "trace_id": finding.trace_id,
            "span_id": finding.span_id,
            "path": finding.path,
            "start": finding.start,
            "end": finding.end,
            "match_hash": finding.match_hash,
            "user_id": finding.user_id,
            "source": finding.source,
            "action": finding.action,
            "owasp": finding.owasp,
        },
    }
    event |= _ai_operation(finding, span)
    if finding.tool:
        event["resources"] = [{"name": finding.tool, "type": "Tool"}]
    return event


def _finding_info(finding: FindingRow, time_ms: int) -> dict[str, Any]:
    info: dict[str, Any] = {
        "uid": str(finding.id),
        "title": finding.rule_id,
        "types": [finding.category],
        "created_time": time_ms,
        "analytic": {
            "type_id": _RULE,
            "type": "Rule",
            "uid": finding.rule_id,
            "name": finding.rule_id,
            "category": finding.category,
        },
    }
    if finding.atlas:
        info["attacks"] = [_attack(name) for name in finding.atlas]
    return info


def _attack(name: str) -> dict[str, Any]:
    """Returns a technique; the number after the second point names a sub-technique."""
    base, point, rest = name.removeprefix("AML.").partition(".")
    parent = taxonomies.atlas(f"AML.{base}")
    attack: dict[str, Any] = {"technique": {"uid": parent.id, "name": parent.name, "src_url": parent.url}}
    if point and rest:
        entry = taxonomies.atlas(name)
        attack["sub_technique"] = {"uid": entry.id, "name": entry.name, "src_url": entry.url}
    return attack


def _observables(finding: FindingRow) -> list[dict[str, Any]]:
    found = [("unmapped.trace_id", "Resource UID", _RESOURCE, finding.trace_id)]
    if finding.match_hash:
        found.append(("unmapped.match_hash", "Hash", _HASH, finding.match_hash))
    if finding.user_id:
        found.append(("unmapped.user_id", "Resource UID", _RESOURCE, finding.user_id))
    return [{"name": name, "type": kind, "type_id": number, "value": value} for name, kind, number, value in found]


def _ai_operation(finding: FindingRow, span: SpanSummary | None) -> dict[str, Any]:
    """Returns the attributes of the profile: the agent with its model, or the model alone, and the conversation."""
    model_name = finding.model or (span.model if span is not None else None)
    provider = (span.provider if span is not None else None) or "Unknown"
    model = {"name": model_name, "ai_provider": provider} if model_name else None
    profile: dict[str, Any] = {}
    if finding.agent_id:
        profile["ai_agent"] = {"uid": finding.agent_id, "name": finding.agent_id}
        if finding.session_id:
            profile["ai_agent"]["instance_uid"] = finding.session_id
        if model is not None:
            profile["ai_agent"]["ai_model"] = model
    elif model is not None:
        profile["ai_model"] = model
    role_id, role = _ROLES.get(finding.subtype, (2, "Assistant") if finding.target == "output" else (1, "User"))
    context: dict[str, Any] = {
        "ai_role_id": role_id,
        "ai_role": role,
        "application": {"name": finding.service_name or finding.agent_id or "unknown"},
    }
    if finding.session_id:
        context |= {"uid": finding.session_id, "name": finding.session_id}
    if span is not None and span.input_tokens is not None:
        context["prompt_tokens"] = span.input_tokens
    if span is not None and span.output_tokens is not None:
        context["completion_tokens"] = span.output_tokens
    profile["message_context"] = context
    return profile
