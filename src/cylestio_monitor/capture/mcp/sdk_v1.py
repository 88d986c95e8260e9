"""MCP SDK 1.x: where requests are sent and answered. The SDK neither traces itself nor carries the trace context."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import wrapt

from cylestio_monitor.capture.mcp import messages as wire
from cylestio_monitor.capture.mcp.exchange import BLOCKED, Exchange, Exchanges, refusal
from cylestio_monitor.capture.mcp.native_spans import answering, marked
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.pipeline import current

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

_responding: ContextVar[tuple[object, Exchange] | None] = ContextVar("cylestio_mcp_responding", default=None)


class Version1:
    """The replacements of methods of the SDK's sessions, server and responder."""

    def __init__(self, exchanges: Exchanges) -> None:
        """Shares what is known of the sessions."""
        self._exchanges = exchanges

    async def send(self, wrapped: Callable[..., Awaitable[Any]], session: Any, args: Any, kwargs: Any) -> Any:
        """``BaseSession.send_request``: either peer asks the other."""
        request = args[0] if args else kwargs.get("request")
        data = _read(request)
        if data is None:
            return await wrapped(*args, **kwargs)
        stream, request_id = getattr(session, "_write_stream", None), getattr(session, "_request_id", None)
        exchange = self._exchanges.send(session, stream, data["method"], data.get("params"), request_id)
        if exchange is None:
            return await wrapped(*args, **kwargs)
        params = exchange.params(data.get("params"))
        data["params"] = {**(params or {}), "_meta": exchange.meta(params)}
        carrying = _Carrying(request, data)
        if args:
            args = (carrying, *args[1:])
        else:
            kwargs = {**kwargs, "request": carrying}
        return await exchange.run(lambda: wrapped(*args, **kwargs), wire.dumped)

    async def serve(self, wrapped: Callable[..., Awaitable[Any]], _: Any, args: Any, kwargs: Any) -> Any:
        """``Server._handle_request``: the server answers, except to initialize."""
        return await self._answer(wrapped, args[0], args, kwargs)

    async def serve_initialize(self, wrapped: Callable[..., Awaitable[Any]], _: Any, args: Any, kwargs: Any) -> Any:
        """``ServerSession._received_request``: the session itself answers to initialize and passes on the rest."""
        if args[0].request.root.method != wire.INITIALIZE:
            return await wrapped(*args, **kwargs)
        return await self._answer(wrapped, args[0], args, kwargs)

    async def answer(self, wrapped: Callable[..., Awaitable[Any]], _: Any, args: Any, kwargs: Any) -> Any:
        """``ClientSession._received_request``: the client answers the server."""
        return await self._answer(wrapped, args[0], args, kwargs)

    async def respond(self, wrapped: Callable[..., Awaitable[Any]], responder: Any, args: Any, kwargs: Any) -> Any:
        """``RequestResponder.respond``: the answer goes out; what was found in it is on disk before."""
        awaited = _responding.get()
        if awaited is not None and awaited[0] is responder:
            exchange, response = awaited[1], args[0] if args else kwargs.get("response")
            code = getattr(response, "code", None)
            if isinstance(code, int):
                exchange.fail(None, code)
            else:
                passed = _passed(exchange, response)
                args, kwargs = ((passed, *args[1:]), kwargs) if args else ((), {**kwargs, "response": passed})
            await exchange.wait_durable()
        return await wrapped(*args, **kwargs)

    async def _answer(self, wrapped: Callable[..., Awaitable[Any]], responder: Any, args: Any, kwargs: Any) -> Any:
        data = _read(responder.request)
        if data is None:
            return await wrapped(*args, **kwargs)
        method, params = data["method"], data.get("params")
        session = responder._session  # noqa: SLF001 -- the SDK's
        request = getattr(responder.message_metadata, "request_context", None)
        try:
            exchange = self._exchanges.answer(
                session,
                getattr(session, "_write_stream", None),
                method,
                params,
                responder.request_id,
                request=request,
                version=_version(session),
            )
        except BlockedError as error:
            return await _refuse(responder, method, error)
        if exchange is None:
            return await wrapped(*args, **kwargs)
        if exchange.params(params) is not params:
            # The request that was received is used by nobody else: the handler reads the arguments from it.
            responder.request.root.params.arguments = dict(exchange.params(params) or {})["arguments"]

        async def answered() -> Any:
            with marked(_responding, (responder, exchange)), marked(answering, exchange):
                answer = await wrapped(*args, **kwargs)
            if responder.cancelled:
                exchange.cancel()
            return answer

        return await exchange.run(answered, _nothing)


class _Carrying(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic in wrapt's stubs only
    """A request that is written with the trace context in it; the caller's object stays as it was."""

    def __init__(self, request: object, data: dict[str, Any]) -> None:
        super().__init__(request)
        self._self_data = data

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Returns the JSON that the SDK writes."""
        return self._self_data


def _read(request: object) -> dict[str, Any] | None:
    """A request as JSON; ``None`` while monitoring is off, or where it is none."""
    if current() is None:
        return None
    try:
        data = wire.dumped(request)
    except Exception:  # a model of the SDK that does not serialise: the SDK reports that itself
        log.debug("Could not read an MCP request", exc_info=True)
        return None
    return data if isinstance(data, dict) and isinstance(data.get("method"), str) else None


def _passed(exchange: Exchange, response: Any) -> Any:
    """The answer as it may go out; in its place the refusal where it may not."""
    from mcp import types  # noqa: PLC0415 -- the SDK is there only where this runs

    try:
        return exchange.succeed(response, wire.dumped)
    except BlockedError as error:
        return types.ServerResult(types.CallToolResult.model_validate(refusal(error)))


async def _refuse(responder: Any, method: str, error: BlockedError) -> None:
    from mcp import types  # noqa: PLC0415 -- the SDK is there only where this runs

    if method == wire.CALL_TOOL:
        answer: Any = types.ServerResult(types.CallToolResult.model_validate(refusal(error)))
    else:
        answer = types.ErrorData(code=BLOCKED, message=str(error))
    if responder._entered:  # noqa: SLF001 -- the SDK's: whether its caller has entered it
        await responder.respond(answer)
    else:
        with responder:
            await responder.respond(answer)


def _version(session: Any) -> str | None:
    """The version that a server has agreed to; ``None`` where the client asked for one it does not know."""
    from mcp.shared.version import SUPPORTED_PROTOCOL_VERSIONS  # noqa: PLC0415 -- as above

    asked = getattr(getattr(session, "_client_params", None), "protocolVersion", None)
    return asked if asked in SUPPORTED_PROTOCOL_VERSIONS else None


def _nothing(_: object) -> None:
    """The answer has gone out through the responder."""
