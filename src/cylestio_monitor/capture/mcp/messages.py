"""An MCP request and its answer, as they stand on the wire, read into a `Call` and a `Result`.

Both SDK majors, both sides and every transport come down to the same JSON: a method, its params, a result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.capture.parsing.fields import as_dict
from cylestio_monitor.model import Call, Message, Part, Result, ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Collection

    from cylestio_monitor.model import Kind

CALL_TOOL: Final = "tools/call"
LIST_TOOLS: Final = "tools/list"
GET_PROMPT: Final = "prompts/get"
SAMPLE: Final = "sampling/createMessage"
INITIALIZE: Final = "initialize"
DISCOVER: Final = "server/discover"
PROTOCOL_KEY: Final = "io.modelcontextprotocol/protocolVersion"

_NO_ARGUMENTS = frozenset({INITIALIZE, DISCOVER, "ping", "logging/setLevel", SAMPLE})
_NOT_SAID = frozenset({"_meta", "cursor", "inputResponses"})
_TOOL_FIELDS = frozenset({"name", "description", "inputSchema", "_meta", "icons"})
_BLOBS = {"image": "data", "audio": "data"}


def read_call(kind: Kind, method: str, params: Mapping[str, Any] | None, request_id: object = None) -> Call:
    """A request as a call: named by method and target, with what a person or a model put into it.

    Args:
        kind: ``client`` where the request is sent, ``server`` where it is answered, whoever of the two peers that is.
        method: The JSON-RPC method.
        params: The JSON-RPC params.
        request_id: The JSON-RPC id, where it is known.
    """
    given: Mapping[str, Any] = params if isinstance(params, Mapping) else {}
    call = Call(operation="", name=method, kind=kind, attributes={semconv.MCP_METHOD: method})
    if request_id is not None:
        call.attributes[semconv.JSONRPC_REQUEST_ID] = str(request_id)
    target = given.get("name")
    if method in {CALL_TOOL, GET_PROMPT}:
        call.arguments = given.get("arguments")
        if isinstance(target, str):
            call.name = f"{method} {target}"
            if method == GET_PROMPT:
                call.attributes[semconv.PROMPT_NAME] = target
            else:
                call.tool_name = target
        if method == CALL_TOOL:
            call.operation = "execute_tool"
    elif method == SAMPLE:
        call.messages = message_parts.messages(given.get("messages"), "messages", "user")
        call.system = message_parts.parts(given.get("systemPrompt"), "systemPrompt")
        call.tools = message_parts.tool_definitions(given.get("tools"), "tools")
    elif method not in _NO_ARGUMENTS:
        call.arguments = {key: value for key, value in given.items() if key not in _NOT_SAID} or None
    call.messages += _input_responses(given.get("inputResponses"))
    if isinstance(uri := given.get("uri"), str):
        call.attributes[semconv.MCP_RESOURCE_URI] = uri
    if isinstance(version := meta_of(given).get(PROTOCOL_KEY), str):
        call.attributes[semconv.MCP_PROTOCOL_VERSION] = version
    return call


def blank_call(kind: Kind, method: str) -> Call:
    """A request of which nothing but its method is known."""
    return Call(operation="", name=method, kind=kind, attributes={semconv.MCP_METHOD: method})


def read_result(method: str, answer: Mapping[str, Any]) -> Result:
    """The result member of a JSON-RPC response."""
    result = Result()
    if method == SAMPLE:
        result.messages = message_parts.messages(answer, "result", "assistant")
        if isinstance(model := answer.get("model"), str):
            result.model = model
        if isinstance(reason := answer.get("stopReason"), str):
            result.finish_reasons = [reason]
    elif method == LIST_TOOLS:
        result.tools = _listed(answer.get("tools"))
    elif method in {INITIALIZE, DISCOVER}:
        # The instructions go to the model as they are; the rest is names and capabilities.
        instructions = answer.get("instructions")
        result.response = {"instructions": instructions} if instructions else None
        if isinstance(version := answer.get("protocolVersion"), str):
            result.attributes[semconv.MCP_PROTOCOL_VERSION] = version
    else:
        result.response = _response(answer)
        if method == CALL_TOOL and answer.get("isError") is True:
            result.error_type = "tool_error"
    return result


def read_error(code: int) -> Result:
    """The error member of a JSON-RPC response, or one that the SDK made in its place."""
    return Result(attributes={semconv.RPC_STATUS_CODE: str(code)}, error_type=str(code))


def meta_of(params: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The ``_meta`` of a request; empty where there is none."""
    meta = params.get("_meta") if isinstance(params, Mapping) else None
    return meta if isinstance(meta, Mapping) else {}


def without_tools(answer: Any, names: Collection[str]) -> Any:
    """A copy of the answer to ``tools/list``, be it JSON or the SDK's, without the tools of these names."""
    if isinstance(answer, dict):
        left = [tool for tool in answer["tools"] if not (isinstance(tool, Mapping) and tool.get("name") in names)]
        return {**answer, "tools": left}
    return answer.model_copy(update={"tools": [tool for tool in answer.tools if tool.name not in names]})


def dumped(value: Any) -> Any:
    """A message of the SDK as JSON; what is JSON already is given back."""
    dump = getattr(value, "model_dump", None)
    return dump(by_alias=True, mode="json", exclude_none=True) if dump is not None else value


def _listed(tools: Any) -> list[ToolDefinition]:
    """The tools of a listing; what else a server says of a tool, such as a title, may be shown to the model as well."""
    found = message_parts.tool_definitions(tools, "tools")
    given = {f"tools[{number}]": tool for number, tool in enumerate(_items(tools)) if isinstance(tool, Mapping)}
    for tool in found:
        rest = {key: value for key, value in given.get(tool.path, {}).items() if key not in _TOOL_FIELDS}
        tool.extra = rest or None
    return found


def _input_responses(given: Any) -> list[Message]:
    """Returns the answers that a client adds to a repeated call, for which the server asked in place of a result."""
    given = as_dict(given)
    answers = [
        Part(
            "tool_call_response",
            _response(answer) if isinstance(answer, Mapping) else answer,
            path=f"inputResponses.{key}",
        )
        for key, answer in given.items()
    ]
    return [Message("user", answers)] if answers else []


def _response(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """A result as it is scanned and recorded: once, and without base64."""
    response = {key: value for key, value in answer.items() if key not in {"_meta", "nextCursor"}}
    for key in ("content", "contents"):
        if isinstance(response.get(key), list):
            response[key] = [_without_blob(item) for item in response[key]]
        elif isinstance(block := response.get(key), Mapping) and str(block.get("type")) in _BLOBS:
            response[key] = _without_blob(block)  # one, as a model's answer may have
    if isinstance(response.get("messages"), list):
        response["messages"] = [
            {**message, "content": _without_blob(message.get("content"))} if isinstance(message, Mapping) else message
            for message in response["messages"]
        ]
    if "structuredContent" in response and _repeats(response.get("content"), response["structuredContent"]):
        del response["structuredContent"]
    return response or None


def _without_blob(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    key = _BLOBS.get(str(item.get("type")), "blob")
    if isinstance(data := item.get(key), str):
        return {**item, key: f"[{len(data)} characters of base64]"}
    if isinstance(resource := item.get("resource"), Mapping):
        return {**item, "resource": _without_blob(resource)}
    return item


def _repeats(content: Any, structured: Any) -> bool:
    """Returns whether the text blocks say what the structured content says, as the specification asks servers to do."""
    blocks = [item for item in _items(content) if isinstance(item, Mapping) and item.get("type") == "text"]
    texts = [text for item in blocks if isinstance(text := item.get("text"), str)]
    decoded = [_decoded(text) for text in texts]
    is_wrapped = isinstance(structured, Mapping) and structured.keys() == {"result"}
    wrapped = structured["result"] if is_wrapped else structured
    return bool(texts) and any(same in (texts, decoded) for same in ([structured], [wrapped], wrapped))


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
