"""The tools of a request that policy takes out before it is sent, so that the model is not offered them.

Nothing of the application's is changed: the request gets a body of its own. A tool stays where the request forces it,
which is refused with the reason of the policy, and where the provider would refuse the request without it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.model import TOOL_CALLS, TOOL_RESULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.model import Call, ToolDefinition

_PLACE: Final = re.compile(r"(tools|functions)\[(\d+)\]")
_NOT_ONE_TOOL: Final = ("mcp", "namespace", "tool_search")
"""Beginnings of the types of entries that stand for several tools, or that others need."""
_ABOUT_TOOLS: Final = {
    "tools": ("tool_choice", "parallel_tool_calls", "max_tool_calls"),
    "functions": ("function_call",),
}
"""Fields that a provider refuses in a request without tools."""
_KINDS_OF_CHOICE: Final = frozenset({"function", "custom", "tool", "auto", "any", "none", "required", "allowed_tools"})
_ANY: Final = frozenset({"any", "required"})


def withhold(call: Call, body: Any, denied: Sequence[ToolDefinition]) -> dict[str, Any]:
    """Takes denied tools out of a call; what its request has in place of its own fields, empty where nothing changes.

    A value of ``None`` in the result stands for a field that is left out.

    Args:
        call: The call; it is told which tools were taken out, and which denied tool the request forces.
        body: Its JSON body.
        denied: The tools that policy denies.
    """
    choice = body.get("tool_choice", body.get("function_call")) if isinstance(body, dict) else None
    forced = _named(choice)
    found: dict[str, dict[int, ToolDefinition]] = {}
    for tool in denied:
        place = _PLACE.fullmatch(tool.path)
        if place is None or tool.type.startswith(_NOT_ONE_TOOL):
            continue
        if tool.name in forced:
            call.required_tool = tool.name
        else:
            found.setdefault(place[1], {})[int(place[2])] = tool
    changes: dict[str, Any] = {}
    for field, gone in found.items():
        given = body.get(field)
        if not isinstance(given, (list, tuple)):
            continue
        left = [item for number, item in enumerate(given) if number not in gone]
        if left:
            changes[field] = left
        elif _must_call(choice):
            call.required_tool = call.required_tool or next(iter(gone.values())).name
        elif not _mentions_tools(call):
            changes.update(dict.fromkeys((field, *_ABOUT_TOOLS[field])))
    taken = [tool for field, gone in found.items() if field in changes for tool in gone.values()]
    paths = {tool.path for tool in taken}
    call.withheld = [tool.name for tool in taken]
    call.tools = [tool for tool in call.tools if tool.path not in paths]
    return changes


def replaced(options: Any, changes: dict[str, Any]) -> Any:
    """A copy of an SDK's request options with other fields in the body.

    Args:
        options: The options; they stay as they are.
        changes: The result of `withhold`.
    """
    body, extra = options.json_data, getattr(options, "extra_json", None)
    update: dict[str, Any] = {"json_data": _changed(body, changes)}
    if isinstance(extra, dict):
        update["extra_json"] = _changed(extra, {name: value for name, value in changes.items() if name in extra})
    copy = getattr(options, "model_copy", None) or options.copy  # pydantic 1
    return copy(update=update)


def _changed(body: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**body, **changes}.items() if name not in changes or value is not None}


def _named(choice: Any) -> frozenset[str]:
    """The tools that a request names in its choice, in the form of any provider."""
    if not isinstance(choice, dict):
        return frozenset()
    found: set[Any] = set()
    open_choices: list[Any] = [choice]
    while open_choices:
        one = open_choices.pop()
        if isinstance(one, dict):
            found.add(one.get("name"))
            found.add(one.get("type"))  # a tool of the provider has no other name
            open_choices += [one.get(name) for name in ("function", "custom", "allowed_tools", "tools")]
        elif isinstance(one, (list, tuple)):
            open_choices += one
    return frozenset(name for name in found if isinstance(name, str)) - _KINDS_OF_CHOICE


def _must_call(choice: Any) -> bool:
    """Returns whether the model has to call one of the tools."""
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return isinstance(kind, str) and kind in _ANY


def _mentions_tools(call: Call) -> bool:
    """Returns whether the conversation holds calls of tools, which some providers take only with their definitions."""
    kinds = (*TOOL_CALLS, *TOOL_RESULTS)
    return any(part.type in kinds for message in call.messages for part in message.parts)
