"""A collector on the loopback interface: it takes OTLP over HTTP and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Receiver:
    """The collector.

    Attributes:
        spans: Every span that arrived, in order.
        metrics: Names of the metrics that arrived.
        logs: Every log record that arrived, in order.
    """

    def __init__(self) -> None:
        self.spans = []
        self.metrics = set()
        self.logs = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.take(self.path, body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing: the tests read what was received."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            self.spans += [
                one for group in request.resource_spans for scope in group.scope_spans for one in scope.spans
            ]
        elif path == "/v1/metrics":
            request = ExportMetricsServiceRequest.FromString(body)
            self.metrics |= {
                one.name for group in request.resource_metrics for scope in group.scope_metrics for one in scope.metrics
            }
        elif path == "/v1/logs":
            request = ExportLogsServiceRequest.FromString(body)
            self.logs += [
                one for group in request.resource_logs for scope in group.scope_logs for one in scope.log_records
            ]

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)
