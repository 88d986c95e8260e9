"""A threaded loopback HTTP server that answers as Anthropic and OpenAI do.

In a test: `with WireServer() as wire: client = Anthropic(base_url=wire.url, api_key="k")`; for OpenAI the base URL is
`wire.openai_url`. What comes next is queued with `wire.answer(...)` and `wire.fail(...)`; without, every call gets the
default answer. A client in another process asks for a fault with the header `x-wire-fault: status=429`.

As a script, `python tests/wire/server.py [port]` prints its URL and serves until it is interrupted.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from wire import anthropic_format, faults, openai_format
from wire.blocks import Answer, Text, Thinking, ToolCall, Usage
from wire.faults import Broken, ErrorEvent, Fault, Hang, Status

ANTHROPIC_PATHS = ("/messages", "/count_tokens", "/complete", ":rawPredict", ":streamRawPredict", "/invoke")


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class WireServer:
    """The server, its queue of answers and faults, and the requests it saw.

    Attributes:
        requests: Every request, in order of arrival.
    """

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Recorded] = []
        self.closing = threading.Event()
        self._next: deque[Answer | Fault] = deque()
        self._always: Answer = Answer()
        wire = self

        class Handler(_Handler):
            server_state = wire

        self._http = _Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def answer(
        self,
        *blocks: Text | Thinking | ToolCall | str,
        usage: Usage | None = None,
        stop: str | None = None,
        id: str | None = None,  # noqa: A002 -- as the formats name it
    ) -> None:
        """Queues the next answer."""
        made = tuple(Text(block) if isinstance(block, str) else block for block in blocks)
        self._next.append(Answer(made, usage or Usage(), stop, id))

    def always(self, *blocks: Text | Thinking | ToolCall | str, usage: Usage | None = None) -> None:
        """The answer of every call for which none is queued."""
        made = tuple(Text(block) if isinstance(block, str) else block for block in blocks)
        self._always = Answer(made, usage or Usage())

    def fail(self, fault: Fault) -> None:
        """Queues the next fault."""
        self._next.append(fault)

    def take(self, fault: str | None) -> tuple[Answer, Fault | None]:
        if fault:
            return self._always, faults.parse(fault)
        step = self._next.popleft() if self._next else self._always
        return (step, None) if isinstance(step, Answer) else (self._always, step)

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def __enter__(self) -> WireServer:  # noqa: PYI034 -- `Self` is not in Python 3.10
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what many tests want; anything else is shown."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write a reply, not one a header
    disable_nagle_algorithm = True
    server_state: WireServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
        """Says nothing: the tests read `requests`."""

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        is_json = "json" in (self.headers.get("content-type") or "")
        self._serve(json.loads(raw) if raw and is_json else raw)

    def _serve(self, body: Any) -> None:
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server_state.requests.append(Recorded(self.command, path, headers, body))
        answer, fault = self.server_state.take(headers.get("x-wire-fault"))
        try:
            self._reply(path, body if isinstance(body, dict) else {}, answer, fault)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _reply(self, path: str, body: dict[str, Any], answer: Answer, fault: Fault | None) -> None:
        speaks_anthropic = path.endswith(ANTHROPIC_PATHS) or "/messages/" in path
        format_ = anthropic_format if speaks_anthropic else openai_format
        if isinstance(fault, Status):
            self._send_json(format_.error_body(fault.code), fault.code, fault.headers)
        elif body.get("stream") or path.endswith(":streamRawPredict"):
            self._stream(path, _events(path, body, answer, anthropic=speaks_anthropic), fault)
        elif isinstance(fault, Broken):
            self._cut()
        elif isinstance(fault, Hang):
            self.server_state.closing.wait(fault.seconds)
            self._cut()
        elif path.endswith("/results"):
            self._send(anthropic_format.batch_results(answer), "application/x-jsonl")
        else:
            self._send_json(_body(path, body, answer, anthropic=speaks_anthropic))

    def _stream(self, path: str, events: list[tuple[str, dict[str, Any]]], fault: Fault | None) -> None:
        """Sends the events one by one in HTTP chunks, up to the fault."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        format_ = anthropic_format if "messages" in path or path.endswith("RawPredict") else openai_format
        for number, (name, data) in enumerate([*events, ("", {})]):
            if fault is not None and number == getattr(fault, "after", -1):
                if isinstance(fault, Hang):
                    self.server_state.closing.wait(fault.seconds)
                if isinstance(fault, ErrorEvent):
                    self._chunk(*format_.error_event())
                    break
                self._cut()
                return
            if number < len(events):
                self._chunk(name, data)
        if format_ is openai_format and "responses" not in path:
            self._raw_chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _chunk(self, name: str, data: dict[str, Any]) -> None:
        head = f"event: {name}\n" if name else ""
        self._raw_chunk(f"{head}data: {json.dumps(data)}\n\n".encode())

    def _raw_chunk(self, payload: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))
        self.wfile.flush()

    def _send_json(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(body).encode(), "application/json", status, headers)

    def _send(self, payload: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(payload)))
        self.send_header("request-id", "req_wire_1")
        self.send_header("x-request-id", "req_wire_1")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)
        self.wfile.flush()

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _events(path: str, body: dict[str, Any], answer: Answer, *, anthropic: bool) -> list[tuple[str, dict[str, Any]]]:
    if anthropic:
        return anthropic_format.events(answer, body)
    if path.endswith("/responses"):
        return openai_format.response_events(answer, body)
    if path.endswith("/chat/completions"):
        return openai_format.chat_events(answer, body)
    return openai_format.completion_events(answer, body)


def _body(path: str, body: dict[str, Any], answer: Answer, *, anthropic: bool) -> dict[str, Any]:
    last = path.rpartition("/")[2]
    if last == "count_tokens":
        return {"input_tokens": answer.usage.input}
    if last == "models":
        return {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    if anthropic:
        if "/batches" in path:
            return anthropic_format.batch(body)
        return (anthropic_format.completion if last == "complete" else anthropic_format.message)(answer, body)
    makers = {
        "completions": openai_format.chat if "/chat/" in path else openai_format.completion,
        "responses": openai_format.response,
        "embeddings": openai_format.embeddings,
        "decisions": openai_format.decision,
    }
    return makers[last](answer, body) if last in makers else {"id": "obj_wire_1", "object": last}


if __name__ == "__main__":
    with WireServer(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(server.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.exit(0)
