"""The Model Context Protocol: every request of the `mcp` SDK, 1.x and 2.x, client and server, and of `fastmcp`.

One CLIENT span where a request is sent, one SERVER span where it is answered, whichever peer that is, with the trace
context carried in ``params._meta``. Arguments, results and tool definitions are scanned on both sides.
"""

from __future__ import annotations

from typing import ClassVar

from cylestio_monitor.capture.instrumentor import Instrumentor


class MCPInstrumentor(Instrumentor):
    """Hooks the `mcp` SDK, and takes the place of the spans that it and `fastmcp` make."""

    modules: ClassVar[tuple[str, ...]] = (
        "mcp.client.session",
        "mcp.client.streamable_http",
        "mcp.server._otel",
        "mcp.server._streamable_http_modern",
        "mcp.server.lowlevel.server",
        "mcp.server.runner",
        "mcp.server.session",
        "mcp.shared.direct_dispatcher",
        "mcp.shared.jsonrpc_dispatcher",
        "mcp.shared.session",
        "fastmcp.client.telemetry",
        "fastmcp.server.telemetry",
    )
    dependencies: ClassVar[tuple[str, ...]] = ("mcp >= 1.9, < 3",)
    hooks = "targets"
