"""Approvals of the OpenAI Agents SDK: the decision about a tool with `needs_approval`, however it was made."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.frameworks import approval_decisions
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.capture.patching import Target

if TYPE_CHECKING:
    from collections.abc import Callable


def _decision(*, allow: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator for the method that takes a decision: `(approval_item, ...)`."""

    def decorate(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def decide(*args: Any, **kwargs: Any) -> Any:
            answer = original(*args, **kwargs)
            item = args[1] if len(args) > 1 else kwargs.get("approval_item")
            name, arguments = getattr(item, "name", None), getattr(item, "arguments", None)
            if name:
                approval_decisions.record("openai-agents", name, message_parts.decoded(arguments), allow=allow)
            return answer

        return decide

    return decorate


TARGETS = (
    Target("agents.run_context", "RunContextWrapper", "approve_tool", _decision(allow=True), optional=True),
    Target("agents.run_context", "RunContextWrapper", "reject_tool", _decision(allow=False), optional=True),
)
