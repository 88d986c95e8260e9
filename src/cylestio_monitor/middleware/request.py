"""The request of a web server in a form that ASGI and WSGI share, and the identity that it is given."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from cylestio_monitor import identity
from cylestio_monitor.identity import Identity
from cylestio_monitor.middleware import baggage

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("cylestio_monitor")


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A request as the middleware has received it.

    Attributes:
        method: The HTTP method; ``GET`` for a WebSocket.
        path: The path, percent-decoded.
        headers: The headers by their names in lower case; the values of a repeated one are joined by commas.
        client: The address of the caller as the server reports it; ``None`` for a Unix socket.
        native: The ASGI scope or the WSGI environment.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    client: str | None
    native: MutableMapping[str, Any]


IdentifyRequest: TypeAlias = Callable[[IncomingRequest], Identity | Awaitable[Identity | None] | None]
"""The function of the application that names the actor of a request; ``None`` means that nobody is known."""


class RequestIdentifier:
    """Finds the identity of requests. It never raises: a request that cannot be identified is anonymous."""

    def __init__(self, identify_request: IdentifyRequest) -> None:
        """Takes the function of the application."""
        self._identify_request = identify_request
        self._is_reported = False

    async def find_async(self, request: IncomingRequest) -> Identity:
        """Returns the identity of a request, on the event loop of the server."""
        try:
            answer: Any = self._identify_request(request)
            if inspect.isawaitable(answer):
                answer = await answer
            return _combined(request, answer)
        except Exception as error:  # noqa: BLE001 -- code of the application: the request goes on without a user
            return self._anonymous(error)

    def find(self, request: IncomingRequest) -> Identity:
        """Returns the identity of a request; an awaitable is awaited on an event loop of its own."""
        try:
            answer: Any = self._identify_request(request)
            if inspect.isawaitable(answer):
                answer = _awaited(answer)
            return _combined(request, answer)
        except Exception as error:  # noqa: BLE001 -- as above
            return self._anonymous(error)

    def _anonymous(self, error: Exception) -> Identity:
        if not self._is_reported:
            self._is_reported = True
            # The text of the exception may quote a token of the request.
            log.warning("Requests are anonymous where their identification fails: it raised %s", type(error).__name__)
        log.debug("A request could not be identified", exc_info=error)
        return _base()


def _base() -> Identity:
    """Returns the identity of an anonymous request: the agent may come from around the server, a user may not."""
    return Identity(agent_id=identity.current().agent_id)


def _combined(request: IncomingRequest, answer: object) -> Identity:
    """Returns the identity that the application gave, with what a trusted caller says where it gave none.

    User and roles are taken from one source: the roles of one user must not be those of another.
    """
    found = _base()
    if isinstance(answer, Identity):
        found = replace(answer, agent_id=answer.agent_id or found.agent_id, roles=tuple(answer.roles))
    elif answer is not None:
        raise TypeError("the answer is neither an Identity nor None")
    said = baggage.received(request.headers.get("baggage", ""), request.client)
    if said is None:
        return found
    if found.user_id is None and not found.roles:
        found = replace(found, user_id=said.user_id, roles=said.roles)
    return replace(found, session_id=found.session_id or said.session_id)


def _awaited(answer: Awaitable[Any]) -> Any:
    """Returns the result of an awaitable, also where an event loop runs in this thread."""

    async def wait() -> Any:
        return await answer

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(wait()))
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread of the request
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
