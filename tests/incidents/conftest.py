"""A store with one attack: a mail brought in an address that a later call used; a second session has the same text."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import pytest

from cylestio_monitor import config, semconv
from cylestio_monitor.model import Finding
from cylestio_monitor.store.sqlite.records import CallFactsRow, Decision, ValueOrigin
from store.filling import Bench

HOSTILE = '<script>alert(1)</script>|`x`\u202e\x1b[31m"'


@dataclass
class Attack:
    """The store and the ids in it."""

    path: object
    settings: object
    trace_id: str
    spans: dict
    other: str
    unrelated: str


def call(bench, name, kind, session, finding=None, *, tool=None, user="ann", content=None, agent="support"):
    labels = {
        semconv.OPERATION_NAME: kind,
        semconv.CYLESTIO_AGENT_ID: agent,
        semconv.CYLESTIO_SESSION_ID: session,
        semconv.ENDUSER_ID: user,
        semconv.PROVIDER_NAME: "anthropic",
        **({semconv.TOOL_NAME: tool} if tool else {semconv.REQUEST_MODEL: "claude-wire"}),
        **({semconv.TOOL_CALL_RESULT: content} if content else {}),
    }
    if finding is not None:
        labels |= {semconv.SEVERITY_NUMBER: 3, semconv.ALERT: finding.alert}
    span = bench.tracer.start_span(name, attributes=labels)
    place = span.get_span_context()
    if finding is not None:
        bench.store.add_findings(
            place.trace_id,
            place.span_id,
            [finding],
            agent_id=agent,
            session_id=session,
            user_id=user,
            action="audit",
            tool=tool,
            model=None if tool else "claude-wire",
            service_name="bench",
        )
        bench.flush()
    time.sleep(0.002)
    span.end()
    return f"{place.span_id:016x}"


def injection(digest="h1"):
    return Finding(
        "injection.order", "prompt_injection", "high", "dangerous", "input", "tool_result", HOSTILE, 3, 40,
        ("LLM01:2025", "ASI01"), ("AML.T0051.001",), digest,
    )  # fmt: skip


def secret():
    return Finding(
        "secret.aws", "secret", "high", "dangerous", "input", "tool_call", "arguments.body", 0, 20,
        ("LLM02:2025",), ("AML.T0055",), "k1",
    )  # fmt: skip


@pytest.fixture(scope="module")
def attack(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("incident") / "data" / "store.db")
    spans = {}
    with bench.tracer.start_as_current_span("run") as root:
        trace_id = f"{root.get_span_context().trace_id:032x}"
        spans["ask"] = call(bench, "chat claude-wire", "chat", "s1")
        spans["read"] = call(
            bench, "execute_tool read", "execute_tool", "s1", injection(), tool="read", content=HOSTILE
        )
        spans["send"] = call(bench, "execute_tool send", "execute_tool", "s1", secret(), tool="send")
    place = {"trace_id": trace_id, "span_id": spans["send"]}
    arguments = [["to", "text", 12, "d", ["evil.example"]]]
    facts = json.dumps({"time_ns": time.time_ns(), "tool": "send", "arguments": arguments})
    bench.store.add_record(CallFactsRow(**place, time_ns=time.time_ns(), tool="send", facts=facts, session_id="s1"))
    bench.store.add_record(
        ValueOrigin(
            **place, argument="to", kind="email", shape="prose", origin="tool:mail/read", value_hash="v",
            source_trace_id=trace_id, source_span_id=spans["read"], source_pointer="/0",
        )
    )  # fmt: skip
    bench.store.add_record(
        Decision(
            **place, time_ns=time.time_ns(), action="ask", enforced=False, rule="r1", policy_version="1", reason="x"
        )
    )
    with bench.tracer.start_as_current_span("other run") as root:
        other = f"{root.get_span_context().trace_id:032x}"
        call(bench, "execute_tool read", "execute_tool", "s2", injection(), tool="read", user="bob", agent="sales")
    with bench.tracer.start_as_current_span("unrelated") as root:
        unrelated = f"{root.get_span_context().trace_id:032x}"
        call(bench, "chat claude-wire", "chat", "s3", user="eve", content="an unrelated private text")
    bench.flush()
    bench.close()
    return Attack(bench.path, config.StoreSettings(), trace_id, spans, other, unrelated)
