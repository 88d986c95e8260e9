"""Reads the call from a span of another instrumentation, in each of the formats in use.

Read are, the first that a side has: the GenAI message JSON (`gen_ai.input.messages`), indexed attributes
(`gen_ai.prompt.N.content`, `llm.input_messages.N.message.content`), span and log events (`gen_ai.user.message`), and
whole requests and answers in one attribute (`input.value`, `traceloop.entity.input`). Several formats on one span say
the same thing twice; reading only the best one reports each finding once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.capture.parsing.fields import label
from cylestio_monitor.capture.parsing.reading import PassedOver
from cylestio_monitor.model import Call, Message, Part, Result

if TYPE_CHECKING:
    from collections.abc import Iterable

TOOL = "execute_tool"
RETRIEVAL = "retrieval"

_OPENINFERENCE_KINDS = {
    "LLM": "chat",
    "EMBEDDING": "embeddings",
    "TOOL": TOOL,
    "AGENT": "invoke_agent",
    "RETRIEVER": RETRIEVAL,
    "RERANKER": RETRIEVAL,
    "CHAIN": "invoke_workflow",
    "GUARDRAIL": "invoke_workflow",
    "EVALUATOR": "invoke_workflow",
}
_TRACELOOP_KINDS = {"tool": TOOL, "agent": "invoke_agent", "workflow": "invoke_workflow", "task": "invoke_workflow"}
_REQUEST_TYPES = {"chat": "chat", "completion": "text_completion", "embedding": "embeddings", "rerank": RETRIEVAL}
_SAME_OPERATION = {"completion": "text_completion", "embedding": "embeddings", "execute_task": "invoke_workflow"}

_PROVIDERS = (semconv.PROVIDER_NAME, "gen_ai.system", "llm.provider", "llm.system", "llm.vendor")
_MODELS = (
    semconv.REQUEST_MODEL,
    "llm.model_name",
    "llm.request.model_name",
    "llm.request.model",
    "embedding.model_name",
)
_SESSIONS = (semconv.CONVERSATION_ID, "session.id", "traceloop.association.properties.session_id")
_USERS = (semconv.ENDUSER_ID, "user.id", "traceloop.association.properties.user_id")
_TOOL_NAMES = (semconv.TOOL_NAME, "tool.name", "mcp.tool.name", "traceloop.entity.name")

_RAW_INPUTS = (
    *("input.value", "traceloop.entity.input", "gen_ai.task.input", "gen_ai.prompt", "llm.prompts"),
    *("gcp.vertex.agent.llm_request", "gcp.vertex.agent.tool_call_args", "tool_arguments", "mlflow.spanInputs"),
    *("ai.prompt", "ai.prompt.messages", "ai.toolCall.args", "lk.chat_ctx", "request_data"),
)
_RAW_OUTPUTS = (
    *("output.value", "traceloop.entity.output", "gen_ai.task.output", "gen_ai.completion", "llm.completions"),
    *("gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_response", "tool_response", "mlflow.spanOutputs"),
    *("ai.response.text", "ai.response.toolCalls", "ai.toolCall.result", "final_result", "response_data"),
)
_EVENT_LISTS = ("events", "all_messages_events", "pydantic_ai.all_messages")
_TOOL_LISTS = (semconv.TOOL_DEFINITIONS, "gen_ai.request.tools", "model_request_parameters")

_MARKS = ("gen_ai.", "llm.", "traceloop.", "openinference.", "mcp.", "gcp.vertex.agent.", "mlflow.span", "ai.prompt")
_SHELLS = frozenset({"message", "message_content", "tool_call", "document", "embedding", "tool"})


class MessageEvent(NamedTuple):
    """A span event or a log record, as far as messages are concerned."""

    name: str
    attributes: Mapping[str, Any]


class SpanContent(NamedTuple):
    """The call that a span describes.

    Attributes:
        call: What went in.
        result: What came back.
        wraps: The span is of an agent, a chain or a workflow: its content is that of the calls inside it.
    """

    call: Call
    result: Result
    wraps: bool

    @property
    def has_content(self) -> bool:
        """Returns whether there is anything to scan."""
        call, result = self.call, self.result
        return bool(
            call.system
            or call.messages
            or call.tools
            or result.messages
            or call.arguments is not None
            or result.response is not None
        )


def is_genai(attributes: Mapping[str, Any]) -> bool:
    """Returns whether any attribute is one that only GenAI and MCP instrumentations set."""
    return any(key.startswith(_MARKS) for key in attributes)


def is_afterword(attributes: Mapping[str, Any]) -> bool:
    """Returns whether the span only repeats one that was made for the same call before, to add a streamed answer."""
    return attributes.get("logfire.span_type") == "log" and semconv.OUTPUT_MESSAGES in attributes


def operation(attributes: Mapping[str, Any]) -> str:
    """The operation in the words of the conventions; empty where the attributes do not say it."""
    name = attributes.get(semconv.OPERATION_NAME)
    if name:
        name = label(name)
        return _SAME_OPERATION.get(name, name)
    for key, table in (
        ("openinference.span.kind", _OPENINFERENCE_KINDS),
        ("traceloop.span.kind", _TRACELOOP_KINDS),
        ("llm.request.type", _REQUEST_TYPES),
    ):
        name = attributes.get(key)
        if isinstance(name, str) and name in table:
            return table[name]
    return ""


def read(name: str, attributes: Mapping[str, Any], events: Iterable[MessageEvent]) -> SpanContent:
    """Reads a span; what is of another type than its instrumentation should write is read as something said.

    Args:
        name: The span's name.
        attributes: Its attributes; where it is an MCP request, they say so.
        events: Its events, and the log records that were written for it.
    """
    passed_over = PassedOver()
    with passed_over:
        found = _read(name, attributes, events)
    if left := passed_over.new_parts():
        found.call.messages = [Message("user", left), *found.call.messages]
    return found


def _read(name: str, attributes: Mapping[str, Any], events: Iterable[MessageEvent]) -> SpanContent:
    does = operation(attributes)
    call = Call(does, name, kind="internal")
    call.provider = _text(attributes, _PROVIDERS)
    call.model = _text(attributes, _MODELS)
    call.conversation_id = _text(attributes, _SESSIONS)
    call.user_id = _text(attributes, _USERS)
    if does == TOOL:
        call.tool_name = _text(attributes, _TOOL_NAMES) or name
    result = Result()
    _genai(attributes, call, result)
    _indexed(attributes, call, result)
    for event in events:
        _event(event, call, result)
    _event_list(attributes, call, result)
    _raw(attributes, call, result)
    if not call.tools:
        key = next((key for key in _TOOL_LISTS if attributes.get(key)), None)
        call.tools = message_parts.tool_definitions(_plain(attributes[key]), key) if key else []
    wraps = does not in semconv.INFERENCE and does not in {TOOL, RETRIEVAL} and semconv.MCP_METHOD not in attributes
    if is_afterword(attributes):
        call.system, call.messages, call.tools = [], [], []
    return SpanContent(call, result, wraps)


def _genai(attributes: Mapping[str, Any], call: Call, result: Result) -> None:
    """The GenAI message JSON, on a span or on the event that carries the details of an operation."""
    if value := attributes.get(semconv.SYSTEM_INSTRUCTIONS):
        call.system = message_parts.parts(_plain(value), semconv.SYSTEM_INSTRUCTIONS)
    if value := attributes.get(semconv.INPUT_MESSAGES):
        call.messages = message_parts.messages(_plain(value), semconv.INPUT_MESSAGES, "user")
    if value := attributes.get(semconv.OUTPUT_MESSAGES):
        result.messages = message_parts.messages(_plain(value), semconv.OUTPUT_MESSAGES, "assistant")
    if (value := attributes.get(semconv.TOOL_CALL_ARGUMENTS)) is not None:
        call.arguments = _plain(value)
    if (value := attributes.get(semconv.TOOL_CALL_RESULT)) is not None:
        result.response = _plain(value)


def _indexed(attributes: Mapping[str, Any], call: Call, result: Result) -> None:
    """Attributes with the number of the message in their name."""
    for prefix in ("llm.input_messages", "gen_ai.prompt"):
        if not call.messages:
            call.messages = message_parts.messages(_unflattened(attributes, prefix), prefix, "user")
    for prefix in ("llm.output_messages", "gen_ai.completion"):
        if not result.messages:
            result.messages = message_parts.messages(_unflattened(attributes, prefix), prefix, "assistant")
    for prefix in ("llm.tools", "llm.request.functions"):
        if not call.tools:
            call.tools = message_parts.tool_definitions(_unflattened(attributes, prefix), prefix)
    if not call.messages:
        texts = _texts(attributes, "embedding.embeddings", "text")
        call.messages = [Message("user", [Part("text", text, path=path)]) for text, path in texts]
    for prefix in ("retrieval.documents", "reranker.output_documents"):
        for text, path in _texts(attributes, prefix, "content"):
            # What a search brings in is as little to be trusted as what a tool returns.
            result.messages.append(Message("tool", [Part("tool_call_response", text, path=path)]))


def _event(event: MessageEvent, call: Call, result: Result) -> None:
    """Span events and log records: one for each message, or one with all of them."""
    if event.name == "gen_ai.client.inference.operation.details":
        if not call.messages and not result.messages:
            _genai(event.attributes, call, result)
        return
    if not event.name.startswith("gen_ai.") or not event.attributes:
        return
    _, kind, last = f"{event.name}..".split(".")[:3]
    answers = kind == "choice" or "completion" in event.name
    role = kind if last == "message" else "assistant" if answers else "user"
    body: dict[str, Any] = {key: _plain(value) for key, value in event.attributes.items()}
    for key in ("gen_ai.prompt", "gen_ai.completion", "gen_ai.event.content"):
        if key in body:
            body = {"content": body[key]}
    if not any(body.get(key) for key in ("content", "message", "tool_calls", "body")):
        return
    target = result.messages if answers else call.messages
    body.setdefault("role", role)
    target += message_parts.messages(body.get("message", body), event.name, str(body["role"]))


def _event_list(attributes: Mapping[str, Any], call: Call, result: Result) -> None:
    """Events that were kept in an attribute, as a list of objects with `event.name`."""
    for key in _EVENT_LISTS:
        items = _plain(attributes.get(key))
        if call.messages or not isinstance(items, list):
            continue
        named = [item for item in items if isinstance(item, dict) and "event.name" in item]
        for item in named:
            _event(MessageEvent(str(item["event.name"]), item), call, result)
        if not named:
            call.messages = message_parts.messages(items, key, "user")


def _raw(attributes: Mapping[str, Any], call: Call, result: Result) -> None:
    """Whole requests and answers in one attribute, where a side has nothing better."""
    is_tool = call.operation == TOOL
    if call.arguments is None and not call.messages and not call.system:
        key = next((key for key in _RAW_INPUTS if attributes.get(key)), None)
        if key is not None and is_tool:
            call.arguments = _plain(attributes[key])
        elif key is not None:
            call.messages = message_parts.messages(_plain(attributes[key]), key, "user")
    if result.response is None and not result.messages:
        key = next((key for key in _RAW_OUTPUTS if attributes.get(key)), None)
        if key is not None and is_tool:
            result.response = _plain(attributes[key])
        elif key is not None:
            result.messages = message_parts.messages(_plain(attributes[key]), key, "assistant")


def _unflattened(attributes: Mapping[str, Any], prefix: str) -> object:
    """`prefix.0.a.b` and its like as the list that they were flattened from; `None` where there is none."""
    start = f"{prefix}."
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        if not key.startswith(start):
            continue
        *parents, last = key[len(start) :].split(".")
        node = tree
        for name in parents:
            child = node.get(name)
            if not isinstance(child, dict):
                child = node[name] = {}
            node = child
        node[last] = _plain(value)
    return _listed(tree) if any(key.isdigit() for key in tree) else None


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if len(node) == 1 and next(iter(node)) in _SHELLS:
        return _listed(next(iter(node.values())))
    numbers = [int(key) for key in node if key.isdigit() and len(key) < 5]
    if not numbers or len(numbers) != len(node):
        return {key: _listed(value) for key, value in node.items()}
    # A number that is missing keeps its place, so that a path names the attribute it stands for.
    return [_listed(node.get(str(number))) for number in range(min(max(numbers) + 1, message_parts.MAX_ITEMS))]


def _texts(attributes: Mapping[str, Any], prefix: str, field: str) -> list[tuple[object, str]]:
    items = _unflattened(attributes, prefix)
    listed = enumerate(items) if isinstance(items, list) else ()
    return [
        (item[field], f"{prefix}[{number}].{field}")
        for number, item in listed
        if isinstance(item, dict) and item.get(field)
    ]


def _plain(value: object) -> object:
    """An attribute's value: JSON text decoded, tuples as lists."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, list)):
        return list(value)
    return message_parts.decoded(value)


def _text(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((label(attributes[key]) for key in keys if attributes.get(key)), None)
