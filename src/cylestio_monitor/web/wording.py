"""Titles and sentences over stored facts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cylestio_monitor.errors import counted
from cylestio_monitor.govern import arguments, controller, sign_ins
from cylestio_monitor.govern.definitions import findings
from cylestio_monitor.model import INCOMPLETE, PROVENANCE
from cylestio_monitor.scan import Scanner

if TYPE_CHECKING:
    from cylestio_monitor.config import Loaded
    from cylestio_monitor.store.read.lists import GroupRow

SURFACES: Final = {
    ("llm", "input"): "a prompt",
    ("llm", "output"): "an answer",
    ("tool_call", "input"): "a tool call",
    ("tool_call", "output"): "a tool call",
    ("tool_result", "input"): "a tool result",
    ("tool_result", "output"): "a tool result",
    ("tool_definition", "input"): "a tool definition",
    ("tool_definition", "output"): "a tool definition",
    ("system", "input"): "the system prompt",
    ("memory", "input"): "the memory",
    ("memory", "output"): "the memory",
}
"""The name of each surface in a sentence, by subtype and target of a finding."""

STATES: Final = {
    "open": "Open",
    "in_review": "In review",
    "resolved": "Resolved",
    "false_alarm": "False alarm",
    "accepted_risk": "Accepted risk",
    "test_data": "Test data",
}
"""The name of each state of a group."""

STATE_KINDS: Final = {"open": "open", "in_review": "warn", "resolved": "good"}
"""The look of a state of a group."""

ACTION_KINDS: Final = {"block": "good", "modify": "good", "audit": "warn"}
"""The look of an action on a finding."""


_CHECKS: Final = {
    INCOMPLETE: "Text that could not be scanned whole",
    PROVENANCE: "Value that only an untrusted source had said",
    controller.LIMIT_RULE: "Limit exceeded",
    arguments.ARGUMENTS_RULE: "Arguments that the schema of the tool refuses",
    sign_ins.REPEATED_FAILURES: "Repeated failures to sign in",
    sign_ins.MANY_USERS: "Failures to sign in as many users",
    sign_ins.ROLE_CHANGE: "Change of roles within a session",
    findings.CHANGED: "Change that nobody approved",
    findings.REFUSED: "Refused definition",
    findings.UNAPPROVED: "Definition that nobody approved",
    findings.SAME_NAME: "Name of another server's tool",
    findings.OTHER_TOOL: "Orders about another tool",
}
"""The titles of findings of checks that are no rules."""


class RuleTitles:
    """The titles of the rules in force, and of the checks that are no rules."""

    def __init__(self, loaded: Loaded) -> None:
        """Loads the compiled rules, which takes about 0.1 s.

        Args:
            loaded: The settings, which name the rules.
        """
        source = loaded.source
        scanner = Scanner(loaded.settings, key=os.urandom(32), base_dir=source.parent if source else None)
        self._titles = {**_CHECKS, **{rule_id: rule.title for rule_id, rule in scanner.rules.items()}}

    def __call__(self, rule_id: str) -> str:
        """The title of a rule; of an unknown rule, its id."""
        return self._titles.get(rule_id, rule_id)


def surface(subtype: str, target: str) -> str:
    """The name of a surface in a sentence."""
    return SURFACES.get((subtype, target), subtype.replace("_", " "))


def place(group: GroupRow) -> str:
    """The surface of a group in a sentence, with the tool where that is its source."""
    kind, _, name = (group.source or "").partition(":")
    if kind == "tool" and name and group.subtype == "tool_result":
        return f"a {name} result"
    return surface(group.subtype, group.target)


def title(group: GroupRow, titles: RuleTitles) -> str:
    """The title of a group: its top rule and its place."""
    return f"{titles(group.rule_id)} in {place(group)}"


def followed(group: GroupRow, runs: int, acted: int) -> str:
    """A sentence that says in how many runs a text was seen, and in how many its words went into a tool call."""
    many = counted(runs, "run")
    if group.subtype == "tool_call":
        return f"The model asked for it in {many}."
    if not group.source:
        return f"Seen in {many}."
    if not acted:
        return f"Seen in {many}. No tool call is known to have used words of this source."
    if acted == runs:
        return f"Seen in {many}; a tool call used words of this source" + (" in each." if runs > 1 else ".")
    return f"Seen in {many}; a tool call used words of this source in {acted:,}."
