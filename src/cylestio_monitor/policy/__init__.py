"""The policy: findings and settings in, a verdict out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor.model import INCOMPLETE, PROVENANCE, SEVERITY_NUMBER, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cylestio_monitor.config import Settings

ALLOW = Verdict()
_STRICTNESS = {"allow": 0, "audit": 1, "warn": 2, "modify": 3, "deny": 4}


def top(findings: Iterable[Finding]) -> Finding | None:
    """Returns the most severe finding; of equals, the first."""
    return max(findings, key=lambda finding: SEVERITY_NUMBER[finding.severity], default=None)


def stricter(one: Verdict, other: Verdict) -> Verdict:
    """Returns the stricter of two verdicts; of equals, the later one."""
    if "block" in {one.action, other.action} and one.action != other.action:
        return one if one.action == "block" else other
    return one if _STRICTNESS[one.decision] > _STRICTNESS[other.decision] else other


def decide(findings: Sequence[Finding], settings: Settings) -> Verdict:
    """Judges the findings of one side of a call.

    The decision is ``warn`` below the levels of the setting ``block`` and ``deny`` at one of them. A part that could
    not be scanned is denied as well, unless `block_unreadable` is off. The action is ``block`` only where ``mode`` is
    ``block``, else ``audit``. A span of mode ``monitor`` with ``deny`` and ``audit`` therefore names a call that mode
    ``block`` would have refused.

    The provenance of a value is reason to ask a person, which a policy does; by itself it refuses nothing.

    Args:
        findings: All findings of that side, in any order.
        settings: The settings in force.
    """
    if not findings:
        return ALLOW
    denied = [
        finding
        for finding in findings
        if (finding.alert in settings.block and finding.rule_id != PROVENANCE)
        or (settings.block_unreadable and finding.rule_id == INCOMPLETE)
    ]
    if not denied:
        worst = top(findings)
        return Verdict("warn", "audit", worst.rule_id if worst else "")
    worst = top(denied)
    return Verdict("deny", "block" if settings.mode == "block" else "audit", worst.rule_id if worst else "")
