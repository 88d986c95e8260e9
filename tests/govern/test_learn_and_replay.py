"""A policy learned from calls fits them, and a replay decides as the calls were decided when they happened."""

from __future__ import annotations

import random

import msgspec
import pytest

from cylestio_monitor import yamlfile
from cylestio_monitor.govern import facts as f
from cylestio_monitor.govern.history import CallHistory
from cylestio_monitor.govern.policy import Policy, PolicyDocument, learn, loader, replay

KEY = b"key of the tests"
SECOND = 1_000_000_000


def call(seconds, tool, arguments, *, agent="support", session="s", findings=(), tokens=0):
    found, complete = f.argument_facts(arguments, KEY)
    return f.CallFacts(
        time_ns=int(seconds * SECOND),
        tool=tool,
        agent=agent,
        session=session,
        trace=f"{session:0>32}",
        arguments=found,
        complete=complete,
        findings=findings,
        tokens=tokens,
    )


def workday(seed):
    """A day of calls of two agents with regular habits."""
    chosen = random.Random(seed)
    calls = []
    for number in range(400):
        session = f"s{chosen.randrange(12)}"
        at = number * 20 + chosen.random()
        kind = chosen.randrange(4)
        if kind == 0:
            calls.append(
                call(at, "send_email", {"to": [f"u{chosen.randrange(9)}@example.com"], "n": 1}, session=session)
            )
        elif kind == 1:
            path = f"/srv/data/team{chosen.randrange(3)}/file{number}.txt"
            calls.append(call(at, "read_file", {"path": path}, session=session))
        elif kind == 2:
            calls.append(call(at, "refund", {"amount": chosen.randrange(5, 90)}, session=session))
        else:
            calls.append(call(at, "search", {"q": f"question {number}"}, agent="research", session=session))
    return calls


def learned_policy(calls):
    tree, lines = yamlfile.parse_mapping(learn.to_yaml(learn.learn(calls)), "learned.yaml")
    loaded = loader.build(tree, lines, "learned.yaml", KEY)
    assert loaded.problems == []
    return loaded.policy


@pytest.mark.parametrize("seed", range(5))
def test_a_learned_policy_allows_all_that_was_observed_and_asks_about_at_most_one_in_a_hundred(seed):
    calls = workday(seed)
    found = list(replay.replay(learned_policy(calls), calls))
    actions = [one.decision.action for one in found]
    assert "deny" not in actions
    assert actions.count("ask") <= len(calls) // 100


@pytest.mark.parametrize(
    ("tool", "arguments", "agent"),
    [
        ("send_email", {"to": ["eve@evil.test"], "n": 1}, "support"),
        ("send_email", {"to": ["u1@example.com", "eve@evil.test"], "n": 1}, "support"),
        ("send_email", {"n": 1}, "support"),
        ("read_file", {"path": "/srv/data/../../etc/passwd"}, "support"),
        ("read_file", {"path": "/etc/passwd"}, "support"),
        ("refund", {"amount": 5000}, "support"),
        ("drop_table", {"name": "users"}, "support"),
        ("search", {"q": "anything"}, "support"),
    ],
)
def test_a_learned_policy_denies_what_was_not_observed(tool, arguments, agent):
    policy = learned_policy(workday(1))
    assert policy.decide(call(1e6, tool, arguments, agent=agent), CallHistory()).action == "deny"


def test_a_tool_learned_from_calls_without_an_agent_is_not_allowed_to_each_agent():
    unnamed = [call(number, "wipe", {"path": "/srv/tmp/a"}, agent="") for number in range(3)]
    calls = [*workday(1), *unnamed, call(9, "search", {"q": "x"}, agent="")]
    policy = learned_policy(calls)
    assert {one.decision.action for one in replay.replay(policy, calls)} <= {"allow", "ask"}
    assert policy.decide(call(1e6, "wipe", {"path": "/srv/tmp/a"}, agent=""), CallHistory()).action == "allow"
    for agent in ("support", "research", "unseen"):
        decision = policy.decide(call(1e6, "wipe", {"path": "/srv/tmp/a"}, agent=agent), CallHistory())
        assert decision.action == "deny"


def test_what_was_learned_is_small_and_carries_its_counts():
    text = learn.to_yaml(learn.learn(workday(1)))
    assert 'path: {"path": ["/srv/data/team0", "/srv/data/team1", "/srv/data/team2"]}' in text
    assert 'to: {"host": ["example.com"]}' in text
    assert "calls in 12 sessions" in text
    assert "file" not in text.replace("read_file", "")


def test_calls_with_a_dangerous_finding_are_left_out_and_named():
    bad = f.FindingFact("destructive_command", "sql.drop", "critical", "tool_call")
    calls = [call(1, "query", {"sql": "select 1"}), call(2, "exec", {"sql": "drop"}, findings=(bad,))]
    text = learn.to_yaml(learn.learn(calls))
    assert "tool: query" in text
    assert "tool: exec" not in text
    assert "# Left out: 1 call of exec of agent support with a dangerous finding." in text


@pytest.mark.parametrize("name", ["yes", "a: b", "- x", "it's", '"q"', "näme", "0x10", "*star", "{", "\n"])
def test_names_of_any_spelling_read_back_as_themselves(name):
    calls = [call(1, name, {name: "https://a.example/x"}, agent=name)]
    policy = learned_policy(calls)
    assert policy.decide(calls[0], CallHistory()).action == "allow"


def test_many_folders_become_their_parents_and_never_the_root():
    below = [call(n, "read", {"path": f"/srv/data/d{n}/x.txt"}) for n in range(30)]
    assert learn.learn(below).tools[0].arguments["path"] == {"path": ["/srv/data"]}
    everywhere = [call(n, "read", {"path": f"/top{n}/x.txt"}) for n in range(30)]
    assert "path" not in learn.learn(everywhere).tools[0].arguments


RULES = [
    {"id": "rate", "tool": "send_*", "rate": {"limit": 1, "per": "minute", "by": "session"}, "action": "deny"},
    {"id": "after", "tool": "refund", "after": {"tool": "read_file"}, "action": "ask"},
    {"id": "budget", "budget": {"tokens": 500, "per": "hour", "by": "agent"}, "action": "audit"},
    {"id": "host", "arguments": {"to": {"host": "u1*"}}, "action": "redact"},
    {"id": "amount", "tool": "refund", "arguments": {"amount": {"min": 80}}, "action": "deny"},
    {"id": "secret", "after": {"data": ["secret"]}, "tool": "search", "action": "deny"},
]


@pytest.mark.parametrize("enforce", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_replay_of_stored_facts_equals_the_live_decisions(seed, enforce):
    policy = Policy(msgspec.convert({"rules": RULES}, PolicyDocument), KEY)
    calls = [
        msgspec.structs.replace(
            one, tokens=40, findings=(f.FindingFact("secret", "s", "low", "llm"),) if n % 50 == 7 else ()
        )
        for n, one in enumerate(workday(seed))
    ]
    history, live = CallHistory(), []
    for one in calls:  # what the pipeline does
        decision = policy.decide(one, history)
        if not enforce or decision.action != "deny":
            history.record(one)
        live.append(decision)
    stored = [one.storable() for one in calls]
    replayed = [one.decision for one in replay.replay(policy, map(f.load, stored), enforce=enforce)]
    assert replayed == live
    assert {one.rule for one in live} >= {"rate", "after", "budget", "amount", "default", "secret"}


def test_a_summary_counts_by_rule_with_traces_and_names_what_it_could_not_test():
    rules = [*RULES, {"id": "glob", "arguments": {"q": {"glob": "*secret*"}}, "action": "deny"}]
    policy = Policy(msgspec.convert({"rules": rules}, PolicyDocument), KEY)
    calls = [f.load(one.storable()) for one in workday(3)]
    found = replay.summary(policy, calls)
    assert found.calls == 400
    assert sum(one.calls for one in found.rules) == 400
    assert [one.action for one in found.rules] == sorted(
        (one.action for one in found.rules), key=["deny", "ask", "redact", "audit", "allow"].index
    )
    assert all(0 < len(one.traces) <= 5 for one in found.rules)
    assert found.undecided == {"glob": sum(one.tool == "search" for one in calls)}


def test_a_window_slides_and_counts_by_subject():
    rule = {"id": "r", "rate": {"limit": 2, "per": "minute", "by": "session"}, "action": "deny"}
    policy = Policy(msgspec.convert({"rules": [rule]}, PolicyDocument), KEY)
    calls = [
        call(0, "t", {}),
        call(10, "t", {}),
        call(20, "t", {}),
        call(21, "t", {}, session="other"),
        call(61, "t", {}),
    ]
    assert [one.decision.action for one in replay.replay(policy, calls)] == ["allow", "allow", "deny", "allow", "allow"]
