"""Findings in the words of the open proposal for guardrails in the GenAI conventions (pull request 427 there).

The names may change before the proposal is accepted, so they are an opt-in: ``semconv.guardrail: experimental``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cylestio_monitor import semconv
from cylestio_monitor._version import __version__
from cylestio_monitor.emit.security import most_severe
from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.policy import top

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cylestio_monitor.config import Settings
    from cylestio_monitor.model import AttributeValue, Finding, Verdict
    from cylestio_monitor.rules import Rule

EVENT: Final = "gen_ai.security.finding"

_GUARDRAIL: Final[dict[str, AttributeValue]] = {
    "gen_ai.security.guardrail.id": semconv.SCOPE,
    "gen_ai.security.guardrail.name": "Cylestio Monitor",
    "gen_ai.security.guardrail.version": __version__,
}
_VERDICTS: Final = {"allow": "allow", "audit": "allow", "warn": "warn", "modify": "modify", "deny": "deny"}
_ACTIONS: Final = {"allow": "allow", "audit": "allow", "modify": "modify", "block": "block"}
_WORST: Final = SEVERITY_NUMBER["critical"]


def attributes(
    findings: Sequence[Finding], verdict: Verdict, rules: Mapping[str, Rule], settings: Settings
) -> dict[str, AttributeValue]:
    """Returns the span attributes for the most severe finding; none where the setting is off."""
    worst = top(findings)
    if worst is None or settings.semconv.guardrail != "experimental":
        return {}
    return _finding(worst, verdict, rules)


def events(
    findings: Sequence[Finding], verdict: Verdict, rules: Mapping[str, Rule], settings: Settings
) -> Iterator[dict[str, AttributeValue]]:
    """Yields the attributes of one event ``gen_ai.security.finding`` for each finding; none where the setting is off.

    They never hold the matched text.
    """
    if settings.semconv.guardrail == "experimental":
        for finding in most_severe(findings):
            evidence = [f"path:{finding.path}", f"range:{finding.start}-{finding.end}", f"hash:{finding.match_hash}"]
            yield {**_finding(finding, verdict, rules), "gen_ai.security.finding.evidence": evidence}


def _finding(finding: Finding, verdict: Verdict, rules: Mapping[str, Rule]) -> dict[str, AttributeValue]:
    out: dict[str, AttributeValue] = {
        **_GUARDRAIL,
        "gen_ai.security.target.type": finding.target,
        "gen_ai.security.target.subtype": finding.subtype,
        "gen_ai.security.risk.finding": finding.category,
        "gen_ai.security.risk.score": SEVERITY_NUMBER[finding.severity] / _WORST,
        "gen_ai.security.verdict.type": _VERDICTS[verdict.decision],
        "gen_ai.security.verdict.reason": verdict.reason or finding.rule_id,
        "gen_ai.security.action.type": _ACTIONS[verdict.action],
        "gen_ai.security.policy.rule.id": finding.rule_id,
        "gen_ai.security.policy.id": semconv.SCOPE,
    }
    rule = rules.get(finding.rule_id)
    if rule is not None:
        out["gen_ai.security.policy.id"] = rule.ruleset
        out["gen_ai.security.policy.version"] = str(rule.version)
    return out
