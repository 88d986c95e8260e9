"""Approvals in the store: shared by processes, spent once under `kill -9`, each step in the audit trail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from cylestio_monitor.config import StoreSettings
from cylestio_monitor.govern.approvals import ApprovalRequest, Approvals
from cylestio_monitor.store.control.approvals import StoredApprovals
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.store import Store


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data" / "store.db"
    Store.open(path, StoreSettings()).close()
    return path


def request(number=0, seconds=60.0, **fields):
    now = time.time_ns()
    values = {
        "id": f"request{number}",
        "digest": f"{number:064x}",
        "tool": "db/run_sql",
        "arguments": '{"q": "x"}',
        **fields,
    }
    return ApprovalRequest(
        created_ns=now,
        expires_ns=now + int(seconds * 1e9),
        session="s",
        agent="a",
        trace="1" * 32,
        span="2" * 16,
        **values,
    )


def events(path):
    with queries.connect(path) as connection:
        rows = connection.execute("SELECT event_type FROM event WHERE channel = 'POLICY' ORDER BY id").fetchall()
    return [row[0] for row in rows]


def test_a_decision_of_another_process_lets_the_call_run_and_each_step_is_recorded(path):
    made = request()
    other = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from cylestio_monitor.config import StoreSettings\n"
        "from cylestio_monitor.store.control.approvals import StoredApprovals\n"
        "ledger = StoredApprovals(Path(sys.argv[1]), StoreSettings())\n"
        "while ledger.state('request0') is None: time.sleep(0.01)\n"
        "assert ledger.decide('request0', allow=True, by='ann', now_ns=time.time_ns())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", other, str(path)])
    assert Approvals(StoredApprovals(path, StoreSettings())).wait(made)
    assert process.wait(30) == 0
    assert events(path) == ["approval_requested", "approval_allowed", "approval_used"]


def test_an_approval_is_not_spent_again_by_a_process_that_starts_later(path):
    ledger, made = StoredApprovals(path, StoreSettings()), request()
    ledger.open(made)
    ledger.decide(made.id, allow=True, by="ann", now_ns=time.time_ns())
    assert not ledger.spend(made.id, "f" * 64, now_ns=time.time_ns())
    assert ledger.spend(made.id, made.digest, now_ns=time.time_ns())
    assert not StoredApprovals(path, StoreSettings()).spend(made.id, made.digest, now_ns=time.time_ns())
    assert events(path)[2:] == ["approval_refused", "approval_used", "approval_refused"]


@pytest.mark.parametrize("allow", [True, False])
def test_an_expired_request_takes_no_decision(path, allow):
    ledger, made = StoredApprovals(path, StoreSettings()), request(seconds=-1)
    ledger.open(made)
    assert not ledger.decide(made.id, allow=allow, by="late", now_ns=time.time_ns())
    assert ledger.expire(made.id)
    assert ledger.state(made.id) == "expired"
    assert ledger.state("unknown") is None


SPENDER = """
import os, sys, time
from pathlib import Path
from cylestio_monitor.config import StoreSettings
from cylestio_monitor.store.control.approvals import StoredApprovals
ledger = StoredApprovals(Path(sys.argv[1]), StoreSettings())
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    if ledger.spend(f"request{number}", f"{number:064x}", now_ns=time.time_ns()):
        os.write(1, f"{number}\\n".encode())
"""


@pytest.mark.slow
def test_no_approval_is_spent_twice_by_processes_that_are_killed(path):
    ledger, count = StoredApprovals(path, StoreSettings()), 60
    for number in range(count):
        ledger.open(request(number))
        ledger.decide(f"request{number}", allow=True, by="ann", now_ns=time.time_ns())
    command = [sys.executable, "-c", SPENDER, str(path), str(count)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()
    first = processes[0].stdout.readline()  # one of them is killed in the middle of its work
    os.kill(processes[0].pid, signal.SIGKILL)
    spent = [int(line) for process in processes for line in process.communicate(timeout=120)[0].split()]
    spent += [int(first)] if first.strip() else []
    assert len(spent) == len(set(spent))
    with queries.connect(path) as connection:
        used = {row[0] for row in connection.execute("SELECT id FROM approval WHERE state = 'used'")}
    assert {f"request{number}" for number in spent} <= used
    assert len(used) == count
