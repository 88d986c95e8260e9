"""Decisions of a policy: every condition, the strictest action, defaults, and a replay without content."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cylestio_monitor.govern import facts as f
from cylestio_monitor.govern.policy import Policy, PolicyDocument, loader
from cylestio_monitor.govern.policy.document import ACTIONS, STRICTNESS, json_schema

KEY = b"key of the tests"


class Past:
    """A history with fixed answers."""

    def __init__(self, tools=(), findings=(), count=1, used=(0, 0.0)):
        self._answers = tools, findings, count, used

    def tools(self, _):
        return self._answers[0]

    def findings(self, _):
        return self._answers[1]

    def exceeds(self, rule, condition, facts):
        return self._answers[2] > condition.limit

    def used(self, subject, seconds, facts):
        return self._answers[3]


def policy(*rules, **keys):
    tree = {"rules": [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)], **keys}
    return Policy(msgspec.convert(tree, PolicyDocument), KEY)


def facts(tool="send_email", arguments=None, **more):
    found, complete = f.argument_facts(arguments if arguments is not None else {}, KEY)
    return f.CallFacts(time_ns=1, tool=tool, arguments=found, complete=complete, **more)


def decide(rule, call, past=None, **keys):
    return policy(rule, **keys).decide(call, past or Past())


def opposite(action):
    return "deny" if action == "allow" else "allow"


INSIDE = {"arguments": {"to": {"host": "example.com"}}, "action": "allow"}
NAMES = [
    ("tool", "send_email", True),
    ("tool", "send_*", True),
    ("tool", ["read_file", "send_email"], True),
    ("tool", "mail/*", True),
    ("tool", "mail/send_email", True),
    ("tool", "bank/*", False),
    ("tool", "Send_email", False),
    ("agent", "support", True),
    ("agent", "sup*", True),
    ("agent", "sales", False),
    ("user", ["ann", "bob"], True),
    ("user", "b?b", False),
    ("role", "admin", True),
    ("role", ["guest"], False),
    ("session", "s-1", True),
    ("session", "s-2", False),
]


@pytest.mark.parametrize(("key", "given", "fits"), NAMES)
@pytest.mark.parametrize("action", ACTIONS[1:])
def test_conditions_on_names(key, given, fits, action):
    call = facts(server="mail", agent="support", user="ann", roles=("staff", "admin"), session="s-1")
    assert decide({key: given, "action": action}, call).action == (action if fits else "allow")


# condition, value, an allow rule fits, another rule fits
VALUES = [
    ("ann", "ann", True, True),
    ("ann", "Ann", False, False),
    (5, 5, True, True),
    (5, "5", False, False),
    (True, True, True, True),
    (True, 1, False, False),
    (["a", "b"], "b", True, True),
    (["a", "b"], "c", False, False),
    ({"equals": None}, None, True, True),
    ({"glob": "rep*.pdf"}, "report.pdf", True, True),
    ({"glob": "rep*.pdf"}, "a report.pdf", False, False),
    ({"regex": "[a-z]{3}"}, "abc", True, True),
    ({"regex": "[a-z]{3}"}, "abcd", False, False),
    ({"host": "*.example.com"}, "https://api.example.com/x", True, True),
    ({"host": "example.com"}, "ann@example.com", True, True),
    ({"host": "example.com"}, "ann@EXAMPLE.com.", True, True),
    ({"host": "example.com"}, "ann@example.com, eve@evil.test", False, True),
    ({"host": "example.com"}, "http://example.com\\@evil.test/", False, True),
    ({"host": "example.com"}, "http://example.com@evil.test/", False, False),
    ({"host": "example.com"}, "http://evil.test/?next=example.com", False, True),
    ({"host": "example.com"}, "http://2130706433/", False, False),
    ({"host": "example.com"}, "no host here", False, False),
    ({"path": "/srv/data"}, "/srv/data/a.txt", True, True),
    ({"path": "/srv/data"}, "/srv/data/../../etc/passwd", False, False),
    ({"path": "/srv/data"}, "/srv/data/%2e%2e/%2e%2e/etc/passwd", False, False),
    ({"path": "/srv/data"}, "/srv/database/x", False, False),
    ({"path": "/srv/data"}, "\\srv\\data\\x", True, True),
    ({"path": "/srv/data"}, "//srv//data//x", True, True),
    ({"path": "/"}, "/etc/passwd", True, True),
    ({"path": "."}, "notes.txt", True, True),
    ({"path": "/srv/data"}, "$(cat x); rm -rf y", False, True),
    ({"min": 10}, 10, True, True),
    ({"min": 10}, 9.5, False, False),
    ({"min": 1000}, "1,500", True, True),
    ({"min": 1000}, "a lot", False, True),
    ({"min": 1000}, "inf", False, True),
    ({"max": 10}, 11, False, False),
    ({"max": 10}, "ten", False, True),
    ({"max": 10, "negate": True}, 11, True, True),
    ({"max": 10, "negate": True}, "eleven", False, True),
    ({"max": 10, "negate": True}, 10, False, False),
    ({"host": "example.com", "negate": True}, "eve@evil.test", True, True),
    ({"host": "example.com", "negate": True}, "ann@example.com eve@evil.test", False, True),
    ({"host": "example.com", "negate": True}, "ann@example.com", False, False),
    ({"max_length": 3}, "abc", True, True),
    ({"max_length": 3}, "abcd", False, False),
    ({"present": True}, "x", True, True),
    ({"present": False}, "x", False, False),
    ({"json_schema": {"type": "string", "minLength": 2}}, "ab", True, True),
    ({"json_schema": {"type": "string", "minLength": 2}}, "a", False, False),
    ({"min": 1, "max": 3}, 2, True, True),
    ({"min": 1, "max": 3}, 4, False, False),
    (5, 5.0, True, True),
    (1000.0, 1000, True, True),
    ({"glob": "1234*"}, 1234567, True, True),
    ({"regex": "[0-9]{7}"}, 1234567, True, True),
    ({"glob": "true"}, True, True, True),
    ({"json_schema": {"const": True}}, True, True, True),
    ({"json_schema": {"type": "boolean"}}, "true", False, False),
    ({"min": 1000}, "1.000,50", False, True),
    ({"min": 10}, "1,5", False, True),
    ({"max": 2000}, "1,500.25", True, True),
]
"""Values that have one reading, or none."""


@pytest.mark.parametrize(("condition", "value", "allows", "denies"), VALUES)
def test_conditions_on_arguments(condition, value, allows, denies):
    call = facts(arguments={"to": value, "other": "x"})
    rule = {"tool": "send_email", "arguments": {"to": condition}}
    assert (decide({**rule, "action": "allow"}, call, default="deny").action == "allow") is allows
    assert (decide({**rule, "action": "deny"}, call).action == "deny") is denies


@pytest.mark.parametrize("action", ["allow", "deny"])
def test_of_several_values_an_allow_rule_needs_all_and_another_rule_one(action):
    call = facts(arguments={"to": ["ann@example.com", "eve@evil.test"]})
    for host, fits in (("example.com", action == "deny"), ("evil.test", action == "deny"), ("*", True)):
        found = decide(
            {"arguments": {"to": {"host": host}}, "action": action},
            call,
            default="deny" if action == "allow" else "allow",
        )
        assert (found.rule == "r0") is fits, host


def test_an_argument_that_is_absent_fits_no_allow_rule():
    call = facts(arguments={"cc": "ann@example.com"})
    assert decide(INSIDE, call, default="deny").action == "deny"
    assert decide({"arguments": {"to": {"present": False}}, "action": "deny"}, call).action == "deny"


def test_more_values_than_facts_are_kept_for_fit_no_allow_rule():
    call = facts(arguments={"to": ["ann@example.com"] * (f.MAX_ARGUMENTS + 1)})
    assert not call.complete
    assert decide(INSIDE, call, default="deny").action == "deny"


FINDING = f.FindingFact("secret", "secret.aws-access-key-id", "high", "tool_call")
ORIGIN = f.OriginFact("to[0]", "web/get_page", "prose", "medium")
CONDITIONS = [
    ({"findings": {"category": "secret"}}, True),
    ({"findings": {"category": "secret", "severity": "critical"}}, False),
    ({"findings": {"rule": "secret.*", "surface": ["llm", "tool_call"]}}, True),
    ({"findings": {"surface": "system"}}, False),
    ({"from": {"severity": "medium"}}, True),
    ({"from": {"severity": "high"}}, False),
    ({"from": {"shape": "prose", "tool": "web/*", "argument": "to"}}, True),
    ({"from": {"shape": "field"}}, False),
    ({"from": {"argument": "cc"}}, False),
    ({"after": {"tool": "db/*"}}, True),
    ({"after": {"tool": "mail/*"}}, False),
    ({"after": {"category": "prompt_injection"}}, True),
    ({"after": {"rule": "jailbreak.*"}}, False),
    ({"after": {"data": ["personal"]}}, True),
    ({"after": {"data": ["secret"]}}, False),
    ({"after": {"tool": "db/*", "data": ["secret"]}}, False),
    ({"rate": {"limit": 2, "per": "hour", "by": "user"}}, True),
    ({"rate": {"limit": 3}}, False),
    ({"budget": {"tokens": 100}}, True),
    ({"budget": {"tokens": 101, "cost": 2}}, False),
    ({"budget": {"cost": 1.5}}, True),
]


@pytest.mark.parametrize(("condition", "fits"), CONDITIONS)
def test_conditions_on_findings_origins_and_the_past(condition, fits):
    call = facts(findings=(FINDING,), origins=(ORIGIN,))
    past = Past(["db/read"], [("prompt_injection", "injection.x"), ("sensitive_data", "pii.email")], 3, (100, 1.5))
    assert (decide({**condition, "action": "ask"}, call, past).action == "ask") is fits


@pytest.mark.parametrize("order", list(itertools.permutations(ACTIONS, 3)))
def test_the_strictest_action_wins_in_any_order(order):
    made = policy(
        *({"tool": "send_email", "agent": "*" * (n + 1), "action": a} for n, a in enumerate(order)), default="deny"
    )
    found = made.decide(facts(), Past())
    assert found.action == max(order, key=STRICTNESS.__getitem__)
    assert found.fitting == ("r0", "r1", "r2")


def test_the_default_of_the_agent_counts_and_model_calls_have_none():
    made = policy(default="allow", agents={"support": {"default": "deny"}})
    assert made.decide(facts(agent="support"), Past()).action == "deny"
    assert made.decide(facts(agent="sales"), Past()).action == "allow"
    assert made.decide(f.CallFacts(time_ns=1, model="m", agent="support"), Past()).action == "allow"


def test_a_decision_names_rule_version_and_reason_without_content():
    call = facts(server="mail", arguments={"to": "ann@secret-name.example"})
    found = decide({"tool": "mail/*", "arguments": {"to": {"host": "*"}}, "action": "deny"}, call, version="7")
    assert found.version == "7"
    assert found.reason == "Rule r0 denies the tool mail/send_email because of its arguments."
    assert decide({"action": "ask", "reason": "Ask the owner."}, call).reason == "Ask the owner."
    same, other = policy({"action": "ask"}), policy({"action": "deny"})
    assert same.version == policy({"action": "ask"}).version != other.version


def test_a_tool_that_is_denied_whatever_it_is_given_is_known_before_any_call():
    bare = f.CallFacts(time_ns=0, tool="drop_table", agent="support")
    assert policy({"tool": "drop_*", "action": "deny"}).never_allows(bare)
    assert not policy({"tool": "drop_*", "action": "deny", "agent": "sales"}).never_allows(bare)
    assert not policy({"tool": "drop_*", "action": "deny", "arguments": {"t": "x"}}).never_allows(bare)
    assert policy({"tool": "read_*", "action": "allow"}, default="deny").never_allows(bare)
    assert not policy({"tool": "drop_*", "action": "allow", "arguments": {"t": "x"}}, default="deny").never_allows(bare)
    assert policy({"tool": "drop_*", "action": "allow", "agent": "sales"}, default="deny").never_allows(bare)


@pytest.mark.parametrize(("condition", "value", "allows", "denies"), VALUES)
def test_a_replay_of_stored_facts_decides_as_live_or_says_that_it_cannot(condition, value, allows, denies):
    live = facts(arguments={"to": value})
    stored = live.storable()
    assert json.dumps(value).encode() not in stored or not isinstance(value, str) or len(value) < 4
    replayed = f.load(stored)
    for action in ("allow", "deny"):
        made = policy(
            {"arguments": {"to": condition}, "action": action}, default="deny" if action == "allow" else "allow"
        )
        before, after = made.decide(live, Past()), made.decide(replayed, Past())
        assert after.undecided == ("r0",) or after == before
    needs_content = isinstance(condition, dict) and {"glob", "regex", "json_schema"} & set(condition)
    assert bool(after.undecided) <= bool(needs_content)


ARGUMENT = "rules:\n  - id: a\n    action: deny\n    arguments:\n      n: "
PROBLEMS = [
    ("rules: [{id: a, action: deni}]", 1, "rules[0].action", "invalid enum value"),
    ("rules:\n  - id: a\n    action: deny\n    tols: x\n", 4, "rules[0].tols", "did you mean `tool`"),
    ("default: maybe", 1, "default", "invalid enum value"),
    ("rules:\n  - {id: a, action: deny}\n  - {id: a, action: ask, tool: x}\n", 3, "rules[1].id", "taken by rules[0]"),
    ("rules:\n  - {id: a, action: deny, tool: []}", 2, "rules[0].tool", "is empty"),
    ("rules:\n  - {id: a, action: deny, tool: ''}", 2, "rules[0].tool", "is empty"),
    ("rules:\n  - {id: a, action: deny, role: ['']}", 2, "rules[0].role", "is empty"),
    ("rules:\n  - {id: a, action: deny, agent: []}", 2, "rules[0].agent", "is empty"),
    (
        "rules:\n  - id: a\n    action: deny\n    arguments:\n      n: {min: 5, max: 1}\n",
        5,
        "rules[0].arguments.n",
        "above",
    ),
    (
        "rules:\n  - id: a\n    action: deny\n    arguments:\n      n: {regex: '(a+)+b'}\n",
        5,
        "rules[0].arguments.n",
        "may match 4226",
    ),
    ("rules:\n  - id: a\n    action: deny\n    arguments:\n      n: {regex: '('}\n", 5, "rules[0].arguments.n", ""),
    ("rules:\n  - {id: a, tool: x, action: deny}\n  - {id: b, tool: x, action: ask}\n", 3, "rules[1]", "contradicts"),
    ("rules:\n  - {id: a, action: deny, findings: {}}", 2, "rules[0].findings", "names no condition"),
    ("rules:\n  - {id: a, action: deny, budget: {per: day}}", 2, "rules[0].budget", ""),
    ("rules:\n  - {id: 'a b', action: deny}", 2, "rules[0].id", "regex"),
    ("[1]", 1, "", "must be a mapping"),
]


@pytest.mark.parametrize(("text", "line", "key", "reason"), PROBLEMS)
def test_a_wrong_policy_is_named_by_file_line_and_key_and_never_used(tmp_path, text, line, key, reason):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    loaded = loader.read(path, KEY)
    assert loaded.policy is None
    problem = loaded.problems[0]
    assert (problem.source, problem.line, problem.key) == (str(path), line, key)
    assert reason.lower() in problem.reason.lower()


def test_a_rule_that_cannot_decide_is_a_warning(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(
        "policy:\n  rules:\n    - {id: wide, tool: 'x*', action: deny}\n    - {id: narrow, tool: xyz, action: ask}\n"
        "    - {id: idle, tool: y, action: allow}\n"
    )
    loaded = loader.read(path, KEY)
    assert loaded.policy is not None
    assert [(problem.line, problem.key) for problem in loaded.problems] == [(4, "rules[1]"), (5, "rules[2]")]
    assert "never decides: rules[0] (wide)" in loaded.problems[0].reason


def test_the_schema_for_editors_accepts_what_the_loader_accepts():
    import jsonschema

    document = {
        "default": "deny",
        "rules": [{"id": "a", "action": "allow", "tool": "x", "arguments": {"n": {"max": 3}, "m": 1}}],
    }
    jsonschema.validate(document, json_schema())
    msgspec.convert(document, PolicyDocument)


ODD = ["http://a.example/x", "/srv/data/../x", "1e400", "\ud800", "a@b.example"]
TEXTS = st.text(max_size=30) | st.sampled_from(ODD)
VALUE = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(VALUE)
def test_no_argument_makes_a_decision_raise(value):
    made = policy(
        {"arguments": {"*": {"host": "a.example", "path": "/srv", "min": 1}}, "action": "deny"},
        {"arguments": {"*": {"glob": "a*"}}, "action": "ask"},
    )
    call = facts(arguments=value)
    assert made.decide(call, Past()).action in ACTIONS
    f.load(call.storable())
