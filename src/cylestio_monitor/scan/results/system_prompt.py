"""Tells which findings say little in a system prompt: the application wrote it, and it is read, never executed.

System prompts of frameworks tell the model to ignore earlier instructions, never to refuse, or not to run a dangerous
command, in the words of the rules. Secrets, personal data and disguises count there as anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cylestio_monitor.model import SEVERITY_NUMBER

if TYPE_CHECKING:
    from cylestio_monitor.model import Severity
    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule

MOST: Final[Severity] = "low"
"""Highest severity of wording in a system prompt."""

_WORDING = frozenset(
    {
        "prompt_injection",
        "jailbreak",
        "system_prompt_leakage",
        "destructive_command",
        "code_execution",
        "exfiltration",
        "excessive_agency",
        "resource_abuse",
        "keyword",
    }
)
_DISGUISES = "evasion."


def is_wording(rule: CompiledRule) -> bool:
    """Returns whether a rule finds wording that the author of a system prompt may mean, graver elsewhere."""
    is_graver = SEVERITY_NUMBER[rule.severity] > SEVERITY_NUMBER[MOST]
    return is_graver and rule.category in _WORDING and not rule.rule_id.startswith(_DISGUISES)
