"""Model calls that are made with httpx or httpx2."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture import event_loop
from cylestio_monitor.capture.http_client import response_body
from cylestio_monitor.capture.http_client.sdk_client import outside_requests
from cylestio_monitor.capture.sdks.plain_http import exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.capture.sdks.plain_http.exchange import HttpCall


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps `send` of both clients."""
    patches.wrap(module.Client, "send", outside_requests(_send))
    patches.wrap(module.AsyncClient, "send", outside_requests(_send_async))


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str, Any, Any] | None:
    """Returns what tells whether a request is a model call: method, URL, headers, body."""
    request = args[1] if len(args) > 1 else kwargs.get("request")
    if request is None or getattr(request, "method", "") != "POST":
        return None
    # A body in memory is read; one that is sent piece by piece is not there yet, and is left to the request.
    return request.method, str(request.url), request.headers, lambda: getattr(request, "_content", None)


def _observe(response: Any, found: HttpCall) -> bool:
    """Ends the call with a body that is here, or has the reading of the body end it; returns whether it has ended."""
    if found.failed(response.status_code):
        return True
    if hasattr(response, "_content"):
        found.answered(response.status_code, response.headers, response.content)
        return True
    response_body.observe_bytes(response, found.endpoint, found.invocation)
    return False


def _send(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def send(*args: Any, **kwargs: Any) -> Any:
        given = _given(args, kwargs)
        found = None if given is None else exchange.begin(*given)
        if found is None:
            return original(*args, **kwargs)
        found.invocation.wait_durable()
        with found:
            try:
                response = original(*args, **kwargs)
            except BaseException as error:
                found.invocation.end(None, error)
                raise
        if _observe(response, found):
            found.invocation.wait_durable()
        return response

    return send


def _send_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def send(*args: Any, **kwargs: Any) -> Any:
        given = _given(args, kwargs)
        found = None if given is None else await exchange.begin_async(*given)
        if found is None:
            return await original(*args, **kwargs)
        await found.invocation.wait_durable_async()
        with found:
            try:
                response = await original(*args, **kwargs)
            except BaseException as error:
                found.invocation.end(None, error)
                raise
        whole = (response.content,) if hasattr(response, "_content") else ()
        if await event_loop.ended(functools.partial(_observe, response, found), *whole):
            await found.invocation.wait_durable_async()
        return response

    return send
