"""Scanners whose compiled rules are kept between tests and between the processes that tests start.

Compiling them takes a process a second or two, reading what was compiled a few hundredths of one.
"""

from __future__ import annotations

from pathlib import Path

import platformdirs

from cylestio_monitor.config import Settings
from cylestio_monitor.scan import Scanner

KEY = b"k" * 32


def scanner(settings: Settings | None = None) -> Scanner:
    """A scanner of these settings; of the default ones without."""
    return Scanner(settings or Settings(), key=KEY, cache_dir=_folder())


def _folder() -> Path:
    folder = Path(platformdirs.user_cache_dir("cylestio-monitor-tests", appauthor=False)) / "rules"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
