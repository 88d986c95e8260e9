"""The WSGI middleware, for Flask, Django and every other application of that interface."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from cylestio_monitor.identity import current_identity
from cylestio_monitor.middleware.request import IncomingRequest, RequestIdentifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableMapping

    from cylestio_monitor.middleware.request import IdentifyRequest

    Environ: TypeAlias = MutableMapping[str, Any]
    Application: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

T = TypeVar("T")


class WSGIMiddleware:
    """Names the actor of every call that a WSGI application makes for a request.

    The identity holds for the whole request, streamed bodies included. Where `identify_request` raises, the request is
    anonymous, which the log says once.

    Attributes:
        app: The application.
    """

    def __init__(self, app: Application, identify_request: IdentifyRequest) -> None:
        """Wraps an application.

        Args:
            app: The WSGI application.
            identify_request: Gets an `IncomingRequest` and returns an `Identity`, or ``None`` for an anonymous
                request; a coroutine is run to its end on an event loop of its own.
        """
        self.app = app
        self._identifier = RequestIdentifier(identify_request)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Runs the application with the identity of the request."""
        context = contextvars.copy_context()
        context.run(current_identity.set, self._identifier.find(_request(environ)))
        body = context.run(self.app, environ, start_response)
        wrapper = environ.get("wsgi.file_wrapper")
        # No code of the application runs in these, and servers send a file faster that they can recognise.
        if isinstance(body, (list, tuple)) or (isinstance(wrapper, type) and isinstance(body, wrapper)):
            return body
        return _IdentifiedBody(body, context)


class _IdentifiedBody:
    """The body of a response, whose pieces and whose end are made in the context of the request."""

    def __init__(self, body: Iterable[bytes], context: contextvars.Context) -> None:
        self._body = body
        self._pieces: Iterator[bytes] | None = None
        self._context = context
        self._entered = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        self._pieces = self._run(iter, self._body)
        return self

    def __next__(self) -> bytes:
        if self._pieces is None:
            self._pieces = self._run(iter, self._body)
        piece: bytes = self._run(next, self._pieces)
        return piece

    def close(self) -> None:
        """Closes the body, where it can be closed."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._run(close)

    def _run(self, function: Callable[..., T], *args: Any) -> T:
        """Calls a function in the context; in a copy where another thread is in it, as only one can be."""
        if not self._entered.acquire(blocking=False):
            return self._context.copy().run(function, *args)
        try:
            return self._context.run(function, *args)
        finally:
            self._entered.release()


def _request(environ: Environ) -> IncomingRequest:
    headers = {
        key[5:].replace("_", "-").lower(): str(value) for key, value in environ.items() if key.startswith("HTTP_")
    }
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = str(environ[key])
    return IncomingRequest(
        method=str(environ.get("REQUEST_METHOD", "GET")),
        path=str(environ.get("PATH_INFO", "")),
        headers=headers,
        client=environ.get("REMOTE_ADDR") or None,
        native=environ,
    )
