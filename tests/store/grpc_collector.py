"""An OTLP/gRPC collector on the loopback interface that counts what it takes and can be made to fail."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class GrpcCollector:
    """Takes OTLP over gRPC.

    Attributes:
        code: The status that requests are refused with; of ``INVALID_ARGUMENT`` only those that hold a span ``poison``.
        retry_s: Seconds that a refusal asks to be left alone for, in its status detail.
        partial: Whether spans ``poison`` are refused by a partial success.
        spans: How often each span id was taken.
        logs: The log records.
        metrics: The metrics.
        requests: How many requests came.
        metadata: Of every request, as a dict.
    """

    def __init__(self, credentials=None):
        self.code = None
        self.retry_s = None
        self.partial = False
        self.spans = Counter()
        self.logs = []
        self.metrics = []
        self.requests = 0
        self.metadata = []
        self.server = grpc.server(ThreadPoolExecutor(4))
        for services, kind, export in (
            (trace_service_pb2_grpc, "Trace", self._traces),
            (logs_service_pb2_grpc, "Logs", self._logs),
            (metrics_service_pb2_grpc, "Metrics", self._metrics),
        ):
            servicer = getattr(services, f"{kind}ServiceServicer")()
            servicer.Export = export
            getattr(services, f"add_{kind}ServiceServicer_to_server")(servicer, self.server)
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop(None).wait()

    def _traces(self, request, context):
        spans = [s for g in request.resource_spans for sc in g.scope_spans for s in sc.spans]
        poison = {span.span_id for span in spans if "poison" in span.name}
        self._refuse(context, named=bool(poison))
        response = trace_service_pb2.ExportTraceServiceResponse()
        if self.partial and poison:
            response.partial_success.rejected_spans = len(poison)
            spans = [span for span in spans if span.span_id not in poison]
        self.spans.update(span.span_id for span in spans)
        return response

    def _logs(self, request, context):
        self._refuse(context)
        self.logs += [r for g in request.resource_logs for s in g.scope_logs for r in s.log_records]
        return logs_service_pb2.ExportLogsServiceResponse()

    def _metrics(self, request, context):
        self._refuse(context)
        self.metrics += [m for g in request.resource_metrics for s in g.scope_metrics for m in s.metrics]
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def _refuse(self, context, *, named=False):
        self.requests += 1
        self.metadata.append(dict(context.invocation_metadata()))
        if self.code is None or (self.code is grpc.StatusCode.INVALID_ARGUMENT and not named):
            return
        if self.retry_s is not None:
            info = RetryInfo(retry_delay=Duration(seconds=self.retry_s))
            context.set_trailing_metadata((("google.rpc.retryinfo-bin", info.SerializeToString()),))
        context.abort(self.code, "no")
