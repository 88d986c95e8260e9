"""Approvals of LangChain: the decisions that resume an agent with `HumanInTheLoopMiddleware`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.frameworks import approval_decisions
from cylestio_monitor.capture.patching import Target

if TYPE_CHECKING:
    from collections.abc import Callable


def _process_decision(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the function that applies one decision: `(decision, tool_call, config)`."""

    @functools.wraps(original)
    def process(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        decision = args[0] if args else kwargs.get("decision")
        call = args[1] if len(args) > 1 else kwargs.get("tool_call")
        kind = decision.get("type") if isinstance(decision, dict) else None
        edited = decision.get("edited_action") if isinstance(decision, dict) and kind == "edit" else None
        asked = edited if isinstance(edited, dict) else call
        if kind in {"approve", "edit", "reject"} and isinstance(asked, dict):
            approval_decisions.record("langchain", asked.get("name"), asked.get("args"), allow=kind != "reject")
        return answer

    return process


TARGETS = (
    Target(
        "langchain.agents.middleware.human_in_the_loop",
        "HumanInTheLoopMiddleware",
        "_process_decision",
        _process_decision,
        optional=True,
    ),
)
