"""Permissions of the Claude Agent SDK: the answer of `can_use_tool` to the process that asks for a tool."""

from __future__ import annotations

import functools
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.frameworks import approval_decisions
from cylestio_monitor.capture.parsing.fields import as_dict
from cylestio_monitor.capture.patching import Target

if TYPE_CHECKING:
    from collections.abc import Callable

_asked: ContextVar[dict[str, Any] | None] = ContextVar("cylestio_claude_permission", default=None)
"""The request for a permission that is being answered here."""


def _handle_control_request(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the method that answers a request of the process: `(self, request)`."""

    @functools.wraps(original)
    async def handle(*args: Any, **kwargs: Any) -> Any:
        request = as_dict(as_dict(args[1] if len(args) > 1 else kwargs.get("request")).get("request"))
        token = _asked.set(request if request.get("subtype") == "can_use_tool" else None)
        try:
            return await original(*args, **kwargs)
        finally:
            _asked.reset(token)

    return handle


def take_answer(data: object) -> None:
    """Records the decision in a line that is about to be written to the process.

    Args:
        data: The line.
    """
    asked = _asked.get()
    if asked is None or not isinstance(data, str):
        return
    try:
        response = as_dict(as_dict(json.loads(data)).get("response"))
    except ValueError:
        return
    decision = as_dict(response.get("response"))
    behavior = decision.get("behavior")
    if behavior in {"allow", "deny"}:
        arguments = decision.get("updatedInput") if behavior == "allow" else asked.get("input")
        allow = behavior == "allow"
        approval_decisions.record("claude-agent-sdk", asked.get("tool_name"), arguments, allow=allow)


TARGETS = (
    Target(
        "claude_agent_sdk._internal.query", "Query", "_handle_control_request", _handle_control_request, optional=True
    ),
)
