"""The other end of an MCP session: transport, session id, protocol version, tool definitions."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cylestio_monitor import semconv
from cylestio_monitor.capture.mcp.messages import DISCOVER, INITIALIZE, LIST_TOOLS, meta_of
from cylestio_monitor.govern.listed_tools import server_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cylestio_monitor.govern.listed_tools import ListedTools
    from cylestio_monitor.model import AttributeValue, Call

_SESSION_HEADER = "mcp-session-id"
_SERVER_INFO = "io.modelcontextprotocol/serverInfo"


class Peer:
    """The other end of one session."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self.http: Any = None  # the SDK's StreamableHTTPTransport: its session id is known after the first answer
        self.version: str | None = None
        self.server = ""
        self._stream: Callable[[], object] = _nothing
        self._transport: str | None = None

    def writes_to(self, stream: object) -> None:
        """Takes the memory stream that leads to the transport."""
        self._stream = weakref.ref(stream)

    def describe(self, call: Call) -> None:
        """Adds to a request what is known of the connection before it is made."""
        call.attributes.update(self.connection())
        if call.tool_name or call.name == LIST_TOOLS:
            # What a server answers is its own tool, also where it has not named itself in this session.
            call.tool_server = self.server if call.kind == "server" else self.server or None
        if self.version:
            call.attributes.setdefault(semconv.MCP_PROTOCOL_VERSION, self.version)
        if self.http is not None and call.kind == "client":
            url = urlsplit(self.http.url)
            call.server_address, call.server_port = url.hostname, url.port or {"https": 443}.get(url.scheme, 80)

    def learn(self, method: str, answer: Mapping[str, Any], listed_tools: ListedTools | None) -> None:
        """Takes from an answer of the server, be it here or there, what will be true of the session from now on.

        Args:
            method: The JSON-RPC method.
            answer: The result member of the answer.
            listed_tools: Takes the tools for the control of calls; ``None`` where nothing is controlled.
        """
        if method == INITIALIZE and isinstance(version := answer.get("protocolVersion"), str):
            self.version = version
        if method in {INITIALIZE, DISCOVER}:
            self.server = server_name(_stated_name(answer))
        if listed_tools is not None and method == LIST_TOOLS and isinstance(tools := answer.get("tools"), list):
            listed_tools.add(self.server, [tool for tool in tools if isinstance(tool, dict)])

    def connection(self) -> dict[str, AttributeValue]:
        """Transport and session id as attributes, as far as they are known by now."""
        if self._transport is None:
            self._transport = "tcp" if self.http is not None else _transport(self._stream())
        session_id = getattr(self.http, "session_id", None)
        known = {semconv.NETWORK_TRANSPORT: self._transport, semconv.MCP_SESSION_ID: session_id}
        return {name: value for name, value in known.items() if isinstance(value, str)}


class Peers:
    """The peers of the sessions that are open in this process."""

    def __init__(self) -> None:
        """Knows no session yet."""
        self._peers: weakref.WeakKeyDictionary[object, Peer] = weakref.WeakKeyDictionary()
        self._http: weakref.WeakKeyDictionary[object, object] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, session: object, write_stream: object) -> Peer:
        """The peer of a session.

        Args:
            session: The SDK's session or dispatcher.
            write_stream: What it writes to; ``None`` where there is no such thing.
        """
        with self._lock:
            peer = self._peers.get(session)
            if peer is None:
                peer = self._peers[session] = Peer()
                if write_stream is not None:
                    peer.writes_to(_raw(write_stream))
            if peer.http is None and write_stream is not None:
                peer.http = self._http.get(_raw(write_stream))
        return peer

    def connected(self, write_stream: object, transport: object) -> None:
        """Notes which HTTP transport sends what is written to a stream."""
        with self._lock:
            self._http[_raw(write_stream)] = transport


def of_request(request: Any) -> dict[str, AttributeValue]:
    """Returns the connection attributes of the Starlette request that carried a message; none without one."""
    if request is None:
        return {}
    out: dict[str, AttributeValue] = {semconv.NETWORK_TRANSPORT: "tcp"}
    session_id = request.headers.get(_SESSION_HEADER) or request.query_params.get("session_id")
    if session_id:
        out[semconv.MCP_SESSION_ID] = session_id
    return out


def _stated_name(answer: Mapping[str, Any]) -> object:
    """The name that a server gives itself in its first answer; since version 2026-07-28 it stands in ``_meta``."""
    info = answer.get("serverInfo") or meta_of(answer).get(_SERVER_INFO)
    return info.get("name") if isinstance(info, dict) else None


def _nothing() -> None:
    """A stream that is not there."""


def _raw(stream: Any) -> Any:
    """The memory stream inside the SDK's context-carrying one, which cannot be referred to weakly."""
    return getattr(stream, "_inner", stream)


def _transport(stream: Any) -> str | None:
    """Returns the transport that reads from a stream, by the task that waits there; ``None`` in memory or when busy.

    The SDK's transports are tasks behind a pair of memory streams: nothing else tells a session what carries it.
    """
    waiting = getattr(getattr(stream, "_state", None), "waiting_receivers", None) or {}
    for receiver in waiting.values():
        name = str(getattr(getattr(receiver, "task_info", None), "name", ""))
        if ".stdio." in name:
            return "pipe"
        if any(part in name for part in (".streamable_http.", ".sse.", ".websocket.", "_streamable_http_manager.")):
            return "tcp"
    return None
