"""What is wrapped in the modules of the MCP SDK and of fastmcp, and what stands in for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from cylestio_monitor.capture.mcp import native_spans
from cylestio_monitor.capture.mcp.exchange import Exchanges
from cylestio_monitor.capture.mcp.sdk_v1 import Version1
from cylestio_monitor.capture.mcp.sdk_v2 import Version2

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches


class _Target(NamedTuple):
    """One attribute of the SDK.

    Attributes:
        module: Where it is.
        owner: The class that holds it; empty for a function of the module.
        name: The attribute.
        stand_in: What is called in its place, with ``(original, instance, args, kwargs)``.
        major: The major version of `mcp` that has it; 0 for any.
    """

    module: str
    owner: str
    name: str
    stand_in: Callable[..., Any]
    major: int = 0


_exchanges = Exchanges()
_one, _two = Version1(_exchanges), Version2(_exchanges)


def _connected(wrapped: Callable[..., Any], transport: object, args: Any, kwargs: Any) -> Any:
    """``StreamableHTTPTransport.post_writer``: the one place that knows both a transport and the stream it reads."""
    _exchanges.peers.connected(kwargs["write_stream"] if "write_stream" in kwargs else args[3], transport)
    return wrapped(*args, **kwargs)


TARGETS = (
    _Target("mcp.client.streamable_http", "StreamableHTTPTransport", "post_writer", _connected),
    _Target("mcp.shared.session", "BaseSession", "send_request", _one.send, 1),
    _Target("mcp.shared.session", "RequestResponder", "respond", _one.respond, 1),
    _Target("mcp.server.lowlevel.server", "Server", "_handle_request", _one.serve, 1),
    _Target("mcp.server.session", "ServerSession", "_received_request", _one.serve_initialize, 1),
    _Target("mcp.client.session", "ClientSession", "_received_request", _one.answer, 1),
    _Target("mcp.client.session", "ClientSession", "_on_request", _two.answer, 2),
    _Target("mcp.shared.jsonrpc_dispatcher", "JSONRPCDispatcher", "send_raw_request", _two.send, 2),
    _Target("mcp.shared.jsonrpc_dispatcher", "", "otel_span", native_spans.sdk_span, 2),
    _Target("mcp.shared.direct_dispatcher", "DirectDispatcher", "_dispatch_request", _two.send_direct, 2),
    _Target("mcp.server.runner", "ServerRunner", "_compose_server_middleware", _two.compose, 2),
    _Target("mcp.server._otel", "", "otel_span", native_spans.sdk_span, 2),
    _Target("mcp.server._streamable_http_modern", "", "_tool_input_schema", _two.look_up, 2),
    _Target("fastmcp.client.telemetry", "", "get_tracer", native_spans.fastmcp_tracer),
    _Target("fastmcp.server.telemetry", "", "get_tracer", native_spans.fastmcp_tracer),
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps what the version of a module that is installed holds.

    Raises:
        AttributeError: It does not hold what this version of the SDK should.
    """
    major = 2 if "mcp_types" in sys.modules else 1
    for target in TARGETS:
        if target.module == module.__name__ and target.major in {0, major}:
            owner = getattr(module, target.owner) if target.owner else module
            patches.wrap(owner, target.name, _calling(target.stand_in))


def _calling(stand_in: Callable[..., Any]) -> Callable[[Any], object]:
    return lambda original: wrapt.FunctionWrapper(original, stand_in)
