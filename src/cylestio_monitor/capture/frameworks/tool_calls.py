"""The call of a framework's tool."""

from __future__ import annotations

from typing import Any

from cylestio_monitor import semconv
from cylestio_monitor.model import Call, Result


def tool_call(name: object, arguments: Any, *, description: object = None, call_id: object = None) -> Call:
    """Returns the call of a tool.

    Args:
        name: The tool's name.
        arguments: Its arguments, any JSON-like value.
        description: Its text for the model.
        call_id: The id of the model's tool call.
    """
    call = Call("execute_tool", f"execute_tool {name}", kind="internal", tool_name=str(name), arguments=arguments)
    call.attributes = {semconv.TOOL_TYPE: "function"}
    if description:
        call.attributes[semconv.TOOL_DESCRIPTION] = str(description)
    if call_id:
        call.attributes[semconv.TOOL_CALL_ID] = str(call_id)
    return call


def tool_result(answer: Any) -> Result:
    """Returns the result of a tool that answers with its plain response."""
    return Result(response=answer)
