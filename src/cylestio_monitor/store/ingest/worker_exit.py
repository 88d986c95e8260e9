"""Worker processes leave without running exit handlers; each library has a way of its own to be asked first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def before_exit(action: Callable[[], Any]) -> None:
    """Has the action run before this process ends, where it is a worker of a library that the application uses.

    Args:
        action: Takes nothing; kept for as long as the process lives.
    """
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, action, exitpriority=0)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        # In the prefork pool, the parent kills a worker as soon as the worker reports that it is done.
        signals.worker_process_shutdown.connect(lambda **_: action(), weak=False)
