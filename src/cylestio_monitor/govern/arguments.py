"""Validation of the arguments of a tool call against the tool's own schema."""

from __future__ import annotations

import logging
from typing import Final, Literal, TypeAlias

from cylestio_monitor.govern import schemas
from cylestio_monitor.model import ALERT_OF, Finding, incomplete

log = logging.getLogger("cylestio_monitor")

InvalidArguments: TypeAlias = Literal["ignore", "audit", "deny"]

ARGUMENTS_RULE: Final = "tool.arguments"
"""Rule id of a finding that reports arguments that break the tool's own schema."""

_MAX_NAMED: Final = 64  # tools that the log names as without a usable schema


class ArgumentValidation:
    """The validation of all calls of one process."""

    def __init__(self, invalid_arguments: InvalidArguments) -> None:
        """Takes what follows where arguments break the schema; with ``ignore`` nothing is validated."""
        self._invalid_arguments = invalid_arguments
        self._unusable: set[str] = set()

    def test(self, schema: object, server: str, tool: str, arguments: object, path: str) -> tuple[list[Finding], bool]:
        """Returns the findings about the arguments of a call, and whether they break the schema. Never raises.

        Arguments that cannot be validated have a finding only where calls would be denied: the log names the tool.

        Args:
            schema: The schema of the tool's arguments; anything else than a mapping stands for none.
            server: The server that offers the tool.
            tool: The tool's name.
            arguments: The arguments.
            path: Their place.
        """
        if self._invalid_arguments == "ignore" or not isinstance(schema, dict):
            return [], False
        try:
            broken = schemas.violations(schema, arguments)
        except ValueError as error:
            self._warn(f"{server}/{tool}" if server else tool, error)
            unread = incomplete("schema", target="output", subtype="tool_call", path=path)
            return ([unread] if self._invalid_arguments == "deny" else []), False
        return [_finding(one, path) for one in broken], bool(broken)

    def _warn(self, tool: str, error: ValueError) -> None:
        """Says once for each tool that its arguments are not validated."""
        if tool not in self._unusable and len(self._unusable) < _MAX_NAMED:
            self._unusable.add(tool)
            log.warning("The arguments of the tool %r are not validated: %s", tool[:80], str(error)[:200])


def _finding(violation: schemas.Violation, path: str) -> Finding:
    return Finding(
        ARGUMENTS_RULE,
        "excessive_agency",
        "low",
        ALERT_OF["low"],
        "output",
        "tool_call",
        path + violation.place,
        0,
        0,
        owasp=("LLM06:2025", "ASI02"),
        atlas=("AML.T0053",),
        reason=violation.reason,
    )
