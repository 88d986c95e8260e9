"""The attributes of the MCP SDK and of fastmcp that are wrapped, and the functions that replace them."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.mcp import native_spans
from cylestio_monitor.capture.mcp.exchange import Exchanges
from cylestio_monitor.capture.mcp.sdk_v1 import Version1
from cylestio_monitor.capture.mcp.sdk_v2 import Version2
from cylestio_monitor.capture.patching import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_exchanges = Exchanges()
_v1, _v2 = Version1(_exchanges), Version2(_exchanges)


def _is_v1() -> bool:
    return "mcp_types" not in sys.modules


def _is_v2() -> bool:
    return "mcp_types" in sys.modules


def _method(replacement: Callable[..., Any]) -> Callable[[Any], Any]:
    """Returns a decorator for a method that calls `replacement(bound original, instance, args, kwargs)`.

    The result is a function of the same kind as the original, so that `inspect`, `pickle` and `copy` treat it alike.
    """

    def decorate(original: Any) -> Any:
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                if not args:
                    return await original(**kwargs)
                bound = functools.partial(original, args[0])
                return await replacement(bound, args[0], args[1:], kwargs)

            return call_async

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not args:
                return original(**kwargs)
            return replacement(functools.partial(original, args[0]), args[0], args[1:], kwargs)

        return call

    return decorate


def _function(replacement: Callable[..., Any]) -> Callable[[Any], Any]:
    """Returns a decorator for a function of a module that calls `replacement(original, None, args, kwargs)`."""

    def decorate(original: Any) -> Any:
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                return await replacement(original, None, args, kwargs)

            return call_async

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            return replacement(original, None, args, kwargs)

        return call

    return decorate


def _connected(original: Callable[..., Any], transport: object, args: Any, kwargs: Any) -> Any:
    """``StreamableHTTPTransport.post_writer``: the only method that knows a transport and the stream it reads."""
    stream = kwargs["write_stream"] if "write_stream" in kwargs else args[3] if len(args) > 3 else None
    if stream is not None:
        _exchanges.peers.connected(stream, transport)
    return original(*args, **kwargs)


_CLIENT, _DISPATCHER = "mcp.client.session", "mcp.shared.jsonrpc_dispatcher"

TARGETS = (
    Target("mcp.client.streamable_http", "StreamableHTTPTransport", "post_writer", _method(_connected)),
    Target("mcp.shared.session", "BaseSession", "send_request", _method(_v1.send), applies=_is_v1),
    Target("mcp.shared.session", "RequestResponder", "respond", _method(_v1.respond), applies=_is_v1),
    Target("mcp.server.lowlevel.server", "Server", "_handle_request", _method(_v1.serve), applies=_is_v1),
    Target("mcp.server.session", "ServerSession", "_received_request", _method(_v1.serve_initialize), applies=_is_v1),
    Target(_CLIENT, "ClientSession", "_received_request", _method(_v1.answer), applies=_is_v1),
    Target(_CLIENT, "ClientSession", "_on_request", _method(_v2.answer), applies=_is_v2),
    Target(_DISPATCHER, "JSONRPCDispatcher", "send_raw_request", _method(_v2.send), applies=_is_v2),
    Target(
        "mcp.shared._otel",
        "",
        "otel_span",
        _function(native_spans.sdk_span),
        optional=True,
        is_imported_by_name=True,
    ),
    Target(
        "mcp.shared.direct_dispatcher",
        "DirectDispatcher",
        "_dispatch_request",
        _method(_v2.send_direct),
        applies=_is_v2,
    ),
    Target("mcp.server.runner", "ServerRunner", "_compose_server_middleware", _method(_v2.compose), applies=_is_v2),
    Target("mcp.server._streamable_http_modern", "", "_tool_input_schema", _function(_v2.look_up), applies=_is_v2),
    Target("fastmcp.client.telemetry", "", "get_tracer", _function(native_spans.fastmcp_tracer)),
    Target("fastmcp.server.telemetry", "", "get_tracer", _function(native_spans.fastmcp_tracer)),
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module that the installed version of the SDK uses.

    Raises:
        AttributeError: The module does not define an attribute that this version of the SDK should have.
    """
    patches.apply(TARGETS, module)
