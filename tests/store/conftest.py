from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from store.collector import Collector
from store.filling import Bench


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "data" / "store.db")
    yield made
    made.close()


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


def eventually(condition, timeout=10.0):
    """Waits for a condition of another thread or process."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)


@contextmanager
def took_less_than(seconds):
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    assert took < seconds, f"took {took:.2f} s"
