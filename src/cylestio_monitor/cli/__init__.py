"""The command `cylestio`: what the store holds and what the settings say. Commands format, they never compute."""

from __future__ import annotations

from cylestio_monitor.cli.group import main

__all__ = ["main"]
