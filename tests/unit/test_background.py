import gc
import os
import threading
import time

from cylestio_monitor.background import BackgroundWorker


def test_work_is_done_on_another_thread_and_a_failure_does_not_stop_it():
    worker, done, names = BackgroundWorker(), threading.Event(), []
    worker.start()
    worker.put(lambda: 1 / 0)
    worker.put(lambda: (names.append(threading.current_thread().name), done.set()))
    assert done.wait(5)
    assert names == ["cylestio-background"]


def test_a_finaliser_may_hand_work_over_while_its_own_thread_holds_a_lock():
    worker, lock, done = BackgroundWorker(), threading.Lock(), threading.Event()
    worker.start()

    def work() -> None:
        with lock:
            done.set()

    class Dropped:
        def __del__(self) -> None:
            worker.put(work)

    dropped = Dropped()
    dropped.itself = dropped  # only the collector can free it
    with lock:
        del dropped
        gc.collect()
        assert not done.is_set()
    assert done.wait(5)


def test_drain_does_at_once_what_waits():
    worker, done = BackgroundWorker(), []
    worker.put(lambda: done.append(1))
    worker.drain()
    assert done == [1]


def test_work_that_waits_is_done_later_in_order_and_at_once_where_all_is_drained(monkeypatch):
    monkeypatch.setattr("cylestio_monitor.background.LATER_S", 0.1)
    worker, times, done, started = BackgroundWorker(), [], threading.Event(), time.monotonic()
    worker.start()
    worker.put_later(lambda: times.append(time.monotonic()))
    worker.put_later(lambda: (times.append(time.monotonic()), done.set()))
    assert done.wait(5)
    assert times == sorted(times)
    assert times[0] - started >= 0.1
    monkeypatch.setattr("cylestio_monitor.background.LATER_S", 60)
    worker.put_later(lambda: times.append(0))
    worker.drain()
    assert times[2] == 0


def test_drain_waits_for_what_the_thread_has_begun():
    worker, begun, done = BackgroundWorker(), threading.Event(), []
    worker.start()
    worker.put(lambda: (begun.set(), time.sleep(0.1), done.append(1)))
    assert begun.wait(5)
    worker.drain()
    assert done == [1]


def test_what_waits_in_the_parent_is_not_done_in_a_forked_child():
    worker, done = BackgroundWorker(), []
    worker.start()
    worker.put_later(lambda: done.append(1))
    pid = os.fork()
    if pid == 0:  # pragma: no cover -- the child
        worker.drain()
        os._exit(len(done))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    worker.drain()
    assert done == [1]


def test_a_forked_child_has_a_thread_of_its_own():
    worker = BackgroundWorker()
    worker.start()
    pid = os.fork()
    if pid == 0:  # pragma: no cover -- the child
        done = threading.Event()
        worker.start()
        worker.put(done.set)
        os._exit(0 if done.wait(5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_work_may_drain_the_worker_that_does_it(monkeypatch):
    monkeypatch.setattr("cylestio_monitor.background._DRAIN_S", 600)
    worker, done = BackgroundWorker(), threading.Event()
    worker.start()
    worker.put(lambda: (worker.drain(), done.set()))
    assert done.wait(5)


def test_a_drain_does_not_wait_for_ever_for_work_that_hangs(monkeypatch):
    monkeypatch.setattr("cylestio_monitor.background._DRAIN_S", 0.05)
    worker, begun, gate, done = BackgroundWorker(), threading.Event(), threading.Event(), threading.Event()
    worker.start()
    worker.put(lambda: (begun.set(), gate.wait(), done.set()))
    assert begun.wait(5)
    worker.drain()
    assert not done.is_set()
    gate.set()
    assert done.wait(5)


def test_a_worker_that_was_reset_forgets_its_work_and_starts_anew():
    """By hand and in this process: what a forked child does."""
    worker, done = BackgroundWorker(), []
    worker.put(lambda: done.append("of the parent"))
    worker.put_later(lambda: done.append("of the parent"))
    worker.reset()
    worker.start()
    finished = threading.Event()
    worker.put(lambda: (done.append(threading.current_thread() is threading.main_thread()), finished.set()))
    assert finished.wait(5)
    worker.drain()
    assert done == [False]
