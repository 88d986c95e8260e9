"""The ASGI middleware, for Starlette, FastAPI, Django and every other application of that interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from cylestio_monitor.identity import hold
from cylestio_monitor.middleware.request import IncomingRequest, RequestIdentifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from cylestio_monitor.middleware.request import IdentifyRequest

    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class ASGIMiddleware:
    """Names the actor of every call that an ASGI application makes for a request.

    The identity holds for the whole request: streamed bodies, background tasks, and threads that are started with its
    context, as `asyncio.to_thread` and the thread pool of Starlette do. Where `identify_request` raises, the request is
    anonymous, which the log says once.

    Attributes:
        app: The application.
    """

    def __init__(self, app: Application, identify_request: IdentifyRequest) -> None:
        """Wraps an application.

        Args:
            app: The ASGI application.
            identify_request: Gets an `IncomingRequest` and returns an `Identity`, or ``None`` for an anonymous
                request; a coroutine function is awaited.
        """
        self.app = app
        self._identifier = RequestIdentifier(identify_request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application with the identity of the request."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        with hold(await self._identifier.find_async(_request(scope))):
            await self.app(scope, receive, send)


def _request(scope: Scope) -> IncomingRequest:
    headers: dict[str, str] = {}
    for name, value in scope.get("headers") or ():
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    client = scope.get("client")
    return IncomingRequest(
        method=scope.get("method", "GET"),
        path=scope.get("path", ""),
        headers=headers,
        client=client[0] if client else None,
        native=scope,
    )
