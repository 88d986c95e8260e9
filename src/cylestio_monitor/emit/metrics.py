"""The metrics of a call: findings, scan time, and the GenAI and MCP operation metrics of the conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.metrics import Meter

    from cylestio_monitor.model import AttributeValue, Call, Result
    from cylestio_monitor.rules import Rule

_DURATION_BUCKETS = [0.01 * 2**power for power in range(14)]
_TOKEN_BUCKETS = [4**power for power in range(14)]
_MCP_BUCKETS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
_SCAN_BUCKETS = [0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1]

MAX_VALUES = 100
"""Most values of one label; a server or a client that invents names cannot create more series."""

MAX_COMBINATIONS = 1_000
"""Most combinations of labels of one instrument."""

MAX_CHARACTERS = 128
"""Longest value of a label in code points."""

OTHER = "_OTHER"
"""Replaces a value beyond these limits."""


class _BoundedLabels:
    """Bounds the labels of one instrument: their values come from the application, a model or a server."""

    def __init__(self, keys: frozenset[str]) -> None:
        """Bounds the values of `keys`; the other labels have a closed set of values."""
        self._keys = keys
        self._values: dict[str, set[object]] = {key: set() for key in keys}
        self._combinations: set[tuple[object, ...]] = set()

    def bounded(self, labels: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
        """Returns labels within the limits; a value beyond them becomes `OTHER`."""
        combination = tuple(labels.values())
        if combination in self._combinations:
            return labels
        for key in self._keys & labels.keys():
            value = labels[key]
            known = self._values[key]
            if isinstance(value, str) and len(value) > MAX_CHARACTERS:
                value = labels[key] = value[:MAX_CHARACTERS]
            if value not in known:
                if len(known) >= MAX_VALUES:
                    labels[key] = OTHER
                else:
                    known.add(value)
        combination = tuple(labels.values())
        if combination not in self._combinations:
            if len(self._combinations) >= MAX_COMBINATIONS:
                labels.update(dict.fromkeys(self._keys & labels.keys(), OTHER))
            else:
                self._combinations.add(combination)
        return labels


class Metrics:
    """Instruments of one meter. Without a meter provider they are the API's own, which do nothing."""

    def __init__(self, meter: Meter, rules: Mapping[str, Rule]) -> None:
        """Creates the instruments, with a 0 for each category and severity of the loaded rules."""
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
        self._finding_labels = _BoundedLabels(frozenset({"rule", "category", "operation", "tool"}))
        self._call_labels = _BoundedLabels(
            frozenset(
                {
                    semconv.REQUEST_MODEL,
                    semconv.RESPONSE_MODEL,
                    semconv.PROVIDER_NAME,
                    semconv.OPERATION_NAME,
                    semconv.SERVER_ADDRESS,
                    semconv.ERROR_TYPE,
                }
            )
        )
        self._mcp_labels = _BoundedLabels(frozenset({semconv.MCP_METHOD, semconv.TOOL_NAME, semconv.ERROR_TYPE}))
        # A series for each of hundreds of rules would outweigh the metrics of the calls themselves.
        for category, severity in sorted({(rule.category, rule.severity) for rule in rules.values()}):
            self._findings.add(0, {"category": category, "severity": severity})

    def findings(
        self, tally: Mapping[tuple[str, str, str], int], *, action: str, operation: str, tool: str | None
    ) -> None:
        """Counts findings.

        Args:
            tally: Number of findings by rule, category and severity.
            action: What was done about them.
            operation: ``gen_ai.operation.name`` of the call.
            tool: Name of the tool, for a tool call.
        """
        for (rule, category, severity), number in tally.items():
            labels: dict[str, AttributeValue] = {
                "category": category,
                "severity": severity,
                "rule": rule,
                "action": action,
                "operation": operation,
                "tool": tool or "",
            }
            self._findings.add(number, self._finding_labels.bounded(labels))

    def scan(self, seconds: float, target: str) -> None:
        """Records the scan time of one side of a call, in seconds."""
        self._scan.record(seconds, {semconv.TARGET_TYPE: target})

    def end(
        self,
        call: Call,
        result: Result | None,
        seconds: float,
        attributes: Mapping[str, AttributeValue],
        error_type: str | None,
    ) -> None:
        """Records the operation metrics of an ended call.

        Args:
            call: The call.
            result: Its answer.
            seconds: Its duration.
            attributes: The span attributes of the call and its answer, redacted.
            error_type: ``error.type`` where it failed.
        """
        method = call.attributes.get(semconv.MCP_METHOD)
        if method is not None:
            labels = _selected(attributes, (semconv.MCP_METHOD, semconv.TOOL_NAME))
            if error_type:
                labels[semconv.ERROR_TYPE] = error_type
            self._mcp["server" if call.kind == "server" else "client"].record(seconds, self._mcp_labels.bounded(labels))
            return
        if call.kind != "client":
            return
        labels = self._call_labels.bounded(_selected(attributes, _CALL_LABELS))
        first_chunk = attributes.get(semconv.RESPONSE_TIME_TO_FIRST_CHUNK)
        if isinstance(first_chunk, float):
            self._first_chunk.record(first_chunk, labels)
        if result is not None and result.usage is not None:
            for kind, count in (("input", result.usage.input_tokens), ("output", result.usage.output_tokens)):
                if count is not None:
                    self._tokens.record(count, {**labels, semconv.TOKEN_TYPE: kind})
        if error_type:
            labels = self._call_labels.bounded({**labels, semconv.ERROR_TYPE: error_type})
        self._duration.record(seconds, labels)


_CALL_LABELS = (
    semconv.OPERATION_NAME,
    semconv.PROVIDER_NAME,
    semconv.REQUEST_MODEL,
    semconv.SERVER_ADDRESS,
    semconv.RESPONSE_MODEL,
)


def _selected(attributes: Mapping[str, AttributeValue], names: tuple[str, ...]) -> dict[str, AttributeValue]:
    return {name: value for name in names if isinstance(value := attributes.get(name), (str, int, float))}
