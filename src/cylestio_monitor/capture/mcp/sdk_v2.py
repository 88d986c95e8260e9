"""MCP SDK 2.x: where requests are sent and answered."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.mcp import messages as wire
from cylestio_monitor.capture.mcp.exchange import BLOCKED, Exchanges, refusal
from cylestio_monitor.capture.mcp.native_spans import answering, looking_up, marked, sending
from cylestio_monitor.errors import BlockedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


class Version2:
    """The replacements of methods of the SDK's dispatchers, server kernel and client session."""

    def __init__(self, exchanges: Exchanges) -> None:
        """Shares what is known of the sessions."""
        self._exchanges = exchanges

    async def send(self, wrapped: Callable[..., Awaitable[Any]], dispatcher: Any, args: Any, kwargs: Any) -> Any:
        """``JSONRPCDispatcher.send_raw_request``: either peer asks the other, over a pair of streams."""
        method, params, _ = _request(*args, **kwargs)
        exchange = self._exchanges.send(dispatcher, getattr(dispatcher, "_write_stream", None), method, params)
        if exchange is None:
            return await wrapped(*args, **kwargs)
        args, kwargs = _with_params(exchange.params(params), params, args, kwargs)
        with marked(sending, exchange):
            return await exchange.run(lambda: wrapped(*args, **kwargs), _itself)

    async def send_direct(self, wrapped: Callable[..., Awaitable[Any]], peer: Any, args: Any, kwargs: Any) -> Any:
        """``DirectDispatcher._dispatch_request``: either peer asks the other, in memory and without JSON-RPC."""
        method, params, opts = _request(*args, **kwargs)
        exchange = self._exchanges.send(peer, None, method, params, (opts or {}).get("request_id"))
        if exchange is None:
            return await wrapped(*args, **kwargs)
        carried = {**(exchange.params(params) or {}), "_meta": exchange.meta(params)}
        return await exchange.run(lambda: wrapped(method, carried, opts), _itself)

    def compose(self, wrapped: Callable[..., Any], runner: Any, args: Any, kwargs: Any) -> Callable[[Any], Any]:
        """``ServerRunner._compose_server_middleware``: the chain that answers a message; ours is its outermost link."""
        chain = wrapped(*args, **kwargs)

        async def link(ctx: Any) -> Any:
            if ctx.request_id is None or looking_up.get():
                return await chain(ctx)
            try:
                outbound = getattr(runner.connection, "outbound", None)
                channel = getattr(outbound, "_outbound", outbound)
                exchange = self._exchanges.answer(
                    channel,
                    getattr(channel, "_write_stream", None),
                    ctx.method,
                    ctx.params,
                    ctx.request_id,
                    request=ctx.request,
                    version=ctx.protocol_version,
                    session_id=getattr(runner.connection, "session_id", None),
                )
            except BlockedError as error:
                if ctx.method != wire.CALL_TOOL:
                    raise _error(error) from error
                return _tool_error(runner, ctx, error)
            if exchange is None:
                return await chain(ctx)
            passed = exchange.params(ctx.params)
            inner = ctx if passed is ctx.params else dataclasses.replace(ctx, params=passed)
            try:
                with marked(answering, exchange):
                    return await exchange.run(lambda: chain(inner), wire.dumped)
            except BlockedError as error:
                if exchange.refused is not error:  # one that the tool itself has raised
                    raise
                return _tool_error(runner, ctx, error)

        return link

    async def answer(self, wrapped: Callable[..., Awaitable[Any]], session: Any, args: Any, kwargs: Any) -> Any:
        """``ClientSession._on_request``: the client answers the server."""
        dctx, method, params = _inbound(*args, **kwargs)
        dispatcher = session._dispatcher  # noqa: SLF001 -- the SDK's
        stream, version = getattr(dispatcher, "_write_stream", None), getattr(session, "_negotiated_version", None)
        try:
            exchange = self._exchanges.answer(dispatcher, stream, method, params, dctx.request_id, version=version)
        except BlockedError as error:
            raise _error(error) from error
        if exchange is None:
            return await wrapped(*args, **kwargs)
        with marked(answering, exchange):
            return await exchange.run(lambda: wrapped(*args, **kwargs), _itself)

    async def look_up(self, wrapped: Callable[..., Awaitable[Any]], _: Any, args: Any, kwargs: Any) -> Any:
        """``_tool_input_schema`` of the HTTP entry: the server lists its tools to check headers against a schema."""
        with marked(looking_up, value=True):
            return await wrapped(*args, **kwargs)


def _with_params(passed: Any, given: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[tuple[Any, ...], Any]:
    """The arguments of a request method with other params."""
    if passed is given:
        return args, kwargs
    return ((args[0], passed, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "params": passed})


def _request(
    method: str, params: Mapping[str, Any] | None = None, opts: Any = None, **_: Any
) -> tuple[str, Mapping[str, Any] | None, Any]:
    return method, params, opts


def _inbound(dctx: Any, method: str, params: Mapping[str, Any] | None) -> tuple[Any, str, Mapping[str, Any] | None]:
    return dctx, method, params


def _itself(answer: Any) -> Any:
    return answer


def _tool_error(runner: Any, ctx: Any, error: BlockedError) -> Any:
    from mcp_types import CallToolResult  # noqa: PLC0415 -- the SDK is there only where this runs

    answer = CallToolResult.model_validate(refusal(error))
    return runner._serialize(ctx.method, ctx.protocol_version, answer)  # noqa: SLF001 -- the SDK's


def _error(error: BlockedError) -> Any:
    from mcp.shared.exceptions import MCPError  # noqa: PLC0415 -- as above

    return MCPError(code=BLOCKED, message=str(error))
