"""Turns at the interpreter: one of our threads at a time, and none for long where another waits."""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise

import pytest

from cylestio_monitor.store.gil_yield import Turn, turn
from store.conftest import took_less_than


def compute(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_no_two_threads_have_the_turn_and_each_gets_it_before_the_other_is_through():
    one, inside, most, order = Turn(), [], [], []

    def work(name):
        for _ in range(3):
            with one:
                for _ in range(20):
                    inside.append(name)
                    most.append(len(inside))
                    compute(0.0005)
                    inside.remove(name)
                    order.append(name)
                    one.offer()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(most) == {1}
    assert len(order) == 120
    first, last = order.index("b"), 119 - order[::-1].index("a")
    changes = sum(before != after for before, after in pairwise(order))
    assert first < last
    assert changes > 6  # three lots of each: more, and they took turns within them


def test_a_thread_that_keeps_the_interpreter_is_not_offered_it_every_time():
    one, stop, theirs = Turn(), threading.Event(), []

    def greedy():
        while not stop.is_set():
            compute(0.02)
        theirs.append(time.thread_time())

    other = threading.Thread(target=greedy)
    other.start()
    began, before = time.perf_counter(), time.thread_time()
    with one:
        while time.perf_counter() - began < 0.4:
            compute(0.0002)
            one.offer()
    ours = time.thread_time() - before
    stop.set()
    other.join()
    assert ours > theirs[0] / 3  # offered after every millisecond it would be a fifth; left alone it is the same


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_may_have_the_turn_whoever_had_it_in_the_parent():
    held, done = threading.Event(), threading.Event()

    def hold():
        with turn:
            held.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with took_less_than(5):
        pid = os.fork()
        if pid == 0:
            with turn:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    done.set()
    holder.join()
