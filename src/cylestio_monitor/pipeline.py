"""The one road of every call: begin, scan, decide, let go or refuse, answer, scan, end.

Read this file first. A capture module turns what an SDK was asked into a `Call`, gives it to `Pipeline.begin`, makes
the request, and gives the answer to `Invocation.end`. Everything between stands here: the span, the scan of both
sides, the verdict, the attributes and events, the metrics, and the wait for the disk.

Nothing here raises into the application but `BlockedError`, and that only where blocking was switched on.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from cylestio_monitor import config, identity, runtime, sanitize, semconv
from cylestio_monitor._version import __version__
from cylestio_monitor.background import BackgroundWorker, runs_on_trio
from cylestio_monitor.emit import content, genai, security
from cylestio_monitor.emit.attach import Attached
from cylestio_monitor.emit.attributes import safe
from cylestio_monitor.emit.metrics import Metrics
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.inspection import Inspection, Reported, Seen, StreamedText
from cylestio_monitor.model import SEVERITY_NUMBER, Call, Finding, Part, Result, Subtype, Verdict
from cylestio_monitor.policy import ALLOW, decide

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from cylestio_monitor.config import Settings
    from cylestio_monitor.detect import Detectors
    from cylestio_monitor.model import AttributeValue
    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.store import PendingWrite, Store

    Adopt: TypeAlias = Callable[["Pipeline", Call, Context | None], "Invocation | None"]

log = logging.getLogger(__name__)

_KINDS = {"client": SpanKind.CLIENT, "server": SpanKind.SERVER, "internal": SpanKind.INTERNAL}
_HIGH = SEVERITY_NUMBER["high"]
_ERROR_TEXT_BYTES = 1024


class Pipeline:
    """The parts a call meets on its way, wired once at set-up."""

    def __init__(
        self,
        *,
        settings: Settings,
        scanner: Scanner,
        store: Store | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """Takes the parts; the global providers are used where none is given."""
        self.settings = settings
        self.scanner = scanner
        self.store = store
        self.content = config.content_mode(settings)
        self.tracer = trace.get_tracer(semconv.SCOPE, __version__, tracer_provider)
        self.metrics = Metrics(otel_metrics.get_meter(semconv.SCOPE, __version__, meter_provider), scanner.rules)
        resource = getattr(tracer_provider or trace.get_tracer_provider(), "resource", None)
        self.service_name = resource.attributes.get("service.name") if resource is not None else None
        self.seen = Seen()
        self.reported = Reported()
        self.reaper = BackgroundWorker()
        self.adopt: Adopt | None = None  # finds the span that another instrumentation has started for the same call
        self.detectors = _detectors(settings)
        self.is_hosted: Callable[[], bool] | None = None  # whether there is such a span here
        self.identity = identity.Identity(agent_id=settings.agent_id, session_id=settings.session_id)

    def begin(self, call: Call, *, parent: Context | None = None) -> Invocation:
        """Starts the span of a call, scans what goes in, and judges it.

        Args:
            call: What is about to happen.
            parent: The context of the parent span; the current one where none is given.

        Raises:
            BlockedError: The call is refused; its span has ended and says so.
        """
        self.reaper.ensure()
        invocation = self.adopt(self, call, parent) if self.adopt is not None else None
        if invocation is None:
            invocation = Invocation(self, call, self.start_span(call, parent))
        invocation.inspect_input()
        return invocation

    def flush(self) -> None:
        """Ends the spans of streams that were dropped without being read."""
        self.reaper.drain()

    def start_span(self, call: Call, parent: Context | None) -> Span:
        """The span of a call, with what a sampler needs; one that records nothing where none can be started."""
        try:
            attributes = safe(genai.at_start(call, self.who()))
            return self.tracer.start_span(
                sanitize.clean_text(call.name, 256), context=parent, kind=_KINDS[call.kind], attributes=attributes
            )
        except Exception:
            log.debug("Could not start a span", exc_info=True)
            return trace.INVALID_SPAN

    def who(self) -> identity.Identity:
        """Who acts here: what the context says, else what the settings say."""
        here = identity.current()
        if here.agent_id and here.session_id:
            return here
        return identity.Identity(
            here.agent_id or self.identity.agent_id,
            here.session_id or self.identity.session_id,
            here.user_id,
            here.conversation_id,
        )


def _detectors(settings: Settings) -> Detectors | None:
    if not settings.detectors.use:
        return None
    from cylestio_monitor import detect  # noqa: PLC0415 -- few have detectors

    return detect.start(settings.detectors)


class Invocation:
    """One call on its way. Made by `Pipeline.begin`; ended exactly once, by whoever comes first."""

    __slots__ = (
        "_first_chunk",
        "_inspection",
        "_judged",
        "_once",
        "_pending",
        "_pipeline",
        "_started",
        "_verdict",
        "call",
        "span",
    )

    def __init__(self, pipeline: Pipeline, call: Call, span: Span) -> None:
        """Holds the started span."""
        self.call = call
        self.span = span
        self._pipeline = pipeline
        self._started = time.perf_counter()
        self._first_chunk: float | None = None
        self._inspection = Inspection(
            pipeline.scanner, pipeline.seen, whole=pipeline.content == "full", detectors=pipeline.detectors
        )
        self._judged = 0
        self._once = threading.Lock()
        self._pending: PendingWrite | None = None
        self._verdict = ALLOW

    def inspect_input(self) -> None:
        """Scans what goes in; ends the span and raises `BlockedError` where policy refuses it."""
        if not self._pipeline.settings.scan.enabled:
            return
        started = time.perf_counter()
        try:
            self._inspection.call(self.call)
        except Exception:
            log.debug("Could not scan the input of a call", exc_info=True)
        self._pipeline.metrics.scan(time.perf_counter() - started, "input")
        if self._inspection.findings:
            self._judged = len(self._inspection.findings)
            self._judge(self._inspection.findings)
            if self._verdict.action == "block":
                self._refuse("call")

    def attached(self) -> Attached:
        """Makes the span current while the request is made; never to be held across a yield to the caller."""
        return Attached(self.span)

    def settle(self) -> None:
        """Waits until a high or critical finding is on disk, at most `store.durable_wait_ms`."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.wait(self._pipeline.settings.store.durable_wait_ms / 1000)

    async def settle_async(self) -> None:
        """Does what `settle` does, without holding up the event loop, be it asyncio's or trio's."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        seconds = self._pipeline.settings.store.durable_wait_ms / 1000
        trio = sys.modules.get("trio")
        if trio is not None and runs_on_trio():
            await trio.to_thread.run_sync(pending.wait, seconds)
        else:
            await pending.wait_async(seconds)

    def first_chunk(self) -> None:
        """Notes the time of the first chunk of a streamed answer; later calls do nothing."""
        if self._first_chunk is None:
            self._first_chunk = time.perf_counter() - self._started

    def streamed(self, path: str, subtype: Subtype = "llm") -> StreamedText:
        """Takes what arrives of a text of the answer, named as `Part.path` will name it; scans across its pieces."""
        return self._inspection.streamed(path, subtype, self._judge_new)

    @property
    def can_block(self) -> bool:
        """The settings allow a refusal; only then a streamed answer is judged before its end."""
        return self._pipeline.settings.mode == "block" and self._pipeline.settings.scan.enabled

    def check(self, parts: list[Part]) -> bool:
        """Scans parts that are complete before the answer is; true if policy refuses them: `end` then raises."""
        try:
            self._inspection.parts(parts)
            self._judge_new()
        except Exception:
            log.debug("Could not scan a part of an answer", exc_info=True)
        return self._verdict.action == "block"

    def end(self, result: Result | None = None, error: BaseException | None = None, *, enforce: bool = False) -> None:
        """Ends the call: scans what came back, sets every attribute, ends the span. Only the first call counts.

        Args:
            result: What came back, as far as it did.
            error: What the call raised; `None` for a good end and for an early close by the caller.
            enforce: Whether a refused tool call in the answer raises. Only where the caller can still be kept from it.

        Raises:
            BlockedError: `enforce` was given, blocking is on, and the model asked for a tool call that is refused.
        """
        if not self._once.acquire(blocking=False):
            return
        self._finish(result, error, None)
        if enforce and self._verdict.action == "block":
            raise self._blocked("answer")

    def abandon(self, result: Result | None = None) -> None:
        """Ends the call from a finaliser: another thread does the work.

        The garbage collector may run inside any lock of this process, also of the telemetry itself, so nothing that
        takes a lock may be done there.
        """
        if self._once.acquire(blocking=False):
            ended = time.time_ns()
            self._pipeline.reaper.put(lambda: self._finish(result, None, ended))

    def _finish(self, result: Result | None, error: BaseException | None, end_time: int | None) -> None:
        try:
            if self._pipeline.settings.scan.enabled:
                self._inspect_output(result)
            self._judge_new()
            if error is None:
                self._inspection.commit()
            self._set_attributes(result)
            kind = result.error_type if result is not None else None
            if error is not None:
                kind = kind or genai.error_type(error)
                self._set_error(kind, error)
            elif kind is not None:
                self.span.set_attribute(semconv.ERROR_TYPE, sanitize.clean_text(kind, 256))
                self.span.set_status(Status(StatusCode.ERROR))
            self._measure(result, kind)
            self._inspection.leave(lambda found: self._judge(found, answered=True, late=True))
        except Exception:
            log.debug("Could not complete a span", exc_info=True)
        finally:
            try:
                self._close(end_time)
            except Exception:
                log.debug("Could not end a span", exc_info=True)

    def _inspect_output(self, result: Result | None) -> None:
        started = time.perf_counter()
        try:
            self._inspection.result(result)
        except Exception:
            log.debug("Could not scan an answer", exc_info=True)
        self._pipeline.metrics.scan(time.perf_counter() - started, "output")

    def _judge_new(self) -> None:
        """Judges what was found in the answer since the last time; of a streamed one, while it still arrives."""
        found = self._inspection.findings[self._judged :]
        self._judged += len(found)
        if found and self._verdict.action != "block":
            self._judge(found, answered=True)

    def _judge(self, found: list[Finding], *, answered: bool = False, late: bool = False) -> None:
        """Judges findings, reports them, and has the grave ones and those that came late written at once."""
        pipeline, call = self._pipeline, self.call
        verdict = decide(found, pipeline.settings)
        if verdict.action == "block" and answered and all(finding.subtype != "tool_call" for finding in found):
            verdict = Verdict(verdict.decision, "audit", verdict.reason)
        if verdict.decision == "deny" or self._verdict.decision != "deny":
            self._verdict = verdict
        place = self.span.get_span_context()
        pipeline.reported.add(place.trace_id, found)
        pipeline.metrics.findings(found, verdict, call.operation, call.tool_name)
        if pipeline.store is None:
            return
        if late or any(SEVERITY_NUMBER[finding.severity] >= _HIGH for finding in found):
            who = pipeline.who()
            self._pending = pipeline.store.add_findings(
                place.trace_id,
                place.span_id,
                found,
                agent_id=who.agent_id,
                session_id=who.session_id,
                service_name=pipeline.service_name,
                action=verdict.action,
                operation=call.operation,
                model=call.model,
                tool=call.tool_name,
            )

    def _refuse(self, what: str) -> None:
        error = self._blocked(what)
        self._once.acquire(blocking=False)
        self._set_attributes(None)
        self._set_error(genai.error_type(error), error)
        self._measure(None, genai.error_type(error))
        self._close(None)
        raise error

    def _blocked(self, what: str) -> BlockedError:
        tool = f" of tool {sanitize.clean_text(self.call.tool_name, 64)}" if self.call.tool_name else ""
        findings = sorted(self._inspection.findings, key=lambda finding: -SEVERITY_NUMBER[finding.severity])
        place = next((finding.path for finding in findings if finding.rule_id == self._verdict.reason), "")
        return BlockedError(f"Cylestio blocked this {what}{tool}: rule {self._verdict.reason} at {place}", findings)

    def _set_attributes(self, result: Result | None) -> None:
        pipeline, findings = self._pipeline, self._inspection.findings
        attributes = safe(genai.at_end(result)) if result is not None else {}
        if self._first_chunk is not None:
            attributes[semconv.RESPONSE_TIME_TO_FIRST_CHUNK] = self._first_chunk
        if pipeline.settings.scan.enabled:
            found = security.attributes(findings, self._verdict, pipeline.scanner.rules)
            attributes.update(safe(found) if findings else found)
        else:
            attributes[semconv.SCANNED] = False
        if pipeline.content != "none" and self.span.is_recording():
            limit = pipeline.settings.content_max_bytes
            attributes.update(content.attributes(self.call, result, self._inspection.recorded, limit))
        self._write(attributes)
        for finding in findings[: security.MAX_EVENTS]:
            self.span.add_event(semconv.EVENT_FINDING, safe(security.event(finding)))

    def _write(self, attributes: dict[str, AttributeValue]) -> None:
        self.span.set_attributes(attributes)

    def _measure(self, result: Result | None, error_type: str | None) -> None:
        seconds = time.perf_counter() - self._started
        self._pipeline.metrics.end(self.call, result, seconds, self._first_chunk, error_type)

    def _close(self, end_time: int | None) -> None:
        self.span.end(end_time)

    def _set_error(self, kind: str, error: BaseException) -> None:
        """Sets `error.type` and the status; the text of an error may quote what was sent, so it is masked."""
        self.span.set_attribute(semconv.ERROR_TYPE, sanitize.clean_text(kind, 256))
        if not isinstance(error, Exception):  # a cancelled task, an interrupt, an exit: stopped, not failed
            self.span.set_status(Status(StatusCode.ERROR, "cancelled"))
            return
        text = sanitize.clean_text(error, _ERROR_TEXT_BYTES)
        self.span.set_status(Status(StatusCode.ERROR, self._pipeline.scanner.mask(text)))


def installed() -> Pipeline | None:
    """The running pipeline, also where monitoring is suppressed; `None` while it is off."""
    return runtime.pipeline or runtime.get_or_create()


def current() -> Pipeline | None:
    """The running pipeline; `None` while monitoring is off or suppressed in this context.

    An instrumentation that has started the span of a call suppresses others below it. Ours makes no second span there,
    but scans the call on that one.
    """
    running = runtime.pipeline or runtime.get_or_create()
    if running is not None and otel_context.get_current().get("suppress_instrumentation"):
        return running if running.is_hosted is not None and running.is_hosted() else None
    return running


__all__ = ["Finding", "Invocation", "Pipeline", "current", "installed"]
