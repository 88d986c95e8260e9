"""The data that travels the one road: a call, its answer, the findings and the verdict.

Plain data: nothing of OpenTelemetry and nothing of any SDK. A capture module builds a `Call` and a `Result`; the
pipeline and everything below read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["none", "low", "medium", "high", "critical"]
Alert: TypeAlias = Literal["none", "suspicious", "dangerous"]
Target: TypeAlias = Literal["input", "output"]
Subtype: TypeAlias = Literal["llm", "tool_call", "tool_result", "tool_definition", "system", "memory"]
Kind: TypeAlias = Literal["client", "server", "internal"]
Action: TypeAlias = Literal["allow", "audit", "modify", "block"]
Decision: TypeAlias = Literal["allow", "audit", "warn", "modify", "deny"]
Scalar: TypeAlias = str | bool | int | float
AttributeValue: TypeAlias = Scalar | list[str] | list[int] | list[float] | list[bool]

SEVERITIES: tuple[Severity, ...] = ("none", "low", "medium", "high", "critical")
SEVERITY_NUMBER: dict[str, int] = {name: number for number, name in enumerate(SEVERITIES)}
ALERTS: tuple[Alert, ...] = ("none", "suspicious", "dangerous")
ALERT_OF: dict[str, Alert] = {
    "none": "none",
    "low": "suspicious",
    "medium": "suspicious",
    "high": "dangerous",
    "critical": "dangerous",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One match of one rule at one place.

    Attributes:
        rule_id: The rule's id, such as ``secret.aws-access-key-id``.
        category: One of the categories of the attribute table, such as ``secret``.
        severity: ``low`` to ``critical``.
        alert: ``suspicious`` for low and medium, ``dangerous`` for high and critical.
        target: ``input`` for what goes to the model or tool, ``output`` for what comes back.
        subtype: Which surface: ``llm``, ``tool_call``, ``tool_result``, ``tool_definition``, ``system``, ``memory``.
        path: The place in the call, such as ``messages[2].content[0]``.
        start: First code point of the match in the original text of that place.
        end: The code point after the last.
        owasp: OWASP identifiers, LLM (``LLM01:2025``) and agentic (``ASI01``).
        atlas: MITRE ATLAS technique identifiers.
        match_hash: Keyed hash of the matched text, so that equal matches can be told without keeping them.
    """

    rule_id: str
    category: str
    severity: Severity
    alert: Alert
    target: Target
    subtype: Subtype
    path: str
    start: int
    end: int
    owasp: tuple[str, ...] = ()
    atlas: tuple[str, ...] = ()
    match_hash: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What policy says of the findings of one side of a call.

    Attributes:
        decision: The judgement.
        action: What is done about it.
        reason: The rule that decided, for the error message and the audit trail; empty when allowed.
    """

    decision: Decision = "allow"
    action: Action = "allow"
    reason: str = ""


@dataclass(slots=True)
class Part:
    """One content block of a message, by the part types of the GenAI message JSON.

    Attributes:
        type: ``text``, ``reasoning``, ``tool_call``, ``tool_call_response``, ``server_tool_call``,
            ``server_tool_call_response``, ``blob``, ``file``, ``uri``, ``unreadable``, or a provider's own. An
            ``unreadable`` part stands for a block, a request or an answer that could not be read; its content names
            the error. Block mode refuses it.
        content: Text; the arguments of a tool call; the response of a tool; a URI or file id.
        name: The tool's name, for tool parts.
        id: The tool call's id, for tool parts.
        path: Where it stood in the SDK's request or answer, such as ``messages[2].content[0]``.
        mime_type: For ``blob``, ``file`` and ``uri``.
    """

    type: str
    content: object = None
    name: str | None = None
    id: str | None = None
    path: str = ""
    mime_type: str | None = None


@dataclass(slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: ``system``, ``user``, ``assistant``, ``tool``, or a provider's own.
        parts: Its content blocks, in order.
        finish_reason: Why the model stopped, for an answer.
    """

    role: str
    parts: list[Part]
    finish_reason: str | None = None


@dataclass(slots=True)
class ToolDefinition:
    """A tool offered to the model, or listed by a server.

    Attributes:
        name: The tool's name.
        description: Its text for the model: where tool poisoning hides.
        parameters: JSON Schema of its arguments, or ``None``.
        type: ``function``, ``unreadable`` for a definition that could not be read, or a provider's own kind.
        path: Where it stood, such as ``tools[0]``.
    """

    name: str
    description: str | None = None
    parameters: object = None
    type: str = "function"
    path: str = ""


@dataclass(slots=True)
class Call:
    """One operation about to happen: a model call, a tool call, an MCP request, an agent's turn.

    Attributes:
        operation: ``gen_ai.operation.name``: ``chat``, ``embeddings``, ``execute_tool``, ``invoke_agent`` and so on;
            empty for an MCP request that is no GenAI operation.
        name: The span's name by the conventions, such as ``chat claude-sonnet-4-5``.
        kind: The span's kind.
        provider: ``gen_ai.provider.name``.
        model: ``gen_ai.request.model``.
        system: System instructions.
        messages: The conversation so far, in order.
        tools: What the model may call.
        tool_name: For a tool call: the tool.
        arguments: For a tool call: its arguments, any JSON-like value.
        attributes: Further span attributes known before the call, by their full names.
        server_address: Host of the endpoint.
        server_port: Port of the endpoint.
        conversation_id: ``gen_ai.conversation.id`` where the SDK call names one.
        user_id: ``enduser.id`` where the SDK call names one.
    """

    operation: str
    name: str
    kind: Kind = "client"
    provider: str | None = None
    model: str | None = None
    system: list[Part] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    tools: list[ToolDefinition] = field(default_factory=list)
    tool_name: str | None = None
    arguments: object = None
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    server_address: str | None = None
    server_port: int | None = None
    conversation_id: str | None = None
    user_id: str | None = None


@dataclass(slots=True)
class Usage:
    """Token counts of one call, as the conventions count them: input includes cache reads and writes.

    Attributes:
        input_tokens: All input tokens, cached ones included.
        output_tokens: All output tokens, reasoning included.
        cache_read: Input tokens read from the provider's cache.
        cache_write: Input tokens written to the provider's cache.
        reasoning: Output tokens spent on reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


@dataclass(slots=True)
class Result:
    """What came back.

    Attributes:
        messages: The model's answer, one message per choice.
        tools: Tool definitions that a server listed.
        response: For a tool call: what the tool returned, any JSON-like value.
        response_id: ``gen_ai.response.id``.
        model: ``gen_ai.response.model``.
        finish_reasons: ``gen_ai.response.finish_reasons``.
        usage: Token counts, where the answer had them.
        attributes: Further span attributes, by their full names.
        error_type: ``error.type`` of a failure that is not an exception, such as ``tool_error``.
    """

    messages: list[Message] = field(default_factory=list)
    tools: list[ToolDefinition] = field(default_factory=list)
    response: object = None
    response_id: str | None = None
    model: str | None = None
    finish_reasons: list[str] = field(default_factory=list)
    usage: Usage | None = None
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    error_type: str | None = None
