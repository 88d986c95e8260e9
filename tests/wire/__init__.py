"""Loopback servers that speak the wire formats of model providers, with their faults."""

from wire.blocks import Answer, Text, Thinking, ToolCall, Usage
from wire.faults import Broken, ErrorEvent, Fault, Hang, Status
from wire.server import Recorded, WireServer

__all__ = [
    "Answer",
    "Broken",
    "ErrorEvent",
    "Fault",
    "Hang",
    "Recorded",
    "Status",
    "Text",
    "Thinking",
    "ToolCall",
    "Usage",
    "WireServer",
]
