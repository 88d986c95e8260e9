"""Findings and verdict as flat span attributes and span events, without the matched text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor import semconv
from cylestio_monitor.model import (
    ALERT_OF,
    INCOMPLETE,
    SEVERITY_NUMBER,
    AttributeValue,
    Finding,
    LocatedFinding,
    Verdict,
)
from cylestio_monitor.policy import top

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cylestio_monitor.rules import Rule

CLEAN: dict[str, AttributeValue] = {
    semconv.SCANNED: True,
    semconv.ALERT: "none",
    semconv.SEVERITY: "none",
    semconv.SEVERITY_NUMBER: 0,
    semconv.FINDING_COUNT: 0,
    semconv.VERDICT: "allow",
    semconv.ACTION: "allow",
}
"""The attributes of a scanned span without a finding."""

MAX_EVENTS = 100
"""Finding events on one span; the SDK's own limit is 128 events of all kinds."""


MAX_REASONS = 16
"""Reasons of an incomplete scan on one span."""


def attributes(
    findings: Sequence[Finding], count: int, verdict: Verdict, rules: Mapping[str, Rule]
) -> dict[str, AttributeValue]:
    """Returns the ``cylestio.security.*`` and ``security_rule.*`` attributes of a span.

    Args:
        findings: The findings that the call keeps, of both sides.
        count: The number of all findings.
        verdict: The stricter of the verdicts.
        rules: The loaded rules by id, which describe the rule of the most severe finding.
    """
    worst = top(findings)
    if worst is None:
        return CLEAN
    unscanned = sorted({finding.reason for finding in findings if finding.rule_id == INCOMPLETE})
    owasp = {tag for finding in findings for tag in finding.owasp}
    out: dict[str, AttributeValue] = {
        semconv.SCANNED: not unscanned,
        semconv.ALERT: ALERT_OF[worst.severity],
        semconv.SEVERITY: worst.severity,
        semconv.SEVERITY_NUMBER: SEVERITY_NUMBER[worst.severity],
        semconv.FINDING_COUNT: count,
        semconv.CATEGORY: worst.category,
        semconv.CATEGORIES: sorted({finding.category for finding in findings}),
        semconv.RULES: sorted({finding.rule_id for finding in findings}),
        semconv.VERDICT: verdict.decision,
        semconv.ACTION: verdict.action,
        semconv.TARGET_TYPE: worst.target,
        semconv.TARGET_SUBTYPE: worst.subtype,
    }
    if unscanned:
        out[semconv.SCAN_INCOMPLETE] = unscanned[:MAX_REASONS]
    if llm := sorted(tag for tag in owasp if tag.startswith("LLM")):
        out[semconv.OWASP_LLM] = llm
    if asi := sorted(tag for tag in owasp if tag.startswith("ASI")):
        out[semconv.OWASP_ASI] = asi
    if atlas := sorted({tag for finding in findings for tag in finding.atlas}):
        out[semconv.ATLAS_TECHNIQUE] = atlas
    rule = rules.get(worst.rule_id)
    if rule is not None:
        out[semconv.SECURITY_RULE_UUID] = rule.uuid
        out[semconv.SECURITY_RULE_NAME] = rule.id
        out[semconv.SECURITY_RULE_CATEGORY] = rule.category
        out[semconv.SECURITY_RULE_RULESET] = rule.ruleset
        out[semconv.SECURITY_RULE_VERSION] = str(rule.version)
    return out


def most_severe(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Returns the findings that become events: all in their order, or the most severe where there are too many."""
    if len(findings) <= MAX_EVENTS:
        return findings
    return sorted(findings, key=lambda finding: -SEVERITY_NUMBER[finding.severity])[:MAX_EVENTS]


def event(finding: Finding) -> dict[str, AttributeValue]:
    """Returns the attributes of the span event ``cylestio.security.finding`` of one finding."""
    out: dict[str, AttributeValue] = {
        semconv.FINDING_RULE: finding.rule_id,
        semconv.FINDING_CATEGORY: finding.category,
        semconv.FINDING_SEVERITY: finding.severity,
        semconv.FINDING_ALERT: finding.alert,
        semconv.FINDING_TARGET: finding.target,
        semconv.FINDING_SUBTYPE: finding.subtype,
        semconv.FINDING_PATH: finding.path,
        semconv.FINDING_START: finding.start,
        semconv.FINDING_END: finding.end,
    }
    if finding.owasp:
        out[semconv.FINDING_OWASP] = list(finding.owasp)
    if finding.atlas:
        out[semconv.FINDING_ATLAS] = list(finding.atlas)
    if finding.match_hash:
        out[semconv.FINDING_HASH] = finding.match_hash
    if finding.reason:
        out[semconv.FINDING_REASON] = finding.reason
    if isinstance(finding, LocatedFinding) and finding.attribute:
        out[semconv.FINDING_ATTRIBUTE] = finding.attribute
        out[semconv.FINDING_POINTER] = finding.pointer
    if isinstance(finding, LocatedFinding) and finding.part_id:
        out[semconv.FINDING_PART_ID] = finding.part_id
        out[semconv.FINDING_SOURCE] = finding.source
    return out
