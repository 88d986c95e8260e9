"""Asks an MCP server for its tools: one that is a program, over its standard streams, or one behind a URL.

A build has no MCP SDK of its own to rely on, and needs three messages: initialize, initialized, ``tools/list``.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from cylestio_monitor._version import __version__
from cylestio_monitor.errors import CylestioError
from cylestio_monitor.govern.listed_tools import server_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

_PROTOCOL: Final = "2025-06-18"
_MAX_PAGES: Final = 100
_MAX_LINE: Final = 16 << 20
_GRACE_S: Final = 2.0
_VARIABLE: Final = re.compile(r"\$\{(?:env:)?(\w+)(?::-([^}]*))?\}")


class _ServerChannel(Protocol):
    """Carries JSON-RPC messages to a server and back."""

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends a request and returns its response."""

    def tell(self, message: dict[str, Any]) -> None:
        """Sends a notification."""


def list_tools(entry: Mapping[str, Any], *, timeout_s: float) -> tuple[str, list[Any]]:
    """The name that a server gives itself, and the definitions of the tools that it lists.

    Args:
        entry: The entry of the server in an `mcp.json`: ``command``, ``args``, ``env`` and ``cwd``, or ``url`` and
            ``headers``; ``${NAME}`` stands for a variable of the environment.
        timeout_s: Seconds for all of it.

    Raises:
        CylestioError: The server cannot be started, or does not answer as a server does.
    """
    deadline = time.monotonic() + timeout_s
    if isinstance(entry.get("command"), str):
        with _ServerProgram(entry, deadline) as program:
            return _listed(program)
    if isinstance(url := entry.get("url", entry.get("serverUrl")), str):
        return _listed(_ServerUrl(_filled(url), entry.get("headers"), deadline))
    raise CylestioError("has neither a command nor a url")


def _listed(channel: _ServerChannel) -> tuple[str, list[Any]]:
    about = {"name": "cylestio-monitor", "version": __version__}
    params: dict[str, Any] = {"protocolVersion": _PROTOCOL, "capabilities": {}, "clientInfo": about}
    introduction = _result(channel.ask({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
    info = introduction.get("serverInfo")
    name = server_name(info.get("name")) if isinstance(info, dict) else ""
    channel.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
    found: list[Any] = []
    params = {}
    for number in range(1, _MAX_PAGES):
        answer = _result(channel.ask({"jsonrpc": "2.0", "id": number, "method": "tools/list", "params": params}))
        tools = answer.get("tools")
        if not isinstance(tools, list):
            raise CylestioError("the answer to tools/list holds no tools")
        found += tools
        cursor = answer.get("nextCursor")
        if not cursor:
            return name, found
        params = {"cursor": cursor}
    raise CylestioError("the list of tools has no end")


def _result(response: dict[str, Any]) -> dict[str, Any]:
    result = response.get("result")
    if not isinstance(result, dict):
        error = response.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        raise CylestioError(f"the server answers with an error: {message}")
    return result


def _filled(text: str) -> str:
    """The text with the values of variables in place of their names."""
    return _VARIABLE.sub(lambda match: os.environ.get(match[1], match[2] or ""), text)


class _ServerProgram:
    """A server that is a program, over its standard streams."""

    def __init__(self, entry: Mapping[str, Any], deadline: float) -> None:
        command = [_filled(str(entry["command"])), *(_filled(str(one)) for one in entry.get("args") or ())]
        given = entry.get("env")
        env = {str(name): _filled(str(value)) for name, value in given.items()} if isinstance(given, dict) else {}
        self._deadline = deadline
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603 -- the user has asked to start the programs of this file
            [shutil.which(command[0]) or command[0], *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **env},
            cwd=_filled(entry["cwd"]) if isinstance(entry.get("cwd"), str) else None,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> _ServerProgram:  # noqa: PYI034 -- `Self` is in the standard library from Python 3.11 on
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Ends the program and what it has started: as the specification says, by closing its input first."""
        process = self._process
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends a request and returns its response; requests of the server are declined."""
        self.tell(message)
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, self._deadline - time.monotonic()))
            except queue.Empty:
                raise CylestioError(f"no answer to {message['method']} in time") from None
            if not line:
                raise CylestioError(f"the program has ended before it answered to {message['method']}")
            answer = _decoded(line)
            if answer is None:
                continue
            if "method" in answer:
                if "id" in answer:
                    declined = {"code": -32601, "message": "not supported"}
                    self.tell({"jsonrpc": "2.0", "id": answer["id"], "error": declined})
            elif answer.get("id") == message["id"]:
                return answer

    def tell(self, message: dict[str, Any]) -> None:
        """Sends a message."""
        stream = self._process.stdin
        try:
            if stream is not None:
                stream.write(json.dumps(message).encode() + b"\n")
                stream.flush()
        except OSError as error:
            raise CylestioError("the program has ended before it was asked") from error

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_MAX_LINE):
                self._lines.put(line)
        self._lines.put(b"")


class _ServerUrl:
    """A server behind a URL, by the transport "streamable HTTP"."""

    def __init__(self, url: str, headers: object, deadline: float) -> None:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise CylestioError(f"{url}: is no http or https URL")
        self._url = url
        self._deadline = deadline
        self._headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if isinstance(headers, dict):
            self._headers.update({str(name): _filled(str(value)) for name, value in headers.items()})

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends a request and returns its response, which may come in a stream of events."""
        for text in self._post(message):
            answer = _decoded(text)
            if answer is not None and answer.get("id") == message["id"] and "method" not in answer:
                return answer
        raise CylestioError(f"no answer to {message['method']}")

    def tell(self, message: dict[str, Any]) -> None:
        """Sends a message."""
        for _ in self._post(message):
            pass

    def _post(self, message: dict[str, Any]) -> Iterator[bytes]:
        request = urllib.request.Request(self._url, json.dumps(message).encode(), self._headers)  # noqa: S310 -- checked above
        try:
            with urllib.request.urlopen(request, timeout=max(0.1, self._deadline - time.monotonic())) as response:  # noqa: S310 -- as above
                session = response.headers.get("Mcp-Session-Id")
                if session:
                    self._headers["Mcp-Session-Id"] = session
                self._headers["MCP-Protocol-Version"] = _PROTOCOL
                if "event-stream" not in response.headers.get("Content-Type", ""):
                    yield response.read(_MAX_LINE)
                    return
                for line in response:
                    if line.startswith(b"data:"):
                        yield line[5:]
                    if time.monotonic() > self._deadline:
                        raise CylestioError(f"no answer to {message['method']} in time")
        except (urllib.error.URLError, TimeoutError) as error:
            raise CylestioError(f"{self._url}: {error}") from error


def _decoded(text: bytes) -> dict[str, Any] | None:
    """A message; ``None`` for what is none, such as a line that a program logs to its output."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
