"""Limits that four processes count together, and approvals that processes spend while they are killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))
from cylestio_monitor.config import StoreSettings
from cylestio_monitor.govern.approvals import ApprovalRequest
from cylestio_monitor.store import Store
from cylestio_monitor.store.control.approvals import StoredApprovals
from waiting_processes import go, killed, started

Table = list[tuple[str, ...]]

PROCESSES: Final = 4
ALLOWED: Final = 1000
APPROVALS: Final = 300
KILLS: Final = 8

COUNTS: Final = """
import sys, time
from pathlib import Path
from cylestio_monitor.config import StoreSettings
from cylestio_monitor.govern.facts import CallFacts
from cylestio_monitor.govern.limits import CallLimiter, Limit
from cylestio_monitor.store.control.counters import StoreCounters

counters = StoreCounters(Path(sys.argv[1]), StoreSettings())
limiter = CallLimiter([Limit("few", "calls", int(sys.argv[2]), "day", "all")], counters)
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
fits = sum(limiter.before(CallFacts(time_ns=1, tool="t")) is None for _ in range(int(sys.argv[3])))
print(fits, time.perf_counter() - began, flush=True)
"""

SPENDS: Final = """
import sys, time
from pathlib import Path
from cylestio_monitor.config import StoreSettings
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.control.approvals import StoredApprovals

ledger, log = StoredApprovals(Path(sys.argv[1]), StoreSettings()), open(sys.argv[2], "a")
print("ready", flush=True)
sys.stdin.readline()
for number in range(*map(int, sys.argv[3:])):
    try:
        if ledger.spend(f"id{number}", "digest", now_ns=time.time_ns()):
            log.write(f"id{number}\\n")
            log.flush()
    except StoreError:
        pass  # the other process held the lock too long: nothing was spent, and no call may run
"""


def limits(folder: Path, allowed: int = ALLOWED) -> Table:
    """The row of a limit of calls that four processes share."""
    path = _store(folder / "limits")
    tries = allowed // 2
    processes = [started(COUNTS, path, allowed, tries) for _ in range(PROCESSES)]
    for process in processes:
        go(process)
    answers = [process.communicate(timeout=600)[0].split() for process in processes]
    passed = sum(int(fits) for fits, _ in answers)
    slowest = max(float(seconds) for _, seconds in answers)
    return [
        (
            f"limit of {allowed:,} calls, {PROCESSES} processes that try {PROCESSES * tries:,}",
            f"{passed:,} passed, {PROCESSES * tries / slowest:,.0f} tries/s",
        )
    ]


def approvals(folder: Path, count: int = APPROVALS, rounds: int = KILLS) -> Table:
    """The row of approvals that pairs of processes spend until both are killed."""
    path = _store(folder / "approvals")
    ledger, now = StoredApprovals(path, StoreSettings()), time.time_ns()
    for number in range(count):
        request = ApprovalRequest(
            id=f"id{number}", digest="digest", tool="t", arguments="{}", created_ns=now, expires_ns=now + 3600 * 10**9
        )
        ledger.open(request)
        ledger.decide(request.id, allow=True, by="ann", now_ns=now)
    log, kills = folder / "spent", 0
    log.touch()
    for _ in range(rounds):
        known = max(0, len(log.read_text("utf-8").split()) - 20)  # some of them once more, to be refused
        processes = [started(SPENDS, path, log, known, count) for _ in range(2)]
        kills += killed(processes, log, 250)
    spent = log.read_text("utf-8").split()
    return [
        (
            f"approvals spent by pairs of processes, {kills} processes killed with `kill -9`",
            f"{len(set(spent))} used, {len(spent) - len(set(spent))} used twice",
        )
    ]


def _store(folder: Path) -> Path:
    store = Store.open(folder / "store.db", StoreSettings())
    store.flush(20)
    store.close()
    return store.path
