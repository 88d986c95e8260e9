"""Tells which findings say little in a system prompt: the application wrote it, and it is read, never executed.

System prompts of frameworks tell the model never to refuse, to keep its orders, or not to run a command, in the words
of the rules. What proves little elsewhere proves nothing there. What is grave elsewhere is grave there, too: a memory
or a file that others wrote may be part of a system prompt. Secrets, personal data and disguises count as anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cylestio_monitor.model import Severity
    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule

MOST: Final[Severity] = "low"
"""Severity of such wording in a system prompt."""

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
    """Returns whether a rule finds wording of medium severity that the author of a system prompt may mean."""
    return rule.severity == "medium" and rule.category in _WORDING and not rule.rule_id.startswith(_DISGUISES)
