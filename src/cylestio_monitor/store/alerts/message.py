"""An alert as text for people and as JSON for programs; neither holds content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.errors import counted
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    from cylestio_monitor.store.alerts.alert_table import AlertMessage

_LABELS: Final = (
    ("rule_id", "rule"),
    ("category", "category"),
    ("agent_id", "agent"),
    ("session_id", "session"),
    ("service_name", "service"),
    ("tool", "tool"),
    ("action", "action"),
)


def title(message: AlertMessage) -> str:
    """Returns one line."""
    facts = message.facts
    agent = f" in agent {facts['agent_id']}" if facts.get("agent_id") else ""
    severity = SEVERITIES[message.severity_number]
    return f"[cylestio] {severity}: {facts.get('rule_id')}{agent} ({counted(message.findings, 'finding')})"


def text(message: AlertMessage) -> str:
    """Returns the message for people, as plain text."""
    facts = message.facts
    lines = [f"condition  {message.condition}", f"severity   {SEVERITIES[message.severity_number]}"]
    lines += (f"{label:<10} {facts[name]}" for name, label in _LABELS if facts.get(name))
    lines.append(f"findings   {message.findings}")
    if message.suppressed:
        lines.append(f"before     {counted(message.suppressed, 'finding')} since the last message sent none")
    lines += [f"first      {timestamp(message.first_ns)[:19]} UTC", f"last       {timestamp(message.last_ns)[:19]} UTC"]
    if facts.get("trace_id"):
        lines += ["", f"cylestio trace {facts['trace_id']}", f"cylestio incident open {facts['trace_id']}"]
    return "\n".join(lines) + "\n"


def body(message: AlertMessage) -> bytes:
    """Returns the message for programs, as JSON; equal for equal rows."""
    data: dict[str, Any] = {
        "id": message.id,
        "condition": message.condition,
        "severity": SEVERITIES[message.severity_number],
        "findings": message.findings,
        "findings_suppressed_before": message.suppressed,
        "first": _iso(message.first_ns),
        "last": _iso(message.last_ns),
        "finding": {name: value for name, value in message.facts.items() if name != "group"},
        "group": message.facts.get("group", {}),
    }
    return msgspec.json.encode({"type": "cylestio.alert", "timestamp": _iso(message.created_ns), "data": data})


def _iso(time_ns: int) -> str:
    return timestamp(time_ns).replace(" ", "T") + "Z"
