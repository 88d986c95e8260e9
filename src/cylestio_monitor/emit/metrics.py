"""The metrics of a call: findings, scan time, and the GenAI and MCP operation metrics of the conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.metrics import Meter

    from cylestio_monitor.model import AttributeValue, Call, Finding, Result, Verdict
    from cylestio_monitor.rules import Rule

_DURATION_BUCKETS = [0.01 * 2**power for power in range(14)]
_TOKEN_BUCKETS = [4**power for power in range(14)]
_MCP_BUCKETS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
_SCAN_BUCKETS = [0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1]

MAX_TOOLS = 100
"""Distinct tool names on the findings metric; a hostile server could otherwise name one after another."""


class Metrics:
    """Instruments of one meter. Cheap where no meter provider is set: the API's instruments then do nothing."""

    def __init__(self, meter: Meter, rules: Mapping[str, Rule]) -> None:
        """Creates the instruments and reports a 0 for every rule, so that a first finding is an increase."""
        self._findings = meter.create_counter(
            semconv.METRIC_FINDINGS, unit="{finding}", description="Security findings in GenAI and tool calls."
        )
        self._scan = meter.create_histogram(
            semconv.METRIC_SCAN_DURATION,
            unit="s",
            description="Time spent scanning one side of a call.",
            explicit_bucket_boundaries_advisory=_SCAN_BUCKETS,
        )
        self._duration = meter.create_histogram(
            semconv.METRIC_CLIENT_DURATION,
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )
        self._tokens = meter.create_histogram(
            semconv.METRIC_CLIENT_TOKENS,
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKEN_BUCKETS,
        )
        self._first_chunk = meter.create_histogram(
            semconv.METRIC_TIME_TO_FIRST_CHUNK,
            unit="s",
            description="Time from the request to the first chunk of a streamed answer.",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )
        self._mcp = {
            "client": meter.create_histogram(
                semconv.METRIC_MCP_CLIENT_DURATION,
                unit="s",
                description="Duration of an MCP request as its sender sees it.",
                explicit_bucket_boundaries_advisory=_MCP_BUCKETS,
            ),
            "server": meter.create_histogram(
                semconv.METRIC_MCP_SERVER_DURATION,
                unit="s",
                description="Duration of an MCP request as its receiver sees it.",
                explicit_bucket_boundaries_advisory=_MCP_BUCKETS,
            ),
        }
        self._tools: set[str] = set()
        for rule in rules.values():
            self._findings.add(0, {"category": rule.category, "severity": rule.severity, "rule": rule.id})

    def findings(self, found: Iterable[Finding], verdict: Verdict, operation: str, tool: str | None) -> None:
        """Counts findings by category, severity, rule, action, operation and tool."""
        for finding in found:
            self._findings.add(
                1,
                {
                    "category": finding.category,
                    "severity": finding.severity,
                    "rule": finding.rule_id,
                    "action": verdict.action,
                    "operation": operation,
                    "tool": self._tool(tool),
                },
            )

    def scan(self, seconds: float, target: str) -> None:
        """Records the scan time of one side of a call, in seconds."""
        self._scan.record(seconds, {semconv.TARGET_TYPE: target})

    def end(
        self, call: Call, result: Result | None, seconds: float, first_chunk: float | None, error_type: str | None
    ) -> None:
        """Records the operation metrics of an ended call; times in seconds."""
        method = call.attributes.get(semconv.MCP_METHOD)
        if method is not None:
            labels: dict[str, AttributeValue] = {semconv.MCP_METHOD: method}
            if call.tool_name:
                labels[semconv.TOOL_NAME] = self._tool(call.tool_name)
            if error_type:
                labels[semconv.ERROR_TYPE] = error_type
            self._mcp["server" if call.kind == "server" else "client"].record(seconds, labels)
            return
        if call.kind != "client":
            return
        labels = {semconv.OPERATION_NAME: call.operation}
        if call.provider:
            labels[semconv.PROVIDER_NAME] = call.provider
        if call.model:
            labels[semconv.REQUEST_MODEL] = call.model
        if call.server_address:
            labels[semconv.SERVER_ADDRESS] = call.server_address
        if result is not None and result.model:
            labels[semconv.RESPONSE_MODEL] = result.model
        if first_chunk is not None:
            self._first_chunk.record(first_chunk, labels)
        if result is not None and result.usage is not None:
            for kind, count in (("input", result.usage.input_tokens), ("output", result.usage.output_tokens)):
                if count is not None:
                    self._tokens.record(count, {**labels, semconv.TOKEN_TYPE: kind})
        self._duration.record(seconds, {**labels, semconv.ERROR_TYPE: error_type} if error_type else labels)

    def _tool(self, name: str | None) -> str:
        if not name or name in self._tools:
            return name or ""
        if len(self._tools) >= MAX_TOOLS:
            return "_other"
        self._tools.add(name)
        return name
