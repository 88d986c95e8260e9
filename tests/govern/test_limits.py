"""Limits count by subject and period, and runaway agents are found without a policy."""

from __future__ import annotations

import pytest

from cylestio_monitor.govern import facts as f
from cylestio_monitor.govern.limits import CallLimiter, Limit, Price, cost_of
from cylestio_monitor.govern.runaway import DEPTH, FAN_OUT, LOOP, TOKENS, RunawayDetector

KEY = b"key"


def facts(tool="t", arguments=None, **fields):
    found, _ = f.argument_facts(arguments or {}, KEY)
    return f.CallFacts(**{"time_ns": 1, "tool": tool, "arguments": found, "trace": "1", **fields})


@pytest.mark.parametrize("by", ["session", "user", "agent", "tool", "server", "model", "all"])
def test_calls_are_counted_by_subject(by):
    limiter = CallLimiter([Limit("l", "calls", 2, "hour", by)])
    same = {"session": "s", "user": "u", "agent": "a", "server": "v", "model": "m"}
    other = facts("other", **{name: value * 2 for name, value in same.items()})
    assert [limiter.before(facts(**same)) is None for _ in range(3)] == [True, True, False]
    assert (limiter.before(other) is None) is (by != "all")


def test_a_call_beyond_the_limit_says_when_it_fits_again():
    limiter = CallLimiter([Limit("daily", "calls", 1, "day", "all"), Limit("wide", "calls", 100, "day", "all")])
    limiter.before(facts())
    exceeded = limiter.before(facts())
    assert exceeded.limit.name == "daily"
    assert 86_000 < exceeded.retry_after <= 86_401


@pytest.mark.parametrize(
    ("measure", "used", "amount"), [("tokens", {"tokens": 60}, 100), ("cost", {"cost": 0.006}, 0.01)]
)
def test_what_calls_use_is_added_up(measure, used, amount):
    limiter = CallLimiter([Limit("budget", measure, amount, "day", "agent")])
    for fits in (True, True, False):
        assert (limiter.before(facts(agent="a")) is None) is fits
        limiter.after(facts(agent="a", **used))
    assert limiter.before(facts(agent="b")) is None


def test_a_limit_of_one_tool_counts_that_tool():
    limiter = CallLimiter([Limit("mail", "calls", 0, "minute", "all", tool="mail/send")])
    assert limiter.before(facts("send", server="mail")) is not None
    assert limiter.before(facts("send", server="post")) is None


def test_an_unknown_storage_is_a_clear_error():
    with pytest.raises(Exception, match="nosuch"):
        CallLimiter([], "nosuch://x")


def test_the_longest_name_gives_the_price():
    prices = {"claude": Price(1, 2), "claude-opus": Price(10, 20)}
    assert cost_of("claude-opus-4", 1_000_000, 500_000, prices) == 20
    assert cost_of("claude-haiku", 1_000_000, 0, prices) == 1
    assert cost_of("other", 1_000_000, 0, prices) == 0


def rules(detector, calls, **more):
    return [found for call in calls for found in detector.record(call, **more)]


def test_the_same_call_again_and_again_is_a_loop_and_each_threshold_is_reported_once():
    same = [facts(arguments={"q": "x"})] * (LOOP.reached * 10 + 5)
    assert rules(RunawayDetector(), same) == [(LOOP.rule, "low"), (LOOP.rule, "medium")]
    different = [facts(arguments={"q": n}) for n in range(LOOP.reached * 10)]
    assert rules(RunawayDetector(), different) == []
    traces = [facts(arguments={"q": "x"}, trace=str(n)) for n in range(LOOP.reached * 10)]
    assert rules(RunawayDetector(), traces) == []


def test_fan_out_depth_and_tokens():
    many = [facts(arguments={"q": n}) for n in range(FAN_OUT.reached)]
    assert rules(RunawayDetector(), many) == [(FAN_OUT.rule, "low")]
    assert rules(RunawayDetector(), [facts()], depth=DEPTH.reached) == [(DEPTH.rule, "low")]
    model = [facts(tool="", tokens=TOKENS.reached // 4) for _ in range(5)]
    assert rules(RunawayDetector(), model) == [(TOKENS.rule, "low")]


@pytest.mark.parametrize("tool", ["mail/send_email", "send_email", "mail/*", "send_*", "*"])
@pytest.mark.parametrize("server", ["mail", ""])
def test_a_limit_names_tools_as_a_policy_does(tool, server):
    limiter = CallLimiter([Limit("few", "calls", 1, "hour", "all", tool)])
    covers = bool(server) or "/" not in tool
    found = [limiter.before(facts("send_email", server=server)) is None for _ in range(3)]
    assert found == [True, not covers, not covers]
    assert (limiter.before(facts("other", server="bank")) is None) is (tool != "*")
