"""Which pipeline takes the calls: one that runs, one that is made when it is needed first, or none.

A program that imports no SDK makes no call, and pays for no rules and no store. One that does has the pipeline made by
a thread while the import goes on, so that its first call seldom waits.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.pipeline import Pipeline

log = logging.getLogger("cylestio_monitor")

FORK_S = 2.0
"""How long a fork waits for the thread that makes the pipeline, in seconds."""

_STORE = "cylestio_monitor.store.sqlite.fork_guard"
"""What closes the store's connections before a fork."""

pipeline: Pipeline | None = None
"""The running pipeline, once it is made. To be read here, and set by the functions below."""

_make: Callable[[], Pipeline] | None = None
_whenever_made: list[Callable[[Pipeline], None]] = []
_maker: threading.Thread | None = None
_lock = threading.RLock()
_is_making = False


def turn_on(make: Callable[[], Pipeline]) -> None:
    """Has calls taken by the pipeline that `make` gives, from the first one on."""
    global pipeline, _make
    with _lock:
        pipeline, _make = None, make


def install(made: Pipeline) -> None:
    """Has calls taken by a pipeline that is there already."""
    global pipeline, _make
    with _lock:
        pipeline, _make = made, None
        _tell(made)


def turn_off() -> None:
    """Has no call taken any more; a pipeline that is being made is waited for."""
    global pipeline, _make
    with _lock:
        pipeline, _make = None, None


def whenever_made(then: Callable[[Pipeline], None]) -> None:
    """Has `then` called with the running pipeline, and with each one that comes after it; more than once does no harm.

    Takes no lock: this is called within imports, and a pipeline that is being made imports too.
    """
    if then not in _whenever_made:
        _whenever_made.append(then)
    if pipeline is not None:
        then(pipeline)


def is_on(make: Callable[[], Pipeline] | None = None) -> bool:
    """Whether calls are taken; given `make`, whether by the pipeline of just that."""
    if make is not None:
        return _make is make
    return pipeline is not None or _make is not None


def demand() -> Pipeline | None:
    """The running pipeline, made now where it is not there yet; `None` where calls are not taken."""
    if pipeline is None and _make is not None:
        with _lock:
            _demand()
    return pipeline


def _demand() -> None:
    global pipeline, _make, _is_making  # noqa: PLW0603
    if pipeline is not None or _make is None or _is_making:
        return  # a span that ends while the pipeline is made, of a library that it is made with, has none yet
    _is_making = True
    try:
        pipeline = _make()
        _tell(pipeline)
    except Exception:
        _make = None
        log.warning("Monitoring could not start; the application runs on without it", exc_info=True)
    finally:
        _is_making = False


def _tell(made: Pipeline) -> None:
    for then in _whenever_made:
        then(made)


def expect() -> None:
    """Has the pipeline made by a thread: an SDK was imported, so a call is to be expected."""
    global _maker  # noqa: PLW0603
    if pipeline is None and _make is not None and (_maker is None or not _maker.is_alive()):
        _maker = threading.Thread(target=demand, name="cylestio-start", daemon=True)
        _maker.start()


def wait(timeout_s: float) -> None:
    """Waits for a pipeline that is being made, at most `timeout_s` seconds."""
    if _maker is not None and _maker is not threading.current_thread():
        _maker.join(timeout_s)


def _before_fork() -> None:
    there = sys.modules.get(_STORE)
    wait(FORK_S)
    store = sys.modules.get(_STORE)
    if there is None and store is not None:
        store.before()  # imported meanwhile: too late to be asked by this fork itself


def _after_fork() -> None:
    global _lock, _maker, _is_making  # noqa: PLW0603
    _lock = threading.RLock()
    _maker, _is_making = None, False


if hasattr(os, "register_at_fork"):
    # A child has none of the threads, but every lock that they held: also those of modules half imported.
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
