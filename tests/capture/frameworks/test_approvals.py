"""Frameworks that ask a person themselves: the decision is recorded from there, and nobody is asked twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from peers import environment, run

PROGRAM = Path(__file__).parents[2] / "peers" / "framework_approvals.py"
POLICY = "rules:\n  - {id: ask-lookup, tool: lookup, action: ask, reason: A person decides.}\n"
ORIGIN = {"openai_agents": "openai-agents", "langchain": "langchain"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("frameworks")]


@pytest.fixture(scope="module")
def python():
    return environment("frameworks")


@pytest.mark.parametrize("framework", ORIGIN)
@pytest.mark.parametrize("with_policy", [True, False], ids=["policy that asks", "no policy"])
def test_a_call_that_a_person_approved_runs_and_the_policy_does_not_ask_again(python, tmp_path, framework, with_policy):
    if with_policy:
        (tmp_path / "policy.yaml").write_text(POLICY)
    done = run(python, PROGRAM, framework, "approve", str(tmp_path))
    assert done["ran"] == ["x"]
    assert [row[:3] for row in done["approvals"]] == [["lookup", "used", ORIGIN[framework]]]
    assert done["events"] == ["approval_requested", "approval_allowed", "approval_used"]
    assert done["refused"] == 0


@pytest.mark.parametrize("framework", ORIGIN)
def test_a_rejection_is_recorded_and_the_tool_does_not_run(python, tmp_path, framework):
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = run(python, PROGRAM, framework, "reject", str(tmp_path))
    assert done["ran"] == []
    assert [row[:3] for row in done["approvals"]] == [["lookup", "denied", ORIGIN[framework]]]
    assert done["events"] == ["approval_requested", "approval_denied"]


def test_what_a_person_edited_is_what_was_approved(python, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = run(python, PROGRAM, "langchain", "edit", str(tmp_path))
    assert done["ran"] == ["edited"]
    assert [row[:3] for row in done["approvals"]] == [["lookup", "used", "langchain"]]


@pytest.mark.parametrize(
    ("decision", "ran", "state"),
    [("approve", ["x"], "allowed"), ("edit", ["edited"], "allowed"), ("reject", [], "denied")],
)
def test_the_permission_that_claude_code_asks_for_is_recorded(tmp_path, decision, ran, state):
    done = run(environment("frameworks-agents"), PROGRAM, "claude_agent_sdk", decision, str(tmp_path))
    assert done["ran"] == ran
    ((tool, found, origin, arguments),) = done["approvals"]
    assert (tool, found, origin, arguments) == ("lookup", state, "claude-agent-sdk", "{}")
    assert done["events"] == ["approval_requested", f"approval_{state}"]
