"""One MCP request from begin to end, on the side that sends it or on the side that answers it."""

from __future__ import annotations

import functools
import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import propagate, trace

from cylestio_monitor import pipeline as road
from cylestio_monitor import semconv
from cylestio_monitor.capture import event_loop
from cylestio_monitor.capture.mcp import messages as wire
from cylestio_monitor.capture.mcp.sessions import Peer, Peers, of_request
from cylestio_monitor.capture.parsing.reading import read_call, read_result
from cylestio_monitor.emit.genai import MAX_NAMES
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.govern.redaction.redactor import UNCHANGED
from cylestio_monitor.govern.redaction.values import ContentKeys
from cylestio_monitor.model import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from opentelemetry.context import Context

    from cylestio_monitor.govern.controller import Controller
    from cylestio_monitor.model import Kind
    from cylestio_monitor.pipeline import Invocation

log = logging.getLogger(__name__)

T = TypeVar("T")

BLOCKED: Final = -32050
"""JSON-RPC error code of a request that policy refused: of the range left to implementations, used by no MCP SDK."""

_INVALID_PARAMS: Final = -32602
_KEYS: Final = ContentKeys(
    fixed=frozenset({"type", "mimeType", "_meta", "annotations", "audience"}),
    free=frozenset({"structuredContent"}),
    binary=frozenset({"data", "blob"}),
)
_CHANGED: Final = frozenset({"arguments", "results"})


class Exchange:
    """One request under way."""

    __slots__ = ("_controller", "_denied", "_invocation", "_noted", "_peer", "claimed", "ended", "refused")

    def __init__(self, invocation: Invocation, peer: Peer, controller: Controller | None) -> None:
        """Holds the begun invocation, what is known of the session, and who learns and judges the tools listed."""
        self._invocation = invocation
        self._controller = controller
        self._denied: frozenset[str] = frozenset()
        self._peer = peer
        self._noted: set[str] = set()
        self.refused: BlockedError | None = None
        self.claimed = False
        self.ended = False

    def note(self, attributes: Mapping[str, Any], *prefixes: str) -> None:
        """Sets those of the attributes whose names begin so; what was noted first stands.

        Args:
            attributes: What a span would have had that ours stands in for.
            prefixes: Beginnings of the names that are wanted.
        """
        for name, value in attributes.items():
            if name.startswith(prefixes) and name not in self._noted:
                self._noted.add(name)
                self._invocation.span.set_attribute(name, value)

    def meta(self, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """A copy of a request's ``_meta`` that carries the trace context of this span."""
        carrier = dict(wire.meta_of(params))
        try:
            propagate.inject(carrier, trace.set_span_in_context(self._invocation.span))
        except Exception:  # a propagator of the application raised: the request goes on without a trace context
            log.debug("Could not put the trace context into an MCP request", exc_info=True)
        return carrier

    async def run(self, request: Callable[[], Awaitable[T]], read: Callable[[T], Any]) -> T:
        """Makes or answers the request inside the span.

        Args:
            request: What the SDK would have done.
            read: The result member in what it returns.
        """
        try:
            await self._invocation.wait_durable_async()
            with self._invocation.attached():
                answer = await request()
        except BaseException as error:
            self.fail(error)
            raise
        answer = await event_loop.ended(functools.partial(self.succeed, answer, read), answer)
        await self._invocation.wait_durable_async()
        return wire.without_tools(answer, self._denied) if self._denied else answer

    def params(self, params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Returns the params of a request as they may pass: with the arguments of a tool that policy has changed."""
        changed = self._invocation.arguments if self._invocation.redacts else UNCHANGED
        return params if changed is UNCHANGED else {**(params or {}), "arguments": changed}

    def succeed(self, answer: T, read: Callable[[T], Any]) -> T:
        """Ends with the result member of the answer, and returns the answer as it may pass; nothing where it has ended.

        Raises:
            BlockedError: The answer cannot be redacted.
        """
        if self.ended:
            return answer
        self.ended = True
        result, call = Result(), self._invocation.call
        method, content = str(call.attributes[semconv.MCP_METHOD]), None
        try:
            content = read(answer)
            if isinstance(content, dict):
                result = read_result(functools.partial(wire.read_result, method), content)
            elif content is not None:
                result.response = content
        except Exception:  # a peer may answer anything: what was read so far is recorded
            log.debug("Could not read an MCP result", exc_info=True)
            result.response = content
        try:
            if isinstance(content, dict):
                listed_tools = self._controller.listed_tools if self._controller is not None else None
                self._peer.learn(method, content, listed_tools)
                if call.kind == "client":
                    self._deny(result)
            if semconv.NETWORK_TRANSPORT not in call.attributes or semconv.MCP_SESSION_ID not in call.attributes:
                result.attributes.update(self._peer.connection())
        except Exception:  # the session objects differ between SDK versions; the request goes on
            log.debug("Could not describe an MCP session", exc_info=True)
        if not self._invocation.redacts or content is None:  # what goes out through the responder passes there
            self._invocation.end(result)
            return answer
        try:
            passed: T = self._invocation.finish_with(answer, result, _KEYS)
        except BlockedError as error:
            self.refused = error
            raise
        return passed

    def _deny(self, result: Result) -> None:
        """Notes the listed tools that policy denies to everyone: the application is not offered them."""
        controller = self._controller
        if controller is None or not controller.enforces or not result.tools:
            return
        names, server = dict.fromkeys(tool.name for tool in result.tools), self._peer.server or None
        denied = [name for name in names if controller.denied_offer(None, name, server) is not None]
        if denied:
            self._denied = frozenset(denied)
            result.attributes[semconv.TOOLS_HIDDEN] = denied[:MAX_NAMES]

    def fail(self, error: BaseException | None, code: object = None) -> None:
        """Ends with an exception or with the code of an error member; does nothing where it has ended."""
        if self.ended:
            return
        self.ended = True
        if code is None:
            code = getattr(getattr(error, "error", None), "code", None)  # McpError of 1.x, MCPError of 2.x
        if type(error).__name__ == "ValidationError":
            # Pydantic quotes what it was given; over the wire goes the code alone.
            answered = self._invocation.call.kind == "server"
            self._invocation.end(wire.read_error(_INVALID_PARAMS) if answered else Result(error_type="ValidationError"))
            return
        self._invocation.end(wire.read_error(code) if isinstance(code, int) else None, error)

    def cancel(self) -> None:
        """Ends a request that the other side has cancelled; does nothing where it has ended."""
        if not self.ended:
            self.ended = True
            self._invocation.end(Result(error_type="CancelledError"))

    async def wait_durable(self) -> None:
        """Waits until what was found is on disk."""
        await self._invocation.wait_durable_async()


class Exchanges:
    """Begins the requests of this process; shared by everything that is wrapped."""

    def __init__(self) -> None:
        """Knows no session yet."""
        self.peers = Peers()

    def send(
        self, session: object, stream: object, method: str, params: Mapping[str, Any] | None, request_id: object = None
    ) -> Exchange | None:
        """Begins a request that is sent; ``None`` while monitoring is off.

        Args:
            session: The SDK's session or dispatcher.
            stream: What it writes to; ``None`` in memory.
            method: The JSON-RPC method.
            params: The JSON-RPC params.
            request_id: The JSON-RPC id, where it is known before the request is made.

        Raises:
            BlockedError: Policy refuses what the request carries; nothing was sent.
        """
        return self._begin("client", session, stream, method, params, request_id)

    def answer(
        self,
        session: object,
        stream: object,
        method: str,
        params: Mapping[str, Any] | None,
        request_id: object,
        *,
        request: object = None,
        version: str | None = None,
        session_id: str | None = None,
    ) -> Exchange | None:
        """Begins a request that is answered; ``None`` while monitoring is off.

        Args:
            session: The SDK's session or dispatcher.
            stream: What it writes to; ``None`` in memory.
            method: The JSON-RPC method.
            params: The JSON-RPC params.
            request_id: The JSON-RPC id.
            request: The Starlette request that brought it.
            version: The MCP version of the session, where the SDK knows it.
            session_id: The id of the session, where the SDK knows it.

        Raises:
            BlockedError: Policy refuses what the request carries.
        """
        known = {semconv.MCP_PROTOCOL_VERSION: version, semconv.MCP_SESSION_ID: session_id}
        return self._begin("server", session, stream, method, params, request_id, request, known)

    def _begin(
        self,
        kind: Kind,
        session: object,
        stream: object,
        method: str,
        params: Mapping[str, Any] | None,
        request_id: object,
        request: object = None,
        known: Mapping[str, str | None] = MappingProxyType({}),
    ) -> Exchange | None:
        pipeline = road.current()
        if pipeline is None:
            return None
        call = read_call(
            lambda: wire.read_call(kind, method, params, request_id),
            params,
            lambda: wire.blank_call(kind, method),
        )
        peer, parent = Peer(), None
        try:
            call.attributes.update({name: value for name, value in known.items() if value})
            peer = self.peers.of(session, stream)
            peer.version = known.get(semconv.MCP_PROTOCOL_VERSION) or peer.version
            peer.describe(call)
            call.attributes.update(of_request(request))
            parent = _parent(wire.meta_of(params)) if kind == "server" else None
        except Exception:  # the session objects differ between SDK versions; the request goes on
            log.debug("Could not describe an MCP session", exc_info=True)
        if call.tool_name:
            call.changes, call.withholds = _CHANGED, True
        return Exchange(pipeline.begin(call, parent=parent), peer, pipeline.controller)


def refusal(error: BlockedError) -> dict[str, Any]:
    """Returns the answer to a refused tool call: an error that the model may read."""
    return {"content": [{"type": "text", "text": str(error)}], "isError": True}


def _parent(meta: Mapping[str, Any]) -> Context | None:
    """The context that a request carries; ``None`` where it carries none, or none that can be read."""
    carrier = {key: value for key, value in meta.items() if isinstance(value, str)}
    context = propagate.extract(carrier) if carrier else None
    return context if trace.get_current_span(context).get_span_context().is_valid else None
