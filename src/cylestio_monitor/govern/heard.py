"""The texts of calls on their way into the conversation, which knows who has said a value first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor import semconv
from cylestio_monitor.govern.approvals.request import canonical
from cylestio_monitor.govern.collector import kept
from cylestio_monitor.model import SYSTEM_ROLES, TOOL_CALLS, speaker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cylestio_monitor.govern.collector import FindingCollector
    from cylestio_monitor.govern.definitions import ToolDefinitions
    from cylestio_monitor.govern.outcome import Actor
    from cylestio_monitor.govern.provenance import Conversation
    from cylestio_monitor.model import Call, Finding, ToolDefinition


_INSIDE: Final = "#"
"""Stands before the pointer of a value in a text that is itself JSON."""


def thread_of(call: Call) -> str:
    """A name of the conversation that a call without a session belongs to: what its first message says."""
    first = call.messages[0]
    return f"thread:{hash(tuple(_mark(first.role, part.content) for part in first.parts)):x}"


def scope_of(call: Call, agent: str, conversation: str) -> str:
    """A name of the agent's part of a conversation: agents of one session may have different tools of one name."""
    parts = [*call.system, *(part for one in call.messages if one.role in SYSTEM_ROLES for part in one.parts)]
    return f"{agent}:{conversation}:{hash(tuple(_mark('system', part.content) for part in parts)):x}"


def hear_call(conversation: Conversation, call: Call, span: str, findings: Iterable[Finding]) -> None:
    """Takes the parts of a model call that are new in its conversation.

    Args:
        conversation: The conversation.
        call: The call.
        span: Its span, as ``trace:span``.
        findings: What the scanner found in it: a part with an injection makes its values suspect.
    """
    suspects = tuple(one.path for one in findings if one.category == "prompt_injection")
    parts = [
        ("system", part, f"{semconv.SYSTEM_INSTRUCTIONS}:/{number}/{part.content_field}")
        for number, part in enumerate(call.system)
    ]
    parts += [
        (message.role, part, f"{semconv.INPUT_MESSAGES}:/{number}/parts/{index}/{part.content_field}")
        for number, message in enumerate(call.messages)
        for index, part in enumerate(message.parts)
    ]
    names: dict[str, str] = {}
    for role, part, place in parts:
        if part.type in TOOL_CALLS:
            names[part.id or ""] = part.name or ""
            continue
        speaker = speaker_of(part, role)
        if part.content is None or not conversation.is_new(_mark(speaker, part.content)):
            continue
        conversation.add(
            speaker,
            part.content,
            tool=part.name or names.get(part.id or "", ""),
            part=f"{span}:{place}{_INSIDE if isinstance(part.content, str) else ''}",
            suspect=part.path.startswith(suspects) if suspects else False,
        )


def hear_result(
    conversation: Conversation, tool: str, response: object, span: str, findings: Iterable[Finding]
) -> None:
    """Takes what a tool returned. Arguments as of `hear_call`."""
    if conversation.is_new(_mark("tool", response)):
        suspect = any(one.category == "prompt_injection" and one.subtype == "tool_result" for one in findings)
        inside = _INSIDE if isinstance(response, str) else ""
        conversation.add(
            "tool", response, tool=tool, part=f"{span}:{semconv.TOOL_CALL_RESULT}:{inside}", suspect=suspect
        )


def take_definitions(
    definitions: ToolDefinitions,
    tools: Sequence[ToolDefinition],
    call: Call,
    collector: FindingCollector,
    actor: Actor,
    *,
    place: str,
    mask: Callable[[Any], Any],
) -> list[str]:
    """Takes the definitions of tools that a server lists or that a model is offered.

    Args:
        definitions: The versions of definitions that are known.
        tools: The tools.
        call: The call that lists or offers them.
        collector: What the scanner found; takes the findings about definitions.
        actor: Who makes the call.
        place: Its span, as ``trace:span``.
        mask: Masks secrets and personal data in a value.

    Returns:
        The names of the tools whose listed definition has changed.
    """
    is_listed = semconv.MCP_METHOD in call.attributes
    if call.kind == "server" or (is_listed and not call.tool_server):
        return []  # what this process lists or is offered by a client; a server that cannot be told from others
    scope = "" if is_listed else scope_of(call, actor.agent, actor.conversation)
    try:
        found, changed = definitions.observe(
            tools, call.tool_server or "", scope, place=place, found=kept(collector), mask=mask
        )
        collector.add(found)
    except Exception as error:  # noqa: BLE001 -- a definition that could not be compared must not pass as one that was
        collector.add_incomplete(error, "input", "tool_definition", "tools")
        return []
    return changed if is_listed else []


def _mark(speaker: str, content: object) -> int:
    return hash((speaker, content if isinstance(content, str) else canonical(content)))
