"""Python programs that say that they are ready, wait for a line, and work until they end or are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def started(code: str, *words: object) -> subprocess.Popen[str]:
    """Starts a program, and returns its process when it is ready.

    Args:
        code: The program, which prints ``ready`` and then reads a line.
        words: Its arguments.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Lets a program that waits begin its work."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def killed(processes: Sequence[subprocess.Popen[str]], log: Path, size: int) -> int:
    """Kills programs in the middle of their work, and returns how many of them had not ended by themselves.

    Args:
        processes: The processes, which wait.
        log: A file that exists and that they write to.
        size: Bytes by which it grows before they are killed.
    """
    begun = log.stat().st_size
    for process in processes:
        go(process)
    while log.stat().st_size < begun + size and any(process.poll() is None for process in processes):
        time.sleep(0.002)
    count = 0
    for process in processes:
        count += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return count
