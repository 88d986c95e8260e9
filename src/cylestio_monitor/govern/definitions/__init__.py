"""Tool definitions pinned per server and tool: versions, their states, and what a change means."""

from __future__ import annotations

from cylestio_monitor.govern.definitions.content import Definition, changed_fields, difference
from cylestio_monitor.govern.definitions.pin_file import Pins, load_pins, save_pins
from cylestio_monitor.govern.definitions.registry import (
    DefinitionStore,
    KnownVersion,
    Refusal,
    SeenVersion,
    ToolDefinitions,
)

__all__ = [
    "Definition",
    "DefinitionStore",
    "KnownVersion",
    "Pins",
    "Refusal",
    "SeenVersion",
    "ToolDefinitions",
    "changed_fields",
    "difference",
    "load_pins",
    "save_pins",
]
