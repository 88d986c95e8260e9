"""One attempt to hand a batch to a collector, and what became of it.

The official exporters encode, compress, authenticate and speak the protocol; but they answer with success or failure
alone, call a redirect and a partial success a success, and retry on their own for ten seconds. Here their HTTP session
or gRPC stub is watched: the answer itself says what to do next, and one attempt is one attempt.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from opentelemetry import context

from cylestio_monitor.store.delivery.otlp_encoder import SpanBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_logger = logging.getLogger(__name__)

Verdict: TypeAlias = Literal["sent", "partial", "retry", "hold", "rejected", "unsupported"]

_RETRY_STATUS: Final = frozenset({408, 429, 502, 503, 504})
_REJECTED_STATUS: Final = frozenset({400, 413, 415, 422})
_UNSUPPORTED_STATUS: Final = frozenset({404, 405, 501})
_RETRY_CODES: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
_LONGEST_WAIT_S: Final = 300.0
_NOISY: Final = ("opentelemetry.exporter.otlp", "urllib3.connectionpool", "grpc")


class Outcome(NamedTuple):
    """The result of one attempt to send a batch.

    Attributes:
        verdict: ``sent``; ``partial``: some of it was refused, and it must not be sent again; ``retry``: the collector
            is not there or too busy; ``hold``: it answers, but not as a collector at this address should (redirect,
            refused credentials): nothing is wrong with the batch; ``rejected``: the batch is refused;
            ``unsupported``: the backend does not accept this signal at all.
        reason: One line without content, address or credentials.
        refused: For ``partial``: how many.
        wait_s: How long the collector asked to be left alone.
    """

    verdict: Verdict
    reason: str = ""
    refused: int = 0
    wait_s: float | None = None


class _AttemptOver(Exception):  # noqa: N818 -- no error: it ends the exporter's own retries
    """Takes control past the exporter; the outcome is noted already."""


class Channel:
    """One exporter, watched."""

    def __init__(self, exporter: Any) -> None:
        """Begins to watch.

        Args:
            exporter: An OTLP exporter of spans, log records or metrics, over HTTP or gRPC; of any other one only
                success and failure are known.
        """
        self.exporter = exporter
        self._outcome: Outcome | None = None
        self._thread = 0
        self._unwatched: dict[str, Any] = {}
        self._session = _session_of(exporter)
        self._export: Callable[[Any], Any] = exporter.export
        if self._session is not None:
            self._watch_session(self._session)
            self._export = self._post
        elif hasattr(exporter, "_stub") and hasattr(exporter, "_client"):
            self._watch_stub(exporter)
            self._take_requests(exporter)

    def send(self, batch: Sequence[Any] | Any) -> Outcome:
        """One attempt; never raises.

        Args:
            batch: What the exporter's `export` takes.
        """
        self._outcome = None
        self._thread = threading.get_ident()
        result: Any = None
        failure = "cannot be encoded"
        try:
            result = self._export(batch)
        except Exception as error:  # noqa: BLE001 -- ours, at the end of the attempt, or an encoder's about a record
            failure = f"cannot be encoded: {type(error).__name__}"
        finally:
            self._thread = 0
        outcome: Outcome | None = self._outcome
        if outcome is not None:
            return outcome
        if getattr(result, "name", "") == "SUCCESS":
            return Outcome("sent")
        # Nothing was asked of the network: the batch could not be encoded, or is larger than a request may be.
        watched = self._session is not None or hasattr(self.exporter, "_stub")
        return Outcome("rejected", failure) if watched else Outcome("retry", "the exporter failed")

    def reconnect(self) -> None:
        """Opens new sockets after a fork, because the parent still writes to the inherited ones."""
        if self._session is not None:
            from requests.adapters import HTTPAdapter  # noqa: PLC0415 -- loaded by the exporter already

            for prefix in list(self._session.adapters):
                self._session.adapters[prefix] = HTTPAdapter()
        elif hasattr(self.exporter, "_initialize_channel_and_stub"):
            self.exporter._initialize_channel_and_stub()  # noqa: SLF001 -- the exporter's own way to reconnect

    def close(self) -> None:
        """Shuts the exporter down."""
        self.exporter.shutdown()

    def release(self) -> None:
        """Removes the hooks and restores the exporter for its owner."""
        if self._session is not None:
            self._session.__dict__.pop("request", None)
        for name, value in self._unwatched.items():
            setattr(self.exporter, name, value)
        self.exporter.__dict__.pop("_translate_data", None)

    def _post(self, batch: Any) -> Any:
        """Exports over HTTP; an already encoded batch skips the encoding step of the exporter."""
        client = getattr(self.exporter, "_client", None)
        post = getattr(self.exporter, "_export", None) if client is None else getattr(client, "export", None)
        if post is None or not isinstance(batch, SpanBatch):
            return self.exporter.export(batch)
        post(batch.request().SerializeToString())
        return None  # the answer was seen on its way

    @staticmethod
    def _take_requests(exporter: Any) -> None:
        """Has a gRPC exporter take a batch that is a message already."""
        translate = getattr(exporter, "_translate_data", None)
        if translate is not None:
            exporter._translate_data = lambda batch: (  # noqa: SLF001 -- its own step from spans to the message
                batch.request() if isinstance(batch, SpanBatch) else translate(batch)
            )

    def _watch_session(self, session: Any) -> None:
        request = session.request

        def watched(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return request(*args, **kwargs)  # of somebody who shares the exporter
            kwargs["allow_redirects"] = False
            # Else a REQUESTS_CA_BUNDLE of the machine would go before the certificate that the exporter was given.
            kwargs.setdefault("verify", session.verify)
            try:
                response = request(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 -- whatever it is, it came from the network
                self._outcome = Outcome("retry", _name_of(error))
                raise _AttemptOver from None
            self._outcome = of_response(response.status_code, response.headers, response.content)
            if self._outcome.verdict in {"sent", "partial"}:
                return response
            raise _AttemptOver

        session.request = watched

    def _watch_stub(self, exporter: Any) -> None:
        make = exporter._stub  # noqa: SLF001 -- the one place where its answers can be seen
        self._unwatched = {"_stub": make, "_client": exporter._client}  # noqa: SLF001 -- as above
        channel = self

        class Watched:
            def __init__(self, grpc_channel: Any) -> None:
                self._stub = make(grpc_channel)

            def Export(self, **kwargs: Any) -> Any:  # noqa: N802 -- the stub's own name
                import grpc  # noqa: PLC0415 -- loaded by the exporter already

                if threading.get_ident() != channel._thread:
                    return self._stub.Export(**kwargs)
                try:
                    response = self._stub.Export(**kwargs)
                except grpc.RpcError as error:
                    channel._outcome = of_rpc_error(error)
                    raise _AttemptOver from None
                channel._outcome = of_partial_success(response)
                return response

        exporter._stub = Watched  # noqa: SLF001 -- the exporter has no public hook
        exporter._client = Watched(exporter._channel)  # noqa: SLF001 -- the exporter has no public hook


def of_response(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Returns the outcome of an HTTP response by the OTLP specification; an unspecified status keeps the batch."""
    if 200 <= status < 300:
        return _of_body(headers.get("content-type", ""), body)
    reason = f"HTTP {status}"
    if status in _RETRY_STATUS:
        return Outcome("retry", reason, wait_s=_retry_after(headers.get("retry-after")))
    if status in _UNSUPPORTED_STATUS:
        return Outcome("unsupported", reason)
    return Outcome("rejected" if status in _REJECTED_STATUS else "hold", reason)


def of_rpc_error(error: Any) -> Outcome:
    """Returns the outcome that a gRPC status means."""
    code = getattr(error.code(), "name", "UNKNOWN")
    wait = _retry_info(error)
    if code in _RETRY_CODES or (code == "RESOURCE_EXHAUSTED" and wait is not None):
        return Outcome("retry", f"gRPC {code}", wait_s=wait)
    if code == "UNIMPLEMENTED":
        return Outcome("unsupported", f"gRPC {code}")
    return Outcome("rejected" if code in {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"} else "hold", f"gRPC {code}")


def of_partial_success(response: Any) -> Outcome:
    """Returns the outcome of an OTLP export response: the batch is accepted, or part of it is refused."""
    partial = response.partial_success
    for name in ("rejected_spans", "rejected_log_records", "rejected_data_points"):
        refused = int(getattr(partial, name, 0))
        if refused > 0:
            return Outcome("partial", "partial success", refused=refused)
    return Outcome("sent")


@contextmanager
def quiet() -> Iterator[None]:
    """For the calling thread: no telemetry about sending telemetry, and no log lines of the exporters'.

    They write one line for every attempt, and some lines contain the address. The store counts failures and reports
    each kind once.
    """
    inner = context.get_current()
    for key in (context._SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation", "suppress_http_instrumentation"):  # noqa: SLF001 -- the API has no public name for the key
        inner = context.set_value(key, True, inner)
    token = context.attach(inner)
    own = _NotThisThread(threading.get_ident())
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith(_NOISY)]
    for logger in loggers:
        logger.addFilter(own)
    try:
        yield
    finally:
        context.detach(token)
        for logger in loggers:
            logger.removeFilter(own)


class _NotThisThread(logging.Filter):
    def __init__(self, thread: int) -> None:
        super().__init__()
        self._thread = thread

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


def _session_of(exporter: Any) -> Any:
    """The `requests` session of an HTTP exporter; where it keeps it differs from release to release."""
    transport = getattr(getattr(exporter, "_client", None), "_transport", None)
    session = getattr(transport, "_session", None) or getattr(exporter, "_session", None)
    return session if hasattr(session, "adapters") else None


def _of_body(content_type: str, body: bytes) -> Outcome:
    if not body or "protobuf" not in content_type:
        return Outcome("sent")
    # The three responses agree on the fields that matter: message 1, of which field 1 is the number refused.
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 -- the exporter has loaded it
        ExportTraceServiceResponse,
    )

    response = ExportTraceServiceResponse()
    try:
        response.ParseFromString(body)
    except Exception as error:  # noqa: BLE001 -- protobuf's own type differs by its implementation
        _logger.debug("an answer of the collector is no protobuf: %s", type(error).__name__)
        return Outcome("sent")
    return of_partial_success(response)


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S) if math.isfinite(seconds) else None


def _retry_info(error: Any) -> float | None:
    """Seconds, from the status detail of type RetryInfo."""
    for key, value in error.trailing_metadata() or ():
        if key == "google.rpc.retryinfo-bin":
            from google.rpc.error_details_pb2 import RetryInfo  # noqa: PLC0415 -- the exporter has loaded it

            info = RetryInfo()
            info.ParseFromString(value)
            return min(float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9), _LONGEST_WAIT_S)
    return None


def _name_of(error: BaseException) -> str:
    """The kind of a network failure: an error's own text holds the address, and an address may hold a password."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return f"{type(error).__name__}: {inner.strerror}"
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__
