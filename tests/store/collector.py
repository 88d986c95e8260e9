"""An OTLP/HTTP collector on the loopback interface that counts what it takes and can be made to fail in real ways."""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

KINDS = {
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "/v1/logs": (ExportLogsServiceRequest, ExportLogsServiceResponse),
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
}


class Collector:
    """Takes OTLP over HTTP.

    Attributes:
        fault: What happens to requests: ``None``, ``hang``, ``slow``, ``drop`` (the connection is cut), a status
            number, ``429+`` (with Retry-After), ``partial`` (names with ``poison`` are refused) or ``poison`` (400
            where the batch holds such a name).
        spans: How often each span id was taken.
        names: The names of the spans, in the order they came.
        refused: Spans of partial successes.
        requests: How many requests came.
        headers: Of every request, by their names in small letters.
    """

    def __init__(self, port=0, tls=None):
        self.fault = None
        self.headers = []
        self.spans = Counter()
        self.names = []
        self.logs = []
        self.metrics = []
        self.refused = 0
        self.requests = 0
        self.resources = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                collector.answer(self)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers["content-length"]))
        if handler.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request_type, response_type = KINDS[handler.path]
        request = request_type.FromString(body)
        response = response_type()
        with self._lock:
            self.requests += 1
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        fault = self.fault
        if fault == "hang":
            self.released.wait(30)
            handler.close_connection = True
            return None
        if fault == "slow":
            time.sleep(0.3)
        if fault == "drop":
            handler.close_connection = True
            handler.connection.close()
            return None
        names = [
            span.name for group in getattr(request, "resource_spans", ()) for s in group.scope_spans for span in s.spans
        ]
        if fault == "poison" and any("poison" in name for name in names):
            return self.reply(handler, 400)
        if fault == "429+":
            return self.reply(handler, 429, {"Retry-After": "1"})
        if isinstance(fault, int):
            return self.reply(handler, fault, {"Location": "/elsewhere"} if 300 <= fault < 400 else {})
        with self._lock:
            self.take(request, fault, response)
        return self.reply(handler, 200, {"Content-Type": "application/x-protobuf"}, response.SerializeToString())

    def take(self, request, fault, response):
        for group in getattr(request, "resource_spans", ()):
            self.resources.append({a.key: a.value.string_value for a in group.resource.attributes})
            for scoped in group.scope_spans:
                for span in scoped.spans:
                    if fault == "partial" and "poison" in span.name:
                        response.partial_success.rejected_spans += 1
                        self.refused += 1
                        continue
                    self.spans[span.span_id] += 1
                    self.names.append(span.name)
        for group in getattr(request, "resource_logs", ()):
            self.logs += [record for scoped in group.scope_logs for record in scoped.log_records]
        for group in getattr(request, "resource_metrics", ()):
            self.metrics += [metric for scoped in group.scope_metrics for metric in scoped.metrics]

    @staticmethod
    def reply(handler, status, headers=(), body=b""):
        handler.send_response(status)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
