"""`AgentWorkflow` of LlamaIndex: the run of several agents is a workflow, and the turn of each agent a span inside it.

The workflow runs in steps, each in a task of its own. A turn begins with the first step of an agent and ends where the
next agent begins, or where the run ends.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers, control_flow
from cylestio_monitor.capture.frameworks.background_runs import around_background_run
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.model import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.pipeline import Invocation

OTHER_INSTRUMENTATIONS = (
    "openinference.instrumentation.llama_index",
    "opentelemetry.instrumentation.llamaindex",
    "opentelemetry.instrumentation.genai.llama_index",
    "openlit.instrumentation.llamaindex",
)


class _WorkflowRun:
    """A run of a workflow, and the turn of the agent that is at work in it."""

    __slots__ = ("_agent", "_turn")

    def __init__(self) -> None:
        self._agent: str | None = None
        self._turn: Invocation | None = None

    def turn(self, agent: str | None = None) -> Invocation | None:
        """Returns the turn of an agent, begun where another one was at work; without a name, the turn under way."""
        if agent is not None and agent != self._agent:
            self.end()
            self._agent = agent
            self._turn = call_wrappers.begin(lambda: agent_call(agent))
        return self._turn

    def end(self, task: Any = None) -> None:
        """Ends the turn under way.

        Args:
            task: The task of the whole run, where that has ended.
        """
        turn, self._turn, self._agent = self._turn, None, None
        if turn is None:
            return
        error = task.exception() if task is not None and not task.cancelled() else None
        if error is not None:
            control_flow.end_raised(turn, None, error)
        else:
            turn.end()


_run: ContextVar[_WorkflowRun | None] = ContextVar("cylestio_llamaindex_run", default=None)


def agent_call(name: str) -> Call:
    """Returns the call of an agent's turn."""
    return Call("invoke_agent", f"invoke_agent {name}", kind="internal", attributes={semconv.AGENT_NAME: name})


def task_of(handler: Any) -> Any:
    """Returns the future of a run from its handler, which was a future itself in earlier versions."""
    return getattr(handler, "_result_task", handler)


def _workflow(workflow: Any, _: tuple[Any, ...], __: dict[str, Any]) -> Call | None:
    if call_wrappers.is_traced(OTHER_INSTRUMENTATIONS):
        return None
    return Call("invoke_workflow", f"invoke_workflow {type(workflow).__name__}", kind="internal")


def _task_of_workflow(handler: Any) -> Any:
    """Returns the future of a run; the last agent's turn ends with it, before the workflow."""
    task, run = task_of(handler), _run.get()
    if run is not None and hasattr(task, "add_done_callback"):
        task.add_done_callback(run.end)
    return task


def _around_run(original: Callable[..., Any]) -> Callable[..., Any]:
    observed = around_background_run(_workflow, _task_of_workflow)(original)

    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        token = _run.set(None if call_wrappers.is_traced(OTHER_INSTRUMENTATIONS) else _WorkflowRun())
        try:
            return observed(*args, **kwargs)
        finally:
            _run.reset(token)

    return run


def _around_agent_step(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the step in which an agent asks its model: `(ctx, ev)`, where the event names the agent."""

    @functools.wraps(original)
    async def step(*args: Any, **kwargs: Any) -> Any:
        event = kwargs.get("ev", args[2] if len(args) > 2 else None)
        return await _inside_turn(original, args, kwargs, getattr(event, "current_agent_name", None))

    return step


def _around_tool_step(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the step that calls a tool for the agent at work."""

    @functools.wraps(original)
    async def step(*args: Any, **kwargs: Any) -> Any:
        return await _inside_turn(original, args, kwargs, None)

    return step


async def _inside_turn(
    original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], agent: str | None
) -> Any:
    run = _run.get()
    turn = run.turn(agent) if run is not None else None
    if turn is None:
        return await original(*args, **kwargs)
    with call_wrappers.Inside(turn):
        return await original(*args, **kwargs)


_MODULE, _CLASS = "llama_index.core.agent.workflow.multi_agent_workflow", "AgentWorkflow"

TARGETS = (
    Target(_MODULE, _CLASS, "run", _around_run),
    Target(_MODULE, _CLASS, "run_agent_step", _around_agent_step, optional=True),
    Target(_MODULE, _CLASS, "call_tool", _around_tool_step, optional=True),
)
