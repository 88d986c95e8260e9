"""Fork callbacks run in the order of the parts, and an error of one does not keep the others from running."""

from __future__ import annotations

import os
import threading

import pytest

from cylestio_monitor import forks
from cylestio_monitor.forks import Order
from cylestio_monitor.store.sqlite import fork_guard


@pytest.fixture
def registered(monkeypatch):
    known: dict[str, object] = {}
    monkeypatch.setattr(forks, "_registered", known)
    return known


def fork(child):
    """Forks; returns the exit status of the child, which is the result of `child`."""
    pid = os.fork()
    if pid == 0:
        os._exit(child())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_callbacks_run_by_order_and_not_by_registration(registered):
    seen = []
    for order in reversed(Order):
        forks.register(
            order.name,
            order,
            before=lambda order=order: seen.append(("before", order)),
            in_parent=lambda order=order: seen.append(("parent", order)),
            in_child=lambda order=order: seen.append(("child", order)),
        )
    before = [("before", order) for order in sorted(Order)]
    expected_in_child = [*before, *(("child", order) for order in sorted(Order))]
    assert fork(lambda: 0 if seen == expected_in_child else 1) == 0
    assert seen == [*before, *(("parent", order) for order in sorted(Order))]


def test_a_part_that_is_imported_while_the_fork_waits_is_asked_too(registered):
    """The thread that creates the pipeline may import the store while the fork waits for that thread."""
    seen = []
    forks.register(
        "runtime",
        Order.RUNTIME,
        before=lambda: forks.register("store", Order.STORE, before=lambda: seen.append("store")),
    )
    assert fork(lambda: 0 if seen == ["store"] else 1) == 0


def test_an_error_of_one_part_is_contained(registered):
    seen = []
    forks.register("runtime", Order.RUNTIME, before=lambda: 1 / 0, in_child=lambda: 1 / 0)
    forks.register("store", Order.STORE, before=lambda: seen.append("before"), in_child=lambda: seen.append("child"))
    assert fork(lambda: 0 if seen == ["before", "child"] else 1) == 0


def test_a_second_registration_replaces_the_first(registered):
    seen = []
    for number in range(2):
        forks.register("part", Order.THREADS, before=lambda number=number: seen.append(number))
    assert fork(lambda: 0) == 0
    assert seen == [1]


def test_the_callbacks_of_a_child_run_in_order_and_each_by_itself(registered):
    """By hand and in this process: what the child of a fork does first."""
    seen = []
    forks.register("threads", Order.THREADS, in_child=lambda: seen.append("threads"))
    forks.register("store", Order.STORE, in_child=lambda: 1 / 0)
    forks.register("runtime", Order.RUNTIME, in_child=lambda: seen.append("runtime"))
    forks._in_child()
    assert seen == ["runtime", "threads"]


def test_two_threads_that_fork_at_a_time_leave_the_store_free(monkeypatch):
    monkeypatch.setattr(fork_guard, "_PATIENCE_S", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def fork_slowly():
        fork_guard.before()
        begun.set()
        go_on.wait(20)
        fork_guard.guard.release_after_fork()

    def fork():
        fork_guard.before()  # the other thread forks meanwhile: this one does not get the lock in time
        fork_guard.guard.release_after_fork()

    slow = threading.Thread(target=fork_slowly)
    slow.start()
    assert begun.wait(20)
    quick = threading.Thread(target=fork)
    quick.start()
    quick.join(20)
    go_on.set()
    slow.join(20)
    assert fork_guard.guard.lock.acquire(timeout=5)
    fork_guard.guard.lock.release()
