"""A loopback service in the wire format of OpenAI's moderations API."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = {"attack": "violence", "idiot": "harassment"}


class ModerationServer:
    """The service; it flags `WORDS`.

    Attributes:
        requests: Path, authorization and body of each request.
        fault: What to do instead of answering: a status, or a body.
    """

    def __init__(self):
        self.requests = []
        self.fault = None
        here = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                here.requests.append((self.path, self.headers["Authorization"], body))
                status, answer = 200, json.dumps(here.answer(body["input"]))
                if isinstance(here.fault, int):
                    status, answer = here.fault, ""
                elif here.fault is not None:
                    answer = here.fault
                data = answer.encode()
                self.send_response(status)
                if status in {301, 302, 307, 308}:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @staticmethod
    def answer(text):
        found = {category for word, category in WORDS.items() if word in text}
        categories = {category: category in found for category in (*WORDS.values(), "illicit")}
        scores = {category: 0.97 if is_found else 0.01 for category, is_found in categories.items()}
        result = {
            "flagged": bool(found),
            "categories": categories,
            "category_scores": scores,
            "category_applied_input_types": {"violence": ["text"]},
        }
        return {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
