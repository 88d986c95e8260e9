"""The Model Context Protocol: every request of the `mcp` SDK, 1.x and 2.x, client and server, and of `fastmcp`.

One CLIENT span where a request is sent, one SERVER span where it is answered, whichever peer that is, with the trace
context carried in ``params._meta``. Arguments, results and tool definitions are scanned on both sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor.capture import registry

if TYPE_CHECKING:
    from cylestio_monitor.capture.instrumentor import Instrumentor


def __getattr__(name: str) -> type[Instrumentor]:
    return registry.public_attribute("mcp", name)
