"""OTLP by hand: requests that no SDK would send, and a loopback receiver that counts what arrives."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span


def post(url: str, body: bytes, content_type: str = "application/x-protobuf", path: str = "/v1/traces") -> int:
    """The status of a POST to an OTLP HTTP receiver."""
    request = urllib.request.Request(url + path, body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    except OSError:
        return 0  # the receiver hung up in the middle of the body


def attribute(key: str, value) -> KeyValue:
    made = AnyValue()
    if isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, int):
        made.int_value = value
    elif isinstance(value, bytes):
        made.bytes_value = value
    elif isinstance(value, list):
        made.array_value.values.extend(attribute("", each).value for each in value)
    elif isinstance(value, dict):
        made.kvlist_value.values.extend(attribute(name, each) for name, each in value.items())
    else:
        made.string_value = value
    return KeyValue(key=key, value=made)


def request(spans: list[Span], resource: dict | None = None, schema_url: str = "") -> bytes:
    """An export request with one resource."""
    made = ResourceSpans(schema_url=schema_url, scope_spans=[ScopeSpans(spans=spans)])
    made.resource.attributes.extend(attribute(key, value) for key, value in (resource or {}).items())
    return trace_service_pb2.ExportTraceServiceRequest(resource_spans=[made]).SerializeToString()


def span(number: int, name: str = "chat", attributes: dict | None = None, events: list[tuple[str, dict]] = ()) -> Span:
    made = Span(trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name=name)
    made.start_time_unix_nano = time.time_ns()
    made.end_time_unix_nano = made.start_time_unix_nano + 10**6
    made.attributes.extend(attribute(key, value) for key, value in (attributes or {}).items())
    for event, values in events:
        made.events.add(name=event).attributes.extend(attribute(key, value) for key, value in values.items())
    return made


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Counts every span that is delivered, and passes it on where there is a backend.

    Args:
        backend: `host:port` of an OTLP gRPC receiver; its answer is the sender's.

    Attributes:
        delivered: Deliveries, by trace id and span id as hex.
        first: When the first of them came, in seconds since the epoch.
    """

    def __init__(self, backend: str | None = None) -> None:
        self.delivered: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], float] = {}
        self._channel = grpc.insecure_channel(backend) if backend else None
        self._backend = trace_service_pb2_grpc.TraceServiceStub(self._channel) if self._channel else None
        self._lock = threading.Lock()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 1 << 26)]
        )
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request, context):  # noqa: N802 -- the service names it
        with self._lock:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for each in scope.spans:
                        ids = (each.trace_id.hex(), each.span_id.hex())
                        self.delivered[ids] += 1
                        self.first.setdefault(ids, time.time())
        if self._backend is None:
            return trace_service_pb2.ExportTraceServiceResponse()
        return self._backend.Export(request, timeout=10)

    def close(self) -> None:
        self._server.stop(1).wait()
        if self._channel:
            self._channel.close()
