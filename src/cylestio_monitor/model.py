"""The data of one call: what was asked, what came back, what was found and what was decided.

Plain data without OpenTelemetry and without any SDK. A capture module builds a `Call` and a `Result`; the pipeline and
every layer below read them. The mutable types are `msgspec` structs, which are created in C.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

Severity: TypeAlias = Literal["none", "low", "medium", "high", "critical"]
Alert: TypeAlias = Literal["none", "suspicious", "dangerous"]
Target: TypeAlias = Literal["input", "output"]
Subtype: TypeAlias = Literal["llm", "tool_call", "tool_result", "tool_definition", "system", "memory"]
FindingSubtype: TypeAlias = Subtype | Literal["event"]
"""Where a finding is: a surface of a call, or an event that the application logged."""

Speaker: TypeAlias = Literal["system", "user", "tool", "model"]
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
        subtype: Which surface: ``llm``, ``tool_call``, ``tool_result``, ``tool_definition``, ``system``, ``memory``;
            ``event`` for an event that the application logged.
        path: The place in the call, such as ``messages[2].content[0]``.
        start: First code point of the match in the original text of that place.
        end: The code point after the last.
        owasp: OWASP identifiers, LLM (``LLM01:2025``) and agentic (``ASI01``).
        atlas: MITRE ATLAS technique identifiers.
        match_hash: Keyed hash of the matched text, so that equal matches can be told without keeping them.
        reason: For the rule ``scan.incomplete``: the cap that was reached, or the type of the error. For the rule
            ``learned.injection``: the features that weighed most, the weightiest first, separated by commas. For rules
            of sign-ins: the numbers that were counted. For moderators: the categories of their answer.
        excerpt: The words around the match with secrets and personal data masked, for the local store; empty where none
            are kept.
    """

    rule_id: str
    category: str
    severity: Severity
    alert: Alert
    target: Target
    subtype: FindingSubtype
    path: str
    start: int
    end: int
    owasp: tuple[str, ...] = ()
    atlas: tuple[str, ...] = ()
    match_hash: str = ""
    reason: str = ""
    excerpt: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LocatedFinding(Finding):
    """A finding with its place in the content that is recorded of the call.

    Attributes:
        attribute: The content attribute that holds the text, such as ``gen_ai.input.messages``; empty where no content
            is recorded, or where the place of the text in it is not known.
        pointer: JSON pointer of the text in that attribute, such as ``/0/parts/1/content``.
        part_id: Keyed hash of the whole original text, equal for equal texts; empty where the text is not known yet.
        source: First speaker of the text: ``system``, ``user``, ``model`` or ``tool:<name>``.
    """

    attribute: str = ""
    pointer: str = ""
    part_id: str = ""
    source: str = ""


class RecordedText(NamedTuple):
    """One text of a call in the content that is recorded of it.

    Attributes:
        path: The place in the call, as findings name it.
        attribute: The content attribute.
        pointer: JSON pointer of the text in that attribute.
        part_id: Keyed hash of the whole original text.
        source: First speaker.
        length: Code points of the original text.
        masks: Of each masked range of the original its start, its end, and the length of what is recorded instead, in
            code points.
    """

    path: str
    attribute: str
    pointer: str
    part_id: str
    source: str
    length: int
    masks: Sequence[tuple[int, int, int]]


_INT64: Final = 1 << 63

INCOMPLETE: Final = "scan.incomplete"
"""Rule id of a finding that reports a part of a call that could not be scanned, or not as a whole."""

PROVENANCE: Final = "provenance.value"
"""Rule id of a finding that reports an argument value that only an untrusted source has said."""

MODERATOR: Final = "moderator."
"""Beginning of the rule ids of findings that a moderator made; its name follows."""

INCOMPLETE_CATEGORY: Final = "scan_incomplete"

MASKED_CATEGORIES: Final = frozenset({"secret", "sensitive_data"})
"""Categories whose matches are replaced, in recorded content and by a policy that redacts."""


def incomplete(reason: str, *, target: Target, subtype: Subtype, path: str, start: int = 0, end: int = 0) -> Finding:
    """Returns the finding that reports an unscanned part of a call.

    Args:
        reason: The cap that was reached, such as ``depth`` or ``length``, or the type of the error.
        target: The side of the call.
        subtype: The surface.
        path: The place of the part.
        start: First code point that was not scanned, where it is known.
        end: The code point after the last one that was not scanned.
    """
    return Finding(
        INCOMPLETE, INCOMPLETE_CATEGORY, "medium", "suspicious", target, subtype, path, start, end, reason=reason
    )


class Verdict(msgspec.Struct, frozen=True):
    """The judgement of the policy over the findings of one side of a call.

    Attributes:
        decision: The judgement itself, independent of the mode.
        action: The consequence; ``block`` only where an error was raised, ``modify`` only where content was changed.
        reason: The rule that decided, for the error message and the audit trail; empty when allowed.
    """

    decision: Decision = "allow"
    action: Action = "allow"
    reason: str = ""


class Part(msgspec.Struct):
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

    @property
    def content_field(self) -> str:
        """The field that holds the content in the JSON of the conventions."""
        return _CONTENT_FIELDS.get(self.type, "content")


_CONTENT_FIELDS: Final = {
    "tool_call": "arguments",
    "server_tool_call": "server_tool_call",
    "tool_call_response": "response",
    "server_tool_call_response": "server_tool_call_response",
    "uri": "uri",
    "file": "file_id",
}


class Message(msgspec.Struct):
    """One message of a conversation.

    Attributes:
        role: ``system``, ``user``, ``assistant``, ``tool``, or a provider's own.
        parts: Its content blocks, in order.
        finish_reason: Why the model stopped, for an answer.
    """

    role: str
    parts: list[Part]
    finish_reason: str | None = None


class ToolDefinition(msgspec.Struct):
    """A tool offered to the model, or listed by a server.

    Attributes:
        name: The tool's name.
        description: Its text for the model: where tool poisoning hides.
        parameters: JSON Schema of its arguments, or ``None``.
        type: ``function``, ``unreadable`` for a definition that could not be read, or a provider's own kind.
        path: Where it stood, such as ``tools[0]``.
        extra: Further fields that the model reads, such as examples, a grammar, or the server of the tool. They are
            scanned and not recorded.
    """

    name: str
    description: str | None = None
    parameters: object = None
    type: str = "function"
    path: str = ""
    extra: object = None


class Call(msgspec.Struct):
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
        withheld: Names of the tools that policy has taken out of the request.
        required_tool: A tool that policy denies and that the request makes the model call.
        tool_name: For a tool call: the tool.
        tool_server: For a call of an MCP tool: the name that its server gives itself, empty where it has given none;
            ``None`` where the server is to be looked up in what servers have listed.
        arguments: For a tool call: its arguments, any JSON-like value.
        attributes: Further span attributes known before the call, by their full names.
        server_address: Host of the endpoint.
        server_port: Port of the endpoint.
        conversation_id: ``gen_ai.conversation.id`` where the SDK call names one.
        user_id: ``enduser.id`` where the SDK call names one.
        changes: The surfaces whose content the capture module can replace: ``prompts``, ``answers``, ``arguments``,
            ``results``; and ``streamed_answers`` where it can replace the pieces of a streamed answer.
        withholds: Whether the answer is handed over only after the call has ended, so that it can be refused.
    """

    operation: str
    name: str
    kind: Kind = "client"
    provider: str | None = None
    model: str | None = None
    system: list[Part] = []
    messages: list[Message] = []
    tools: list[ToolDefinition] = []
    withheld: list[str] = []
    required_tool: str = ""
    tool_name: str | None = None
    tool_server: str | None = None
    arguments: object = None
    attributes: dict[str, AttributeValue] = {}
    server_address: str | None = None
    server_port: int | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    changes: frozenset[str] = frozenset()
    withholds: bool = False


TOOL_CALLS: Final = ("tool_call", "server_tool_call")
"""Part types by which a model asks for a tool."""

TOOL_RESULTS: Final = ("tool_call_response", "server_tool_call_response")
"""Part types that carry the answer of a tool."""

ASSISTANT_ROLES: Final = ("assistant", "model")
"""Roles of the model: ``model`` is the word of Google's API."""

SYSTEM_ROLES: Final = ("system", "developer")

TOOL_ROLES: Final = ("tool", "function")
"""Roles of the answer of a tool."""


def speaker_of(part: Part, role: str) -> Speaker:
    """Returns who said a part of a message with this role."""
    if part.type in TOOL_RESULTS or role in TOOL_ROLES:
        return "tool"
    if role in SYSTEM_ROLES:
        return "system"
    return "model" if role in ASSISTANT_ROLES else "user"


class Usage(msgspec.Struct):
    """Token counts of one call, as the conventions count them: input includes cache reads and writes.

    A count that is no integer from 0 on, or beyond 64 bits, counts as missing: a server may answer anything.

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

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 0 <= value < _INT64):
                setattr(self, name, None)


class Result(msgspec.Struct):
    """The answer to a call.

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

    messages: list[Message] = []
    tools: list[ToolDefinition] = []
    response: object = None
    response_id: str | None = None
    model: str | None = None
    finish_reasons: list[str] = []
    usage: Usage | None = None
    attributes: dict[str, AttributeValue] = {}
    error_type: str | None = None
