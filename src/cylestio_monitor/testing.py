"""Test helpers for programs that are monitored, as a pytest plug-in.

The plug-in is active wherever the package is installed. Its fixture `cylestio_recorder` runs a block of a test under
monitoring and returns the spans, findings and events of the block as typed objects::

    from cylestio_monitor.testing import assert_no_findings, assert_tool_called

    def test_agent(cylestio_recorder):
        with cylestio_recorder() as recording:
            run_agent("What is the weather in Lisbon?")
        assert_tool_called(recording, "get_weather", arguments={"city": "Lisbon"})
        assert_no_findings(recording, severity="high")
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import pytest

from cylestio_monitor.errors import counted
from cylestio_monitor.model import SEVERITY_NUMBER, Finding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cylestio_monitor.model import Alert, Severity, Subtype, Target
    from cylestio_monitor.store.read.findings import FindingRow

_EXECUTE_TOOL = "execute_tool"
_ARGUMENTS = "gen_ai.tool.call.arguments"


@dataclass(frozen=True, slots=True)
class RecordedSpan:
    """One span of a recording.

    Attributes:
        name: The name, such as ``chat claude-sonnet-4-5``.
        operation: ``gen_ai.operation.name``; ``None`` for a span that is no GenAI operation.
        model: The model that was requested.
        tool: The tool that was called.
        status: ``unset``, ``ok`` or ``error``.
        action: ``allow``, ``audit``, ``modify`` or ``block``; ``None`` for a span that was not scanned.
        duration_ms: The duration in milliseconds.
        input_tokens: Input tokens, including cached ones.
        output_tokens: Output tokens.
        agent_id: The agent.
        session_id: The session.
        attributes: All span attributes by their full names, including recorded content.
        findings: The findings of this span.
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_span_id: 16 hexadecimal digits; ``None`` for the root of a trace.
    """

    name: str
    operation: str | None
    model: str | None
    tool: str | None
    status: str
    action: str | None
    duration_ms: float
    input_tokens: int | None
    output_tokens: int | None
    agent_id: str | None
    session_id: str | None
    attributes: Mapping[str, Any]
    findings: tuple[Finding, ...]
    trace_id: str
    span_id: str
    parent_span_id: str | None

    @property
    def arguments(self) -> Any:
        """The arguments of a tool call, decoded; ``None`` where none were recorded."""
        return _decoded(self.attributes.get(_ARGUMENTS))


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event that the block logged with `log_event` or `log_error`.

    Attributes:
        event_type: The type, such as ``content_moderation``.
        channel: The channel in upper case.
        level: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
        data: The values of the event.
        agent_id: The agent.
        timestamp: UTC, ``YYYY-MM-DD HH:MM:SS.ffffff``.
    """

    event_type: str
    channel: str
    level: str
    data: Mapping[str, Any]
    agent_id: str | None
    timestamp: str


@dataclass(slots=True)
class Recording:
    """The result of a block; empty until the block ends.

    Attributes:
        spans: The spans by start.
        events: The events that the application logged, by time.
    """

    spans: list[RecordedSpan] = field(default_factory=list)
    events: list[RecordedEvent] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """The findings of all spans."""
        return [finding for span in self.spans for finding in span.findings]

    @property
    def tool_calls(self) -> list[RecordedSpan]:
        """The spans of tool calls."""
        return [span for span in self.spans if span.operation == _EXECUTE_TOOL]

    @property
    def refused(self) -> list[RecordedSpan]:
        """The spans of calls that were refused."""
        return [span for span in self.spans if span.action == "block"]


class Recorder(Protocol):
    """The type of the fixture `cylestio_recorder`."""

    def __call__(self, **settings: Any) -> AbstractContextManager[Recording]:
        """Monitors a block.

        Args:
            settings: Settings for the block, nested as in the settings file, such as ``mode="block"``.
        """


@pytest.fixture
def cylestio_recorder(tmp_path: Path) -> Recorder:
    """Returns a function that monitors a block of a test; see `Recorder`.

    The block writes to a store of its own below `tmp_path`. Content is recorded in full, so that tests can compare the
    arguments of tool calls. Other settings come from the settings file and the environment, as in production.
    """
    numbers = iter(range(1_000_000))

    def record(**settings: Any) -> AbstractContextManager[Recording]:
        return _record(tmp_path / f"cylestio-{next(numbers)}.db", settings)

    return record


def assert_no_findings(
    recording: Recording, *, severity: Severity = "low", category: str | None = None, rule: str | None = None
) -> None:
    """Asserts that a recording has no finding of these kinds.

    Args:
        recording: The recording.
        severity: The lowest severity that counts.
        category: A category, such as ``secret``; all without it.
        rule: A rule id; all without it.

    Raises:
        AssertionError: There is such a finding; the message lists them.
    """
    found = [
        finding
        for finding in recording.findings
        if SEVERITY_NUMBER[finding.severity] >= SEVERITY_NUMBER[severity]
        and category in {None, finding.category}
        and rule in {None, finding.rule_id}
    ]
    if found:
        raise AssertionError(f"{counted(len(found), 'finding')}:\n{_lines(map(_describe, found))}")


def assert_refused(recording: Recording, *, tool: str | None = None, rule: str | None = None) -> RecordedSpan:
    """Asserts that a call was refused, and returns its span.

    Args:
        recording: The recording of a block in mode ``block``.
        tool: The tool whose call was refused; any call without it.
        rule: The id of a rule with a finding on the call; any without it.

    Raises:
        AssertionError: No such call was refused; the message lists the calls.
    """
    for span in recording.refused:
        if tool in {None, span.tool} and (rule is None or any(one.rule_id == rule for one in span.findings)):
            return span
    wanted = " ".join(
        filter(None, ("no call", tool and f"of tool {tool!r}", "was refused", rule and f"by rule {rule}"))
    )
    raise AssertionError(f"{wanted}; the calls were:\n{_lines(map(_describe_span, recording.spans))}")


def assert_tool_called(
    recording: Recording, tool: str, *, arguments: Mapping[str, Any] | None = None, times: int | None = None
) -> list[RecordedSpan]:
    """Asserts that a tool was called and not refused, and returns the spans of these calls.

    Args:
        recording: The recording.
        tool: The name of the tool.
        arguments: Arguments that the call must have; it may have more.
        times: The exact number of such calls; at least one without it.

    Raises:
        AssertionError: The number of calls differs; the message lists the tool calls.
    """
    wanted = dict(arguments or {})
    calls = [
        span
        for span in recording.tool_calls
        if span.tool == tool
        and span.action != "block"
        and wanted.items() <= (span.arguments if isinstance(span.arguments, dict) else {}).items()
    ]
    if len(calls) != times if times is not None else not calls:
        expected = "at least once" if times is None else counted(times, "time")
        what = f"{tool}({', '.join(f'{name}={value!r}' for name, value in wanted.items())})"
        raise AssertionError(
            f"{what} was called {counted(len(calls), 'time')}, expected {expected}; the tool calls were:\n"
            f"{_lines(map(_describe_span, recording.tool_calls))}"
        )
    return calls


@contextmanager
def _record(path: Path, settings: Mapping[str, Any]) -> Iterator[Recording]:
    """Monitors a block with a store at `path`, and restores the monitoring that was on before."""
    from cylestio_monitor.otel import setup  # noqa: PLC0415 -- a test run that uses no fixture does not import the SDK

    recording = Recording()
    before = setup.running()
    setup.stop()
    store = {**settings.get("store", {}), "enabled": True, "path": str(path)}
    setup.start({"content": "full", **settings, "enabled": True, "store": store})
    try:
        yield recording
    finally:
        setup.stop()
        if path.exists():
            _read(path, recording)
        if before is not None:
            setup.start(before.overrides, path=before.path)


def _read(path: Path, recording: Recording) -> None:
    """Fills a recording from the store of its block."""
    from cylestio_monitor.store.read import queries, traces  # noqa: PLC0415 -- as above

    with queries.connect(path) as connection:
        for row in connection.execute("SELECT trace_id FROM spans GROUP BY trace_id ORDER BY min(start_ns)").fetchall():
            recording.spans += _flat(traces.trace(connection, row["trace_id"], path))
        recording.events += (_event(row) for row in connection.execute(_LOGGED))


_LOGGED = "SELECT * FROM events WHERE id % 2 = 0 ORDER BY timestamp, id"
"""The events that were logged; spans have odd ids in the view."""


def _flat(roots: Iterable[Any]) -> list[RecordedSpan]:
    nodes = list(roots)
    found = []
    while nodes:
        node = nodes.pop()
        nodes += node.children
        found.append((node.span["start_ns"], _span(node.span, node.findings)))
    return [span for _, span in sorted(found, key=lambda pair: pair[0])]


def _span(row: Mapping[str, Any], findings: Iterable[FindingRow]) -> RecordedSpan:
    return RecordedSpan(
        name=row["name"],
        operation=row["operation"],
        model=row["model"],
        tool=row["tool"],
        status=row["status"],
        action=row["action"],
        duration_ms=(row["end_ns"] - row["start_ns"]) / 1e6,
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        agent_id=row["agent_id"],
        session_id=row["session_id"],
        attributes=row["attributes"],
        findings=tuple(map(_finding, findings)),
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        parent_span_id=row["parent_span_id"],
    )


def _finding(row: FindingRow) -> Finding:
    return Finding(
        rule_id=row.rule_id,
        category=row.category,
        severity=cast("Severity", row.severity),
        alert=cast("Alert", row.alert),
        target=cast("Target", row.target),
        subtype=cast("Subtype", row.subtype),
        path=row.path,
        start=row.start,
        end=row.end,
        owasp=tuple(row.owasp),
        atlas=tuple(row.atlas),
        match_hash=row.match_hash or "",
    )


def _event(row: sqlite3.Row) -> RecordedEvent:
    data = _decoded(row["data"])
    return RecordedEvent(
        event_type=row["event_type"],
        channel=row["channel"],
        level=row["level"],
        data=data if isinstance(data, dict) else {},
        agent_id=row["agent_id"],
        timestamp=row["timestamp"],
    )


def _decoded(value: object) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _describe(finding: Finding) -> str:
    return f"{finding.severity} {finding.rule_id} at {finding.path} {finding.start}-{finding.end} ({finding.target})"


def _describe_span(span: RecordedSpan) -> str:
    arguments = f" {json.dumps(span.arguments, default=str)[:200]}" if span.arguments is not None else ""
    return f"{span.name}{arguments} [{span.action or 'not scanned'}]"


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(f"  {text}" for text in texts) or "  none"
