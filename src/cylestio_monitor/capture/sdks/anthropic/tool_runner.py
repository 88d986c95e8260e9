"""The tool runner of the Anthropic SDK before version 1, which makes no spans: one run is one trace with tool spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.model import Call, Result

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the calls of tools and the loop around them, as far as the module defines them."""
    targets = (
        ("BetaFunctionTool", "call", call_wrappers.around(_tool, _answer)),
        ("BetaAsyncFunctionTool", "call", call_wrappers.around_async(_tool, _answer)),
        ("BaseSyncToolRunner", "__run__", call_wrappers.around_steps(_run)),
        ("BaseAsyncToolRunner", "__run__", call_wrappers.around_steps_async(_run)),
    )
    for owner, name, wrap in targets:
        kind = getattr(module, owner, None)
        if kind is not None and kind.__module__ == module.__name__ and name in vars(kind):
            patches.wrap(kind, name, wrap)


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    name = str(tool.name)
    given = args[0] if args else kwargs.get("input")
    call = Call("execute_tool", f"execute_tool {name}", kind="internal", tool_name=name, arguments=given)
    call.attributes[semconv.TOOL_TYPE] = "function"
    return call


def _answer(answer: Any) -> Result:
    return Result(response=answer)


def _run(_: Any, __: tuple[Any, ...], ___: dict[str, Any]) -> Call:
    return Call("invoke_agent", "invoke_agent", kind="internal", provider="anthropic")
