"""The findings about tool definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cylestio_monitor.model import ALERT_OF, SEVERITY_NUMBER, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.model import Severity, ToolDefinition

CHANGED: Final = "tool.definition.changed"
REFUSED: Final = "tool.definition.refused"
UNAPPROVED: Final = "tool.definition.unapproved"
SAME_NAME: Final = "tool.definition.same-name"
OTHER_TOOL: Final = "tool.definition.other-tool"

_INJECTIONS: Final = frozenset({"prompt_injection", "jailbreak", "tool_poisoning", "exfiltration"})


def raised(finding: Finding, found: Iterable[Finding]) -> Finding:
    """The finding, with a severity that counts an injection in the same definition."""
    injections = [
        SEVERITY_NUMBER[one.severity]
        for one in found
        if one.category in _INJECTIONS and one.subtype == "tool_definition" and one.path.startswith(finding.path)
    ]
    if finding.rule_id == UNAPPROVED or not injections:
        return finding
    severity: Severity = "critical" if max(injections) >= SEVERITY_NUMBER["high"] else "high"
    return replace(finding, severity=severity, alert=ALERT_OF[severity])


def finding_about(rule: str, severity: Severity, tool: ToolDefinition, reason: str) -> Finding:
    """A finding about a definition; its reason is no content."""
    return Finding(
        rule,
        "tool_poisoning",
        severity,
        ALERT_OF[severity],
        "input",
        "tool_definition",
        tool.path,
        0,
        0,
        owasp=("LLM03:2025", "ASI04"),
        atlas=("AML.T0110",),
        reason=reason,
    )
