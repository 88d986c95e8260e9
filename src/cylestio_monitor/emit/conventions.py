"""The attributes of the OpenTelemetry conventions that are in use: one table of names, types and requirement levels.

The table follows the GenAI and MCP conventions of the repository ``semantic-conventions-genai`` at `VERSION`, and
`opentelemetry-util-genai` 1.3b0 for the attributes that both have and the registry names otherwise.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from cylestio_monitor import semconv

VERSION: Final = "1.42.0-dev"
"""Version of the GenAI conventions."""

Kind: TypeAlias = Literal["string", "string[]", "int", "double", "boolean", "json"]
"""Type of a value; ``json`` is the type ``any`` of the registry, which a span carries as JSON text."""


class Attribute(NamedTuple):
    """One row of the table.

    Attributes:
        kind: Type of the value.
        required: The operations on whose spans the attribute is always present.
    """

    kind: Kind
    required: frozenset[str] = frozenset()


_INFERENCE = semconv.INFERENCE
_AGENTS = frozenset({"invoke_agent", "create_agent"})
_OPERATIONS = _INFERENCE | _AGENTS | {"execute_tool", "invoke_workflow", "retrieval"}

ATTRIBUTES: Final[dict[str, Attribute]] = {
    semconv.OPERATION_NAME: Attribute("string", _OPERATIONS),
    semconv.PROVIDER_NAME: Attribute("string", _INFERENCE),
    semconv.REQUEST_MODEL: Attribute("string"),
    semconv.CONVERSATION_ID: Attribute("string"),
    semconv.AGENT_ID: Attribute("string"),
    semconv.AGENT_NAME: Attribute("string"),
    semconv.OUTPUT_TYPE: Attribute("string"),
    semconv.REQUEST_CHOICE_COUNT: Attribute("int"),
    semconv.REQUEST_ENCODING_FORMATS: Attribute("string[]"),
    semconv.REQUEST_FREQUENCY_PENALTY: Attribute("double"),
    semconv.REQUEST_MAX_TOKENS: Attribute("int"),
    semconv.REQUEST_PRESENCE_PENALTY: Attribute("double"),
    semconv.REQUEST_PREVIOUS_RESPONSE_ID: Attribute("string"),
    semconv.REQUEST_REASONING_LEVEL: Attribute("string"),
    semconv.REQUEST_SEED: Attribute("int"),
    semconv.REQUEST_STOP_SEQUENCES: Attribute("string[]"),
    semconv.REQUEST_STREAM: Attribute("boolean"),
    semconv.REQUEST_TEMPERATURE: Attribute("double"),
    semconv.REQUEST_TOP_K: Attribute("double"),
    semconv.REQUEST_TOP_P: Attribute("double"),
    semconv.EMBEDDINGS_DIMENSION_COUNT: Attribute("int"),
    semconv.RESPONSE_FINISH_REASONS: Attribute("string[]"),
    semconv.RESPONSE_ID: Attribute("string"),
    semconv.RESPONSE_MODEL: Attribute("string"),
    semconv.RESPONSE_STATUS: Attribute("string"),
    semconv.RESPONSE_TIME_TO_FIRST_CHUNK: Attribute("double"),
    semconv.USAGE_CACHE_READ: Attribute("int"),
    semconv.USAGE_CACHE_WRITE: Attribute("int"),
    semconv.USAGE_INPUT_TOKENS: Attribute("int"),
    semconv.USAGE_OUTPUT_TOKENS: Attribute("int"),
    semconv.USAGE_REASONING: Attribute("int"),
    semconv.INPUT_MESSAGES: Attribute("json"),
    semconv.OUTPUT_MESSAGES: Attribute("json"),
    semconv.SYSTEM_INSTRUCTIONS: Attribute("json"),
    semconv.TOOL_DEFINITIONS: Attribute("json"),
    semconv.TOOL_CALL_ARGUMENTS: Attribute("json"),
    semconv.TOOL_CALL_RESULT: Attribute("json"),
    semconv.TOOL_CALL_ID: Attribute("string"),
    semconv.TOOL_DESCRIPTION: Attribute("string"),
    semconv.TOOL_NAME: Attribute("string", frozenset({"execute_tool"})),
    semconv.TOOL_TYPE: Attribute("string"),
    semconv.PROMPT_NAME: Attribute("string"),
    semconv.OPENAI_API_TYPE: Attribute("string"),
    semconv.OPENAI_REQUEST_SERVICE_TIER: Attribute("string"),
    semconv.OPENAI_RESPONSE_SERVICE_TIER: Attribute("string"),
    semconv.OPENAI_RESPONSE_SYSTEM_FINGERPRINT: Attribute("string"),
    semconv.MCP_METHOD: Attribute("string"),
    semconv.MCP_PROTOCOL_VERSION: Attribute("string"),
    semconv.MCP_RESOURCE_URI: Attribute("string"),
    semconv.MCP_SESSION_ID: Attribute("string"),
    semconv.JSONRPC_REQUEST_ID: Attribute("string"),
    semconv.RPC_STATUS_CODE: Attribute("string"),
    semconv.ENDUSER_ID: Attribute("string"),
    semconv.ERROR_TYPE: Attribute("string"),
    semconv.HTTP_RESEND_COUNT: Attribute("int"),
    semconv.HTTP_STATUS_CODE: Attribute("int"),
    semconv.NETWORK_TRANSPORT: Attribute("string"),
    semconv.SERVER_ADDRESS: Attribute("string"),
    semconv.SERVER_PORT: Attribute("int"),
}

NUMBERS: Final[dict[str, type[int | float]]] = {
    name: float if attribute.kind == "double" else int
    for name, attribute in ATTRIBUTES.items()
    if attribute.kind in {"double", "int"}
}
"""Type of each attribute that is a number, whatever type the caller of an SDK used."""
