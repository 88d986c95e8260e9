"""A decision of a person in a framework covers one call, once, and only while it is recorded."""

from __future__ import annotations

import pytest

from cylestio_monitor.errors import StoreError
from cylestio_monitor.govern.approvals import ApprovalRequest, FrameworkApprovals, MemoryLedger

S = 1_000_000_000


def request(number=1, digest="d", expires_ns=10 * S):
    return ApprovalRequest(
        id=f"r{number}", digest=digest, tool="t", arguments="{}", created_ns=0, expires_ns=expires_ns
    )


def approvals(now_ns=S):
    clock = [now_ns]
    ledger = MemoryLedger()
    return FrameworkApprovals(ledger, lambda: clock[0]), ledger, clock


def test_an_allowed_call_is_spent_once():
    decisions, ledger, _ = approvals()
    decisions.record(request(), allow=True, origin="framework")
    assert ledger.state("r1") == "allowed"
    assert decisions.spend("other") is None
    assert decisions.spend("d") == request()
    assert ledger.state("r1") == "used"
    assert decisions.spend("d") is None


def test_two_equal_calls_need_two_decisions():
    decisions, _, _ = approvals()
    for number in (1, 2):
        decisions.record(request(number), allow=True, origin="framework")
    assert [decisions.spend("d").id for _ in range(2)] == ["r1", "r2"]
    assert decisions.spend("d") is None


def test_a_denied_and_an_expired_decision_allow_nothing():
    decisions, ledger, clock = approvals()
    decisions.record(request(), allow=False, origin="framework")
    assert (ledger.state("r1"), decisions.spend("d")) == ("denied", None)
    decisions.record(request(2), allow=True, origin="framework")
    clock[0] = 11 * S
    assert decisions.spend("d") is None
    decisions.record(request(3), allow=True, origin="framework")
    assert decisions.spend("d") is None


def test_a_decision_that_could_not_be_recorded_allows_nothing():
    class Broken(MemoryLedger):
        def open(self, request):
            raise StoreError("full")

    decisions = FrameworkApprovals(Broken(), lambda: S)
    with pytest.raises(StoreError):
        decisions.record(request(), allow=True, origin="framework")
    assert decisions.spend("d") is None


def test_memory_is_bounded():
    decisions, _, _ = approvals()
    for number in range(2000):
        decisions.record(request(number, digest=f"d{number}"), allow=True, origin="framework")
    assert len(decisions._allowed) == 1024
    assert decisions.spend("d0") is None
    assert decisions.spend("d1999") is not None
