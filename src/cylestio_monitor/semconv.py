"""Names of attributes, metrics and events, as constants, and the rules for their values.

They are defined here because those of `opentelemetry-semantic-conventions` are deprecated and warn on import.
`emit.conventions` names the version that they follow, with the type of each.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "cylestio_monitor"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

# --- general
ERROR_TYPE: Final = "error.type"
ENDUSER_ID: Final = "enduser.id"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
HTTP_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_STATUS_CODE: Final = "http.response.status_code"
NETWORK_TRANSPORT: Final = "network.transport"

# --- gen_ai
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_ID: Final = "gen_ai.agent.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
REQUEST_PREVIOUS_RESPONSE_ID: Final = "gen_ai.request.previous_response.id"
EMBEDDINGS_DIMENSION_COUNT: Final = "gen_ai.embeddings.dimension.count"
OUTPUT_TYPE: Final = "gen_ai.output.type"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_STATUS: Final = "gen_ai.response.status"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_COST: Final = "cylestio.usage.cost"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
PROMPT_NAME: Final = "gen_ai.prompt.name"
OPENAI_API_TYPE: Final = "openai.api.type"
OPENAI_REQUEST_SERVICE_TIER: Final = "openai.request.service_tier"
OPENAI_RESPONSE_SERVICE_TIER: Final = "openai.response.service_tier"
OPENAI_RESPONSE_SYSTEM_FINGERPRINT: Final = "openai.response.system_fingerprint"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 -- an attribute's name, no secret

# --- mcp
MCP_METHOD: Final = "mcp.method.name"
MCP_SESSION_ID: Final = "mcp.session.id"
MCP_PROTOCOL_VERSION: Final = "mcp.protocol.version"
MCP_RESOURCE_URI: Final = "mcp.resource.uri"
JSONRPC_REQUEST_ID: Final = "jsonrpc.request.id"
RPC_STATUS_CODE: Final = "rpc.response.status_code"
MCP_CHANGED_TOOLS: Final = "cylestio.mcp.tool.definition.changed"

# --- ours: what a model call offered, asked for and was answered with
TOOLS_HIDDEN: Final = "cylestio.tools.hidden"
TOOLS_OFFERED: Final = "cylestio.tools.offered"
TOOLS_REQUESTED: Final = "cylestio.tools.requested"
TOOLS_ANSWERED: Final = "cylestio.tools.answered"
CYLESTIO_AGENT_ID: Final = "cylestio.agent.id"
CYLESTIO_SESSION_ID: Final = "cylestio.session.id"

# --- ours: a call that a framework left on purpose: ``pause``, ``handover`` or ``stop``; also the name of a span event
CONTROL_FLOW: Final = "cylestio.control_flow"
EVENT_CONTROL_FLOW: Final = "cylestio.control_flow"

# --- ours: a value of the span could not be kept as it was
SANITIZED: Final = "cylestio.sanitized"

# --- ours: security
SCANNED: Final = "cylestio.security.scanned"
SCAN_INCOMPLETE: Final = "cylestio.security.scan.incomplete"
ALERT: Final = "cylestio.security.alert"
SEVERITY: Final = "cylestio.security.severity"
SEVERITY_NUMBER: Final = "cylestio.security.severity_number"
FINDING_COUNT: Final = "cylestio.security.finding.count"
CATEGORY: Final = "cylestio.security.category"
CATEGORIES: Final = "cylestio.security.categories"
RULES: Final = "cylestio.security.rules"
VERDICT: Final = "cylestio.security.verdict"
ACTION: Final = "cylestio.security.action"
TARGET_TYPE: Final = "cylestio.security.target.type"
TARGET_SUBTYPE: Final = "cylestio.security.target.subtype"
OWASP_LLM: Final = "cylestio.security.owasp.llm"
OWASP_ASI: Final = "cylestio.security.owasp.asi"
ATLAS_TECHNIQUE: Final = "cylestio.security.atlas.technique"
SECURITY_RULE_UUID: Final = "security_rule.uuid"
SECURITY_RULE_NAME: Final = "security_rule.name"
SECURITY_RULE_CATEGORY: Final = "security_rule.category"
SECURITY_RULE_RULESET: Final = "security_rule.ruleset.name"
SECURITY_RULE_VERSION: Final = "security_rule.version"

# --- ours: the span event of one finding, and its attributes
POLICY_ACTION: Final = "cylestio.policy.action"
POLICY_RULE: Final = "cylestio.policy.rule"
POLICY_VERSION: Final = "cylestio.policy.version"
POLICY_REASON: Final = "cylestio.policy.reason"
POLICY_REDACTED: Final = "cylestio.policy.redacted"
POLICY_REDACTED_SURFACES: Final = "cylestio.policy.redacted.surfaces"
POLICY_ENFORCED: Final = "cylestio.policy.enforced"
APPROVAL_ID: Final = "cylestio.approval.id"
EVENT_FINDING: Final = "cylestio.security.finding"
FINDING_RULE: Final = "cylestio.security.finding.rule"
FINDING_CATEGORY: Final = "cylestio.security.finding.category"
FINDING_SEVERITY: Final = "cylestio.security.finding.severity"
FINDING_ALERT: Final = "cylestio.security.finding.alert"
FINDING_TARGET: Final = "cylestio.security.finding.target"
FINDING_SUBTYPE: Final = "cylestio.security.finding.subtype"
FINDING_PATH: Final = "cylestio.security.finding.path"
FINDING_START: Final = "cylestio.security.finding.start"
FINDING_END: Final = "cylestio.security.finding.end"
FINDING_OWASP: Final = "cylestio.security.finding.owasp"
FINDING_ATLAS: Final = "cylestio.security.finding.atlas"
FINDING_HASH: Final = "cylestio.security.finding.hash"
FINDING_REASON: Final = "cylestio.security.finding.reason"
FINDING_ATTRIBUTE: Final = "cylestio.security.finding.attribute"
FINDING_POINTER: Final = "cylestio.security.finding.pointer"
FINDING_PART_ID: Final = "cylestio.security.finding.part_id"
FINDING_SOURCE: Final = "cylestio.security.finding.source"

# --- ours: log_event
EVENT_LOGGED: Final = "cylestio.event"
EVENT_CHANNEL: Final = "cylestio.event.channel"

# --- metrics
METRIC_FINDINGS: Final = "cylestio.security.findings"
METRIC_SCAN_DURATION: Final = "cylestio.scan.duration"
METRIC_CLIENT_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_CLIENT_TOKENS: Final = "gen_ai.client.token.usage"
METRIC_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
METRIC_MCP_CLIENT_DURATION: Final = "mcp.client.operation.duration"
METRIC_MCP_SERVER_DURATION: Final = "mcp.server.operation.duration"
METRIC_DELIVERY_QUEUED: Final = "cylestio.delivery.queued"
METRIC_DELIVERY_SENT: Final = "cylestio.delivery.sent"
METRIC_DELIVERY_DROPPED: Final = "cylestio.delivery.dropped"
METRIC_DELIVERY_QUARANTINED: Final = "cylestio.delivery.quarantined"
DELIVERY_SIGNAL: Final = "cylestio.delivery.signal"

# --- rules for values
INFERENCE: Final = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
"""Operations of which one model call has exactly one span."""

VERBATIM: Final = frozenset({OPERATION_NAME, SERVER_ADDRESS, CYLESTIO_AGENT_ID, CYLESTIO_SESSION_ID})
"""Attributes that are not redacted: constants of ours, names that the owner of the application gives, and hosts."""

_EVENT_TYPE: Final = {
    "execute_tool": ("tool_call", "TOOL"),
    "embeddings": ("embeddings", "LLM"),
    "invoke_agent": ("agent", "AGENT"),
    "create_agent": ("agent", "AGENT"),
    "invoke_workflow": ("agent", "AGENT"),
}


def event_type(operation: str | None, method: object, *, scanned: bool) -> tuple[str | None, str | None]:
    """Returns type and channel of a span in the events view; `None` for a span that is not monitored.

    Args:
        operation: `gen_ai.operation.name`; `None` where it is no text.
        method: `mcp.method.name`.
        scanned: Whether the span has `cylestio.security.scanned`.
    """
    if operation:
        kind, channel = _EVENT_TYPE.get(operation, ("llm_call", "LLM"))
        return kind, "MCP" if method and kind == "tool_call" else channel
    if method:
        return "mcp_request", "MCP"
    return ("scan", "SYSTEM") if scanned else (None, None)
