"""Limits that several processes count in the store, and approvals that a killed process must not let be used twice."""

from __future__ import annotations

import os
import time

import pytest
from limits import RateLimitItemPerHour, RateLimitItemPerSecond
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from cylestio_monitor.config import StoreSettings, load
from cylestio_monitor.govern.approvals import ApprovalRequest
from cylestio_monitor.govern.facts import CallFacts
from cylestio_monitor.govern.limits import CallLimiter, Limit
from cylestio_monitor.govern.outcome import Actor
from cylestio_monitor.otel import control
from cylestio_monitor.store import Store
from cylestio_monitor.store.control.approvals import StoredApprovals
from cylestio_monitor.store.control.counters import StoreCounters
from waiting_processes import go, killed, started

SETTINGS = StoreSettings()
PROCESSES = 4

COUNTS = """
import sys
from pathlib import Path
from cylestio_monitor.config import StoreSettings
from cylestio_monitor.govern.facts import CallFacts
from cylestio_monitor.govern.limits import CallLimiter, Limit
from cylestio_monitor.store.control.counters import StoreCounters

counters = StoreCounters(Path(sys.argv[1]), StoreSettings())
limiter = CallLimiter([Limit("few", "calls", 100, "day", "all"), Limit("sum", "tokens", 10**6, "day", "all")], counters)
print("ready", flush=True)
sys.stdin.readline()
fits = 0
for number in range(60):
    fits += limiter.before(CallFacts(time_ns=1, tool="t")) is None
    limiter.after(CallFacts(time_ns=1, tokens=7))
print(fits, flush=True)
"""

SPENDS = """
import sys, time
from pathlib import Path
from cylestio_monitor.config import StoreSettings
from cylestio_monitor.store.control.approvals import StoredApprovals

ledger = StoredApprovals(Path(sys.argv[1]), StoreSettings())
log = open(sys.argv[2], "a")
print("ready", flush=True)
sys.stdin.readline()
for number in range(400):
    if ledger.spend(f"id{number}", "d", now_ns=time.time_ns()):
        log.write(f"id{number}\\n")
        log.flush()
"""


@pytest.fixture
def path(tmp_path):
    store = Store.open(tmp_path / "data" / "store.db", SETTINGS)
    assert store.flush(10)
    yield store.path
    store.close()


def test_four_processes_together_make_exactly_the_calls_that_a_limit_allows(path):
    processes = [started(COUNTS, path) for _ in range(PROCESSES)]
    for process in processes:
        go(process)
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    assert sum(map(int, answers)) == 100
    counters = StoreCounters(path, SETTINGS)
    (key,) = [key for key in keys(counters) if key.startswith("sum:")]
    assert counters.get(key.removeprefix("sum:")) == PROCESSES * 60 * 7


def keys(counters):
    with counters._connection() as connection:
        return {row[0] for row in connection.execute("SELECT key FROM limit_counter")}


def test_a_fork_counts_on(path):
    limiter = CallLimiter([Limit("few", "calls", 3, "day", "all")], StoreCounters(path, SETTINGS))
    facts = CallFacts(time_ns=1, tool="t")
    assert limiter.before(facts) is None
    child = os.fork()
    if child == 0:
        os._exit(0 if limiter.before(facts) is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [limiter.before(facts) is None for _ in range(2)] == [True, False]


def test_windows_move_and_sums_expire(path, monkeypatch):
    now = [time.time_ns()]
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    counters = StoreCounters(path, SETTINGS)
    assert [counters.acquire_entry("k", 2, 10) for _ in range(3)] == [True, True, False]
    start, count = counters.get_moving_window("k", 2, 10)
    assert (round(start), count) == (round(now[0] / 1e9), 2)
    assert not counters.acquire_entry("k", 2, 10, amount=3)
    now[0] += 11_000_000_000
    assert counters.get_moving_window("k", 2, 10)[1] == 0
    assert counters.acquire_entry("k", 2, 10, amount=2)
    assert [counters.incr("k", 10, 5), counters.incr("k", 10, 2), counters.get("k")] == [5, 7, 7]
    assert counters.get_expiry("k") == pytest.approx(now[0] / 1e9 + 10)
    now[0] += 10_000_000_000
    assert (counters.get("k"), counters.incr("k", 10, 1)) == (0, 1)
    assert counters.get_expiry("other") == pytest.approx(now[0] / 1e9)


def test_the_strategies_of_the_library_take_it(path):
    counters = StoreCounters(path, SETTINGS)
    moving, fixed = MovingWindowRateLimiter(counters), FixedWindowRateLimiter(counters)
    for strategy in (moving, fixed):
        assert [strategy.hit(RateLimitItemPerHour(2), "a") for _ in range(3)] == [True, True, False]
        assert strategy.hit(RateLimitItemPerHour(2), "b")
        assert strategy.get_window_stats(RateLimitItemPerHour(2), "b").remaining == 1
    assert fixed.test(RateLimitItemPerSecond(5), "c", cost=5)
    assert counters.check()
    counters.clear(RateLimitItemPerHour(2).key_for("a"))
    assert fixed.hit(RateLimitItemPerHour(2), "a")
    assert counters.reset() > 0
    assert keys(counters) == set()


def test_another_file_in_the_place_of_the_store_is_taken(path):
    counters = StoreCounters(path, SETTINGS)
    assert counters.acquire_entry("k", 1, 60)
    for file in path.parent.glob(f"{path.name}*"):
        file.rename(file.with_name(f"old-{file.name}"))
    assert counters.acquire_entry("k", 1, 60)
    assert not counters.acquire_entry("k", 1, 60)


LIMITS = "limits: [{name: few, measure: calls, amount: 1, per: day, by: all}]"


@pytest.mark.parametrize(
    ("counters", "has_store", "shared"),
    [("store", True, True), ("memory://", True, False), ("store", False, False), ("nosuch://x", True, False)],
)
def test_the_settings_choose_where_limits_are_counted(tmp_path, path, caplog, counters, has_store, shared):
    file = tmp_path / "cylestio.yaml"
    file.write_text(f"control: {{counters: '{counters}', {LIMITS}}}")
    loaded = load({"CYLESTIO_CONFIG": str(file)})
    assert loaded.problems == []
    store = Store.shared(path, SETTINGS) if has_store else None
    first, second = (control.make_controller(loaded, store) for _ in range(2))
    actor = Actor(session="s")
    assert first.decide(actor, "t", {}).exceeded is None
    assert (second.decide(actor, "t", {}).exceeded is not None) is shared
    falls_back = not has_store or counters == "nosuch://x"
    assert ("in this process alone" in caplog.text) is falls_back


def test_an_approval_is_spent_at_most_once_when_processes_are_killed(path, tmp_path):
    ledger, now = StoredApprovals(path, SETTINGS), time.time_ns()
    for number in range(400):
        ledger.open(
            ApprovalRequest(
                id=f"id{number}", digest="d", tool="t", arguments="{}", created_ns=now, expires_ns=now + 600_000_000_000
            )
        )
        assert ledger.decide(f"id{number}", allow=True, by="ann", now_ns=now)
    log = tmp_path / "spent"
    for _ in range(3):
        processes = [started(SPENDS, path, log) for _ in range(2)]
        killed(processes, log, 200)
    spent = log.read_text().split()
    assert len(spent) > 50
    assert len(spent) == len(set(spent))
    assert all(not ledger.spend(one, "d", now_ns=time.time_ns()) for one in spent)
