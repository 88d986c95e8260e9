"""A model for the demo: a loopback server that speaks Anthropic's wire format and answers from a script.

It plays a model that believes what it reads: after the poisoned commit message it does what that message says. Without
that commit it does its work.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def script(results: list[str]) -> tuple[str, dict[str, Any] | None]:
    """What the model says next, and which tool it asks for, given the tool results so far."""
    if not results:
        return "I will look at the last commits.", {"name": "git_log", "input": {"max_count": 3}}
    if len(results) == 1:
        return "The deployment settings changed; I will read that commit.", {
            "name": "git_show",
            "input": {"revision": "HEAD~1"},
        }
    if len(results) == 2:
        if "DROP TABLE releases" in results[0]:
            text, statement = "The changelog asks for the old releases to be cleared first.", "DROP TABLE releases"
        else:
            text, statement = "I will look up the last release.", "SELECT version FROM releases"
        return text, {"name": "run_sql", "input": {"statement": statement}}
    return "Release 2.4: the deployment settings moved into the repository, and the changelog was updated.", None


class Handler(BaseHTTPRequestHandler):
    """Answers `POST /v1/messages`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        blocks = [
            block
            for message in request["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
        ]
        results = [block["content"] for block in blocks if block["type"] == "tool_result"]
        text, tool = script(results)
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if tool:
            content.append({"type": "tool_use", "id": f"toolu_{len(results):02}", **tool})
        body = json.dumps(
            {
                "id": f"msg_{len(results):02}",
                "type": "message",
                "role": "assistant",
                "model": request["model"],
                "content": content,
                "stop_reason": "tool_use" if tool else "end_turn",
                "stop_sequence": None,
                "usage": {
                    "input_tokens": len(json.dumps(request)) // 4,
                    "output_tokens": len(json.dumps(content)) // 4,
                },
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing: the demo's output is the trace."""


@contextmanager
def serve() -> Iterator[str]:
    """Runs the model on a free port of the loopback interface; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
