"""Rules with the action `redact`: their surfaces, the tools that get values back, and wrong keys."""

from __future__ import annotations

import msgspec
import pytest

from cylestio_monitor.govern import facts as f
from cylestio_monitor.govern.policy import Policy, PolicyDocument, loader

KEY = b"key of the tests"


class Past:
    """A history without earlier calls."""

    def __init__(self, *, is_beyond=False):
        self._is_beyond = is_beyond

    def tools(self, _):
        return ()

    def findings(self, _):
        return ()

    def exceeds(self, rule, condition, facts):
        return self._is_beyond

    def used(self, subject, seconds, facts):
        return 0, 0.0


def policy(*rules, **keys):
    tree = {"rules": [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)], **keys}
    return Policy(msgspec.convert(tree, PolicyDocument), KEY)


def facts(tool="send_email", **more):
    return f.CallFacts(time_ns=1, tool=tool, **more)


@pytest.mark.parametrize(
    ("rule", "action"),
    [
        ({}, "deny"),
        ({"tool": "send_*"}, "redact"),
        ({"findings": {"category": "secret"}}, "deny"),
        ({"tool": "x"}, "deny"),
    ],
)
def test_a_rule_that_redacts_whatever_passes_allows_no_tool(rule, action):
    found = policy({**rule, "action": "redact"}, default="deny")
    assert found.decide(facts(), Past()).action == action
    assert found.never_allows(facts()) is (action == "deny")


SURFACES = [
    ({}, ["prompts", "answers", "arguments", "results"]),
    ({"surfaces": ["results"]}, ["results"]),
    ({"agent": "sales"}, []),
    ({"findings": {"category": "secret"}}, []),
]


@pytest.mark.parametrize(("rule", "redacted"), SURFACES)
def test_surfaces_that_a_rule_redacts(rule, redacted):
    found = policy({**rule, "action": "redact"})
    for surface in ("prompts", "answers", "arguments", "results"):
        call = facts(tool="" if surface in {"prompts", "answers"} else "send_email", agent="support")
        assert (found.redaction(call, Past(), surface) is not None) is (surface in redacted)
        may = surface in redacted or ("findings" in rule)
        assert (found.may_redact(call, surface) is not None) is may


def test_a_rule_with_a_tool_is_not_about_model_calls():
    found = policy({"tool": "send_email", "action": "redact"})
    assert found.redaction(facts(tool=""), Past(), "prompts") is None
    assert found.redaction(facts(), Past(), "results") is not None


def test_a_rate_is_counted_once_for_a_call_and_its_surfaces():
    found = policy({"action": "redact", "rate": {"limit": 0}})
    assert found.redaction(facts(), Past(is_beyond=True), "results") is None
    assert found.redaction(facts(), Past(is_beyond=True), "results", ("r0",)) is not None


RESTORED = [("send_email", True), ("mail/*", True), (["x", "send_*"], True), ("bank/*", False), (None, False)]


@pytest.mark.parametrize(("restore", "is_restored"), RESTORED)
def test_the_tools_that_get_values_back(restore, is_restored):
    found = policy({"action": "redact"}, **({} if restore is None else {"restore": restore}))
    assert found.restores(facts(server="mail")) is is_restored


WRONG_REDACTION = [
    ("rules:\n  - {id: a, action: deny, surfaces: [results]}\n", 2, "rules[0].surfaces", "for the action `redact`"),
    ("rules:\n  - {id: a, tool: x, action: redact, surfaces: [answers]}\n", 2, "rules[0].surfaces", "model calls"),
    ("rules:\n  - {id: a, action: redact, surfaces: [result]}\n", 2, "rules[0].surfaces", "result"),
    ("restore: []\nrules: []\n", 1, "restore", "is empty"),
    ("restore: x\nrules:\n  - {id: a, tool: x, action: deny}\n", 1, "restore", "no rule has the action `redact`"),
]


@pytest.mark.parametrize(("text", "line", "key", "reason"), WRONG_REDACTION)
def test_wrong_keys_of_a_redaction_are_named_with_line_and_key(tmp_path, text, line, key, reason):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    (problem, *_) = loader.read(path, KEY).problems
    assert problem.line == line
    assert problem.key.startswith(key)
    assert reason in str(problem)
