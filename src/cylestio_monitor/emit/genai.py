"""A call and its result as `gen_ai.*` span attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.identity import Identity
    from cylestio_monitor.model import AttributeValue, Call, Message, Result

_REQUESTS = frozenset({"tool_call", "server_tool_call"})
_ANSWERS = frozenset({"tool_call_response", "server_tool_call_response"})

MAX_NAMES = 64
"""Tool names listed on one span."""

ERROR_OTHER = "_OTHER"
"""What the conventions set where an error has no better name."""


def at_start(call: Call, who: Identity) -> dict[str, AttributeValue]:
    """What is known before the call, so that a sampler can decide on it."""
    out: dict[str, AttributeValue] = {}
    if call.operation:
        out[semconv.OPERATION_NAME] = call.operation
    if call.provider:
        out[semconv.PROVIDER_NAME] = call.provider
    if call.model:
        out[semconv.REQUEST_MODEL] = call.model
    if call.tool_name:
        out[semconv.TOOL_NAME] = call.tool_name
    if call.server_address:
        out[semconv.SERVER_ADDRESS] = call.server_address
        if call.server_port:
            out[semconv.SERVER_PORT] = call.server_port
    if conversation := call.conversation_id or who.conversation_id:
        out[semconv.CONVERSATION_ID] = conversation
    if user := call.user_id or who.user_id:
        out[semconv.ENDUSER_ID] = user
    if who.agent_id:
        out[semconv.CYLESTIO_AGENT_ID] = who.agent_id
    if who.session_id:
        out[semconv.CYLESTIO_SESSION_ID] = who.session_id
    if call.tools:
        out[semconv.TOOLS_OFFERED] = [tool.name for tool in call.tools[:MAX_NAMES]]
    if answered := _tool_names(_last_turn(call.messages), _ANSWERS, call.messages):
        out[semconv.TOOLS_ANSWERED] = answered
    out.update(call.attributes)
    return out


def at_end(result: Result) -> dict[str, AttributeValue]:
    """What the answer says."""
    out: dict[str, AttributeValue] = {}
    if result.response_id:
        out[semconv.RESPONSE_ID] = result.response_id
    if result.model:
        out[semconv.RESPONSE_MODEL] = result.model
    if result.finish_reasons:
        out[semconv.RESPONSE_FINISH_REASONS] = result.finish_reasons
    if requested := _tool_names(result.messages, _REQUESTS, ()):
        out[semconv.TOOLS_REQUESTED] = requested
    usage = result.usage
    if usage is not None:
        if usage.input_tokens is not None:
            out[semconv.USAGE_INPUT_TOKENS] = usage.input_tokens
        if usage.output_tokens is not None:
            out[semconv.USAGE_OUTPUT_TOKENS] = usage.output_tokens
        if usage.cache_read is not None:
            out[semconv.USAGE_CACHE_READ] = usage.cache_read
        if usage.cache_write is not None:
            out[semconv.USAGE_CACHE_WRITE] = usage.cache_write
        if usage.reasoning is not None:
            out[semconv.USAGE_REASONING] = usage.reasoning
    out.update(result.attributes)
    return out


def error_type(error: BaseException) -> str:
    """``error.type`` of an exception: its class, by the conventions."""
    return type(error).__qualname__ or ERROR_OTHER


def _last_turn(messages: list[Message]) -> list[Message]:
    """What came after the model last spoke."""
    for number in range(len(messages), 0, -1):
        if messages[number - 1].role == "assistant":
            return messages[number:]
    return messages


def _tool_names(messages: Iterable[Message], types: frozenset[str], history: Iterable[Message]) -> list[str]:
    """Names of the tools in parts of these types.

    A response often carries only the id of its call: the name is then looked up in the calls of `history`.
    """
    named = [(part.name, part.id) for message in messages for part in message.parts if part.type in types]
    if not named:
        return []
    known: dict[str | None, str] = {}
    if any(not name for name, _ in named):
        known = {
            part.id: part.name
            for message in history
            for part in message.parts
            if part.type == "tool_call" and part.name
        }
    return [found for name, call_id in named[:MAX_NAMES] if (found := name or known.get(call_id, ""))]
