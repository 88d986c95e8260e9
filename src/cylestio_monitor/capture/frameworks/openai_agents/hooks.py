"""The OpenAI Agents SDK: runs and the turns of their agents; the model calls are those of the OpenAI SDK."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks.background_runs import around_background_run
from cylestio_monitor.capture.frameworks.openai_agents import approvals, tools
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation

_turns: dict[int, tuple[Any, Invocation, call_wrappers.Inside | None]] = {}
"""The turns that are under way, by the identity of the SDK's span, which is kept beside them."""


def _start(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the start of a span of the SDK: that of an agent begins a turn. The SDK makes it with tracing off, too."""

    @functools.wraps(original)
    def start(self: Any, mark_as_current: bool = False) -> Any:
        answer = original(self, mark_as_current)
        data = self.span_data
        if data.type == "agent" and id(self) not in _turns and not _is_traced():
            invocation = call_wrappers.begin(lambda: _turn(data))
            if invocation is not None:
                inside = call_wrappers.Inside(invocation) if mark_as_current else None
                if inside is not None:
                    inside.__enter__()
                _turns[id(self)] = (self, invocation, inside)
        return answer

    return start


def _finish(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the end of a span of the SDK."""

    @functools.wraps(original)
    def finish(self: Any, reset_current: bool = False) -> Any:
        _, invocation, inside = _turns.pop(id(self), (None, None, None))
        if inside is not None:
            inside.__exit__(None, None, None)
        if invocation is not None:
            invocation.end(Result(error_type="agent_error") if self.error else None)
        return original(self, reset_current)

    return finish


def _is_traced() -> bool:
    return call_wrappers.is_traced(tools.OTHER_INSTRUMENTATIONS)


def _run(_: Any, __: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Reads a run: the workflow around the turns of the agents that hand over to each other."""
    if _is_traced():
        return None
    name = str(getattr(kwargs.get("run_config"), "workflow_name", None) or "Agent workflow")
    conversation = (
        kwargs.get("conversation_id")
        or getattr(kwargs.get("session"), "session_id", None)
        or getattr(kwargs.get("run_config"), "group_id", None)
    )
    return Call(
        "invoke_workflow",
        f"invoke_workflow {name}",
        kind="internal",
        conversation_id=str(conversation) if conversation else None,
    )


def _turn(data: Any) -> Call:
    name = str(data.name)
    return Call("invoke_agent", f"invoke_agent {name}", kind="internal", attributes={semconv.AGENT_NAME: name})


def _task(result: Any) -> Any:
    # The attribute was called `_run_impl_task` in earlier versions.
    return getattr(result, "run_loop_task", None) or getattr(result, "_run_impl_task", None)


TARGETS = (
    Target("agents.run", "AgentRunner", "run", call_wrappers.around_async(_run)),
    Target("agents.run", "AgentRunner", "run_streamed", around_background_run(_run, _task)),
    Target("agents.tracing.spans", "SpanImpl", "start", _start),
    Target("agents.tracing.spans", "SpanImpl", "finish", _finish),
    Target("agents.tracing.spans", "NoOpSpan", "start", _start),
    Target("agents.tracing.spans", "NoOpSpan", "finish", _finish),
    *tools.TARGETS,
    *approvals.TARGETS,
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of the SDK."""
    patches.apply(TARGETS, module)
