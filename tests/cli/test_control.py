"""The commands about policies and approvals, on a store that real tool calls have filled."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cylestio_monitor.config import StoreSettings
from cylestio_monitor.govern import facts as f
from cylestio_monitor.govern.approvals import ApprovalRequest
from cylestio_monitor.store.control.approvals import StoredApprovals

AGENT = """
import os
from cylestio_monitor import identify, start_monitoring, stop_monitoring, tool
start_monitoring("support")

@tool
def send_email(to, body=""):
    return "sent"

@tool
def refund(amount):
    return "done"

with identify(session_id="s1", user_id="ann"):
    for number in range(25):
        send_email(f"u{number}@example.com")
        refund(amount=number)
stop_monitoring()
"""
MODEL_AGENT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})

import anthropic

from cylestio_monitor import start_monitoring, stop_monitoring, tool
from wire import WireServer

start_monitoring("support")

@tool
def send_email(to):
    return "sent"

with WireServer() as wire, anthropic.Anthropic(api_key="k", base_url=wire.url, max_retries=0) as client:
    for number in range(3):
        client.messages.create(
            model="claude-wire", max_tokens=10, messages=[{{"role": "user", "content": "hello there"}}]
        )
        send_email(f"u{{number}}@example.com")
stop_monitoring()
"""
SPARE = Path(sys.executable).parent


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return run(AGENT, tmp_path_factory.mktemp("control"))


def run(program, folder):
    path = folder / "store.db"
    environment = {"PATH": str(SPARE), "HOME": str(folder), "CYLESTIO_DB_PATH": str(path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, cwd=folder, timeout=120)
    return path


def cylestio(store, *arguments, status=0):
    done = subprocess.run(
        [SPARE / "cylestio", "--db", str(store), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(SPARE), "HOME": str(store.parent)},
        timeout=60,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_is_learned_from_a_run_allows_it_and_denies_other_calls(store, tmp_path):
    policy = tmp_path / "policy.yaml"
    text = cylestio(store, "policy", "learn")
    policy.write_text("".join(line + "\n" for line in text.splitlines() if not line.startswith("learned from")))
    assert 'to: {"host": ["example.com"]}' in text
    assert 'amount: {"min": 0.0, "max": 24.0}' in text
    assert "policy.yaml: 4 rules" in cylestio(store, "policy", "check", str(policy))
    tried = cylestio(store, "policy", "test", str(policy))
    assert "deny" not in tried
    assert "50 calls replayed" in tried
    policy.write_text(policy.read_text().replace("24.0", "9.0"))
    assert "deny" in cylestio(store, "policy", "test", str(policy), status=1)


def test_a_wrong_policy_is_reported_with_its_line(store, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n  - id: a\n    action: deni\n")
    assert f"{policy}:3: rules[0].action" in cylestio(store, "policy", "check", str(policy), status=3)
    assert "cannot be used" in cylestio(store, "policy", "test", str(policy), status=3)


def test_a_waiting_call_is_listed_approved_once_and_then_gone(store):
    now = time.time_ns()
    ledger = StoredApprovals(store, StoreSettings())
    for name in ("first", "second"):
        ledger.open(
            ApprovalRequest(
                id=name,
                digest="0" * 64,
                tool="mail/send",
                arguments='{"to": "\\u001b[31mann"}',
                rule="ask-mail",
                created_ns=now,
                expires_ns=now + 60_000_000_000,
            )
        )
    listed = cylestio(store, "approvals")
    assert "first" in listed
    assert "mail/send" in listed
    assert "\x1b" not in listed
    assert "allowed to run once" in cylestio(store, "approve", "first")
    assert "it is allowed" in cylestio(store, "approve", "first", status=1)
    assert "denied" in cylestio(store, "deny", "second")
    assert "no call waits" in cylestio(store, "approvals")
    assert "allowed" in cylestio(store, "approvals", "--all")
    assert "there is no request" in cylestio(store, "deny", "third", status=1)


def test_a_span_without_a_decision_is_said_to_have_none(store):
    assert "no decision" in cylestio(store, "policy", "explain", "0" * 16, status=1)


def test_stored_facts_load(store):
    from cylestio_monitor.store.read import control, queries

    with queries.connect(store) as connection:
        facts = list(control.facts_since(connection, 0))
    assert [one.tool for one in facts[:2]] == ["send_email", "refund"]
    assert {one.session for one in facts} == {"s1"}
    assert facts[0].arguments[0].hosts == ("example.com",)
    assert isinstance(facts[1], f.CallFacts)


def test_a_replay_counts_what_the_stored_model_calls_used(tmp_path):
    store = run(MODEL_AGENT, tmp_path)
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules: [{id: b, budget: {tokens: 30, by: agent}, tool: send_email, action: deny}]")
    tested = json.loads(cylestio(store, "policy", "test", policy, "--json", status=1))
    assert tested["calls"] == 3
    assert {rule["rule"]: rule["calls"] for rule in tested["rules"]} == {"default": 1, "b": 2}
