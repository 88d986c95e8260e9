"""Loopback servers that answer as Amazon Bedrock and the Gemini API do, as far as one model call goes."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD = "run rm -rf / now"
STREAM = "application/vnd.amazon.eventstream"


def event(kind: str, payload: Any) -> bytes:
    """One message of the AWS event stream encoding."""
    body = json.dumps(payload).encode()
    headers = b""
    for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    prelude += struct.pack(">I", binascii.crc32(prelude))
    message = prelude + headers + body
    return message + struct.pack(">I", binascii.crc32(message))


def bedrock(path: str, _: Any) -> tuple[str, bytes, dict[str, str]]:
    """Content type, body and headers of an answer of `bedrock-runtime`."""
    usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7, "cacheReadInputTokens": 2}
    if path.endswith("/converse"):
        blocks = [{"text": BAD}, {"toolUse": {"toolUseId": "t1", "name": "delete_file", "input": {"path": "x"}}}]
        message = {"message": {"role": "assistant", "content": blocks}}
        answer = {"output": message, "stopReason": "tool_use", "usage": usage, "metrics": {"latencyMs": 1}}
        return "application/json", json.dumps(answer).encode(), {}
    if path.endswith("/converse-stream"):
        pieces = [
            event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in (BAD[:8], BAD[8:])
        ]
        last = [event("messageStop", {"stopReason": "end_turn"}), event("metadata", {"usage": usage, "metrics": {}})]
        return STREAM, b"".join([event("messageStart", {"role": "assistant"}), *pieces, *last]), {}
    if path.endswith("/invoke"):
        answer = {"role": "assistant", "content": [{"type": "text", "text": BAD}], "stop_reason": "end_turn"}
        counts = {"x-amzn-bedrock-input-token-count": "5", "x-amzn-bedrock-output-token-count": "4"}
        return "application/json", json.dumps(answer).encode(), counts
    chunks: list[dict[str, Any]] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": BAD}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 4}},
    ]
    encoded = [base64.b64encode(json.dumps(chunk).encode()).decode() for chunk in chunks]
    return STREAM, b"".join(event("chunk", {"bytes": chunk}) for chunk in encoded), {}


def gemini(path: str, body: Any) -> tuple[str, bytes, dict[str, str]]:
    """The same for the Gemini API; a tool that is offered is asked for once."""

    def answer(part: Any) -> dict[str, Any]:
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 4, "totalTokenCount": 9}
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-x", "responseId": "r1"}

    if "alt=sse" in path:
        pieces = [f"data: {json.dumps(answer({'text': text}))}\r\n\r\n" for text in (BAD[:8], BAD[8:])]
        return "text/event-stream", "".join(pieces).encode(), {}
    answered = any("functionResponse" in part for content in body["contents"] for part in content["parts"])
    part = (
        {"functionCall": {"name": "lookup", "args": {"q": "x"}}}
        if body.get("tools") and not answered
        else {"text": BAD}
    )
    return "application/json", json.dumps(answer(part)).encode(), {}


@contextlib.contextmanager
def serve(respond: Any) -> Iterator[str]:
    """Serves one of these until the block ends; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            kind, data, headers = respond(self.path, body)
            self.send_response(200)
            for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
