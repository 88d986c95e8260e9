"""The pipeline is made once, when a call needs it or is to be expected, and never in the way of anything else."""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest

from cylestio_monitor import forks, pipeline, runtime
from cylestio_monitor.runtime import Lazy
from road import Road


@pytest.fixture
def made(scanners):
    yield lambda: Road(scanners).pipeline
    runtime.turn_off()


def test_it_is_made_once_by_whoever_needs_it_first(made):
    count = []

    def make():
        count.append(1)
        time.sleep(0.02)
        return made()

    runtime.turn_on(make)
    assert runtime.is_on(make)
    assert not count
    found = []
    threads = [threading.Thread(target=lambda: found.append(pipeline.current())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(count) == 1
    assert set(found) == {runtime.pipeline}
    runtime.turn_off()
    assert pipeline.current() is None


def test_an_import_of_an_sdk_has_it_made_by_a_thread(made):
    makers = []

    def make():
        makers.append(threading.current_thread())
        return made()

    runtime.turn_on(make)
    runtime.prewarm()
    runtime.prewarm()
    runtime.wait(10)
    assert runtime.pipeline is not None
    (maker,) = makers
    assert maker is not threading.current_thread()
    assert (maker.name, maker.daemon) == ("cylestio-start", True)


def test_what_its_making_calls_is_let_through(made):
    """A library that the pipeline is made with may itself be observed."""
    within = []

    def make():
        within.append(pipeline.current())
        return made()

    runtime.turn_on(make)
    assert pipeline.current() is not None
    assert within == [None]


def test_one_that_cannot_be_made_is_reported_once_and_breaks_nothing(caplog):
    def make():
        raise OSError("no space left")

    runtime.turn_on(make)
    with caplog.at_level(logging.WARNING, "cylestio_monitor"):
        assert pipeline.current() is None
        assert pipeline.current() is None
    (record,) = caplog.records
    assert (record.levelname, record.message.partition(";")[0]) == ("WARNING", "Monitoring could not start")
    assert isinstance(record.exc_info[1], OSError)
    assert not runtime.is_on()


def test_off_waits_for_one_that_is_being_made(made):
    begun = threading.Event()

    def make():
        begun.set()
        time.sleep(0.05)
        return made()

    runtime.turn_on(make)
    runtime.prewarm()
    assert begun.wait(5)
    runtime.turn_off()
    assert runtime.pipeline is None
    runtime.wait(5)
    assert pipeline.current() is None


def test_a_fork_waits_for_it_and_the_child_has_it(made):
    begun, ready = threading.Event(), made()

    def make():
        begun.set()
        time.sleep(0.05)
        return ready

    runtime.turn_on(make)
    runtime.prewarm()
    assert begun.wait(5)
    child = os.fork()
    if child == 0:
        os._exit(0 if runtime.pipeline is ready and pipeline.current() is ready else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_part_is_made_once_and_again_after_a_failure():
    answers = iter([OSError("busy"), "part", "another"])

    def make():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    part = Lazy(make)
    assert part.created is None
    with pytest.raises(OSError, match="busy"):
        part.get()
    assert part.get() == part.get() == part.created == "part"
    part.reset_lock()
    assert part.get() == "part"


def test_a_part_is_not_there_for_its_own_making():
    part = Lazy(lambda: [part.get()])
    assert part.get() == [None]


def test_a_part_that_was_being_created_at_a_fork_can_be_created_in_the_child():
    begun, go_on = threading.Event(), threading.Event()

    def create():
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            go_on.wait(5)
        return "part"

    part = Lazy(create)
    creator = threading.Thread(target=part.get)
    creator.start()
    assert begun.wait(5)
    child = os.fork()
    if child == 0:
        os._exit(0 if part.get() == "part" else 1)
    go_on.set()
    creator.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_thread_is_started_where_there_is_nothing_to_create(made, monkeypatch):
    started = []
    monkeypatch.setattr(runtime, "get_or_create", lambda: started.append(1))
    runtime.turn_off()
    runtime.prewarm()
    runtime.wait(5)
    runtime.install(made())
    runtime.prewarm()
    runtime.wait(5)
    assert started == []


def test_it_is_on_while_it_is_pending_and_once_it_exists(made):
    assert not runtime.is_on()
    runtime.turn_on(made)
    assert runtime.is_on()
    assert runtime.is_on(made)
    assert not runtime.is_on(lambda: None)
    assert runtime.get_or_create() is runtime.pipeline
    assert runtime.is_on()
    runtime.turn_off()
    assert not runtime.is_on()


def test_a_wait_ends_when_its_time_is_over_and_within_the_creation(made):
    gate, within = threading.Event(), []

    def make():
        runtime.wait(60)  # by the thread that is waited for
        within.append(True)
        gate.wait(30)
        return made()

    runtime.turn_on(make)
    runtime.prewarm()
    runtime.wait(0.01)
    assert runtime.pipeline is None
    gate.set()
    runtime.wait(30)
    assert within == [True]
    assert runtime.pipeline is not None


def test_a_fork_does_not_wait_for_ever_and_the_child_creates_its_own(made, monkeypatch):
    monkeypatch.setattr(runtime, "FORK_S", 0.05)
    gate, begun, mine = threading.Event(), threading.Event(), os.getpid()

    def make():
        if os.getpid() == mine:
            begun.set()
            gate.wait(30)
        return made()

    runtime.turn_on(make)
    runtime.prewarm()
    assert begun.wait(5)
    child = os.fork()
    if child == 0:
        runtime.prewarm()
        runtime.wait(30)
        os._exit(0 if runtime.pipeline is not None else 1)
    gate.set()
    runtime.wait(30)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_a_child_does_at_first_leaves_a_process_without_threads_as_it_was(made):
    """The same callbacks in this process, which has no creator at the moment."""
    part, ready = Lazy(lambda: "part"), made()
    runtime.turn_on(lambda: ready)
    forks._in_child()
    assert part.get() == "part"
    runtime.prewarm()
    runtime.wait(30)
    assert runtime.pipeline is ready
