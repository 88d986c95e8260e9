import pytest

from cylestio_monitor.config import Settings
from cylestio_monitor.model import ALERT_OF, Finding
from cylestio_monitor.policy import ALLOW, decide, top


def finding(severity: str, rule: str = "r") -> Finding:
    return Finding(rule, "keyword", severity, ALERT_OF[severity], "input", "llm", "messages[0]", 0, 1)


def test_nothing_found_is_allowed():
    assert decide([], Settings(mode="block")) is ALLOW
    assert top([]) is None


@pytest.mark.parametrize(
    ("mode", "block", "severity", "decision", "action"),
    [
        ("monitor", ("dangerous",), "medium", "warn", "audit"),
        ("monitor", ("dangerous",), "high", "deny", "audit"),
        ("block", ("dangerous",), "low", "warn", "audit"),
        ("block", ("dangerous",), "high", "deny", "block"),
        ("block", ("suspicious", "dangerous"), "low", "deny", "block"),
        ("block", ("suspicious",), "critical", "warn", "audit"),
        ("block", (), "critical", "warn", "audit"),
    ],
)
def test_the_verdict_follows_mode_and_levels(mode, block, severity, decision, action):
    verdict = decide([finding("low", "small"), finding(severity, "big")][1:], Settings(mode=mode, block=block))
    assert (verdict.decision, verdict.action, verdict.reason) == (decision, action, "big")


def test_the_reason_is_the_worst_of_the_denied():
    found = [finding("low", "a"), finding("critical", "b"), finding("high", "c")]
    assert decide(found, Settings(mode="block")).reason == "b"
    assert decide(found, Settings(mode="block", block=("suspicious",))).reason == "a"
