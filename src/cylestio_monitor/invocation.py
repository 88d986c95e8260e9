"""One call from its begin to its end: scan, verdict, attributes, findings, metrics, and exactly one end."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from opentelemetry import context as otel_context
from opentelemetry import trace

from cylestio_monitor import semconv
from cylestio_monitor.background import runs_on_event_loop, sleep_of_loop, wait_async
from cylestio_monitor.emit import content, genai, guardrail, reporting, security
from cylestio_monitor.emit.passing import PassingContent
from cylestio_monitor.emit.recorded_texts import RecordedTexts
from cylestio_monitor.govern.redaction.redactor import UNCHANGED
from cylestio_monitor.govern.redaction.values import NO_KEYS
from cylestio_monitor.model import Verdict
from cylestio_monitor.policy import ALLOW, stricter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import Span

    from cylestio_monitor.emit.call_parts import CallParts
    from cylestio_monitor.emit.reporting import PendingFindings
    from cylestio_monitor.emit.span_sink import SpanSink
    from cylestio_monitor.errors import BlockedError
    from cylestio_monitor.inspection import Inspection, NewFindings, StreamedText
    from cylestio_monitor.model import AttributeValue, Call, Finding, Part, Result, Subtype

log = logging.getLogger(__name__)

_NAME_CHARS = 256
_STREAMED = ("chat", "text_completion", "generate_content")


class CurrentSpan:
    """A context manager that makes a span the current one; it is never held across a yield to the caller."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        """Attaches nothing yet."""
        self._span = span

    def __enter__(self) -> None:
        self._token = otel_context.attach(trace.set_span_in_context(self._span))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            # `context.detach` logs an error if a coroutine is finished in another context than it began in. Nothing
            # is left attached here in that case, so there is nothing to report.
            self._token.var.reset(self._token)
        except ValueError:
            log.debug("A call ended in another context than it began in")
        except AttributeError:  # a context implementation of the application (OTEL_PYTHON_CONTEXT)
            otel_context.detach(self._token)


class Invocation(PassingContent):
    """One call under way. `Pipeline.begin` creates it; the first call of `end` or `abandon` ends it.

    Attributes:
        call: The call.
        sink: Its span, and the one who ends that.
        redacts: Whether content of the call may have to be replaced.
    """

    __slots__ = (
        "__weakref__",
        "_attributes",
        "_ended",
        "_first_chunk",
        "_inspection",
        "_pending",
        "_started",
        "_texts",
        "redacts",
    )

    def __init__(
        self,
        pipeline: CallParts,
        call: Call,
        sink: SpanSink,
        attributes: Mapping[str, AttributeValue],
        *,
        is_scanned: bool = True,
    ) -> None:
        """Takes the started span.

        Args:
            pipeline: The parts that the call passes through.
            call: The call.
            sink: Its span.
            attributes: The attributes that are known before the call.
            is_scanned: Off where the content is scanned in the calls inside this one.
        """
        self.call = call
        self.sink = sink
        self._pipeline = pipeline
        self._attributes = dict(attributes)
        self._started = time.perf_counter()
        self._first_chunk: float | None = None
        self._inspection: Inspection | None = None
        self._control = pipeline.new_control(call, sink.span) if is_scanned else None
        if is_scanned and (pipeline.settings.scan.enabled or self._control is not None):
            self._inspection = pipeline.new_inspection(sink.reported_in, sink.span)
        self._ended = threading.Lock()
        self._pending: PendingFindings | None = None
        self._texts: RecordedTexts | None = None
        self._verdict = ALLOW
        self.redacts = self._control is not None and self._control.redaction is not None
        self._passing: Any = UNCHANGED
        self._keys = NO_KEYS

    @property
    def span(self) -> Span:
        """The span of the call."""
        return self.sink.span

    @property
    def can_block(self) -> bool:
        """The settings allow a refusal; only then a streamed answer is judged before its end."""
        return self._pipeline.settings.mode == "block" and self._inspection is not None

    def inspect_input(self) -> None:
        """Scans the input; ends the span and raises `BlockedError` where policy refuses it."""
        inspection = self._inspection
        if inspection is None:
            return
        started = time.perf_counter()
        try:
            inspection.call(self.call)
        except Exception as error:  # noqa: BLE001 -- the scan contains the errors of each part; this one is of the call as a whole
            inspection.add_incomplete(error, "input", "llm", "input")
        self._pipeline.metrics.scan(time.perf_counter() - started, "input")
        if self._control is not None:
            self._control_input(self._control, inspection)
        self._judge_new(inspection, None, is_answer=False, may_refuse=self.sink.can_refuse)
        if self._verdict.action == "block":
            self._refuse()

    def set_missing(self, name: str, value: AttributeValue | None) -> None:
        """Sets an attribute that the call does not have, such as the provider of an agent."""
        if value is not None and name not in self._attributes:
            self._attributes[name] = value
            self.sink.write({name: value})

    def attached(self) -> CurrentSpan:
        """Makes the span the current one while the request is made."""
        return CurrentSpan(self.sink.span)

    def wait_durable(self) -> None:
        """Waits until a severe finding is on disk and a held call is decided; raises `BlockedError` if it is denied."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.wait(self._pipeline.settings.store.durable_wait_ms / 1000)
        control = self._control
        if control is not None and (request := control.request) is not None and not control.wait():
            self._deny(request.rule)

    async def wait_durable_async(self) -> None:
        """Does the same without blocking the event loop, be it asyncio's or trio's."""
        pending, self._pending = self._pending, None
        if pending is not None:
            await wait_async(pending, self._pipeline.settings.store.durable_wait_ms / 1000)
        control = self._control
        held = control.request if control is not None else None
        if control is not None and held is not None and not await control.wait_async(sleep_of_loop()):
            self._deny(held.rule)

    def first_chunk(self) -> None:
        """Notes the time of the first chunk of a streamed answer; later calls do nothing."""
        if self._first_chunk is None:
            self._first_chunk = time.perf_counter() - self._started

    def streamed(self, path: str, subtype: Subtype = "llm") -> StreamedText:
        """Returns the collector of a streamed text that will be at `path` in the `Result`; it scans across pieces."""
        if self._inspection is None:
            from cylestio_monitor.inspection import StreamedText  # noqa: PLC0415 -- only where the scan is off

            return StreamedText.unscanned()
        return self._inspection.streamed(path, subtype, self._judge_early)

    def check(self, parts: list[Part]) -> bool:
        """Scans parts that are complete before the answer is.

        Returns:
            Whether policy refuses them. The caller then ends the call with `enforce` and hands over nothing more.
        """
        inspection = self._inspection
        if inspection is None:
            return False
        inspection.parts(parts)
        self._control_parts(inspection, parts)
        self._judge_new(inspection, None, is_answer=True, may_refuse=self.sink.can_refuse)
        return self._verdict.action == "block"

    def end(self, result: Result | None = None, error: BaseException | None = None, *, enforce: bool = False) -> None:
        """Ends the call: scans the answer, sets every attribute, ends the span. Only the first call has an effect.

        Args:
            result: The answer, as far as it came.
            error: The exception of the call; `None` for a good end and for an early close by the caller.
            enforce: A refused tool call in the answer raises. Only where the caller has not got it yet.

        Raises:
            BlockedError: `enforce` was given, blocking is on, and the model asked for a tool call that is refused.
        """
        if self._ended.acquire(blocking=False):
            blocked = self._finish(result, error, None, enforce=enforce and error is None)
            if blocked is not None:
                raise blocked

    def abandon(self, result: Result | None = None) -> None:
        """Ends the call from a finaliser: another thread does the work.

        The garbage collector may run inside any lock of this process, including those of the telemetry, so a
        finaliser must not take a lock.
        """
        if self._ended.acquire(blocking=False):
            ended = time.time_ns()
            self._pipeline.background.put(lambda: self._finish_abandoned(result, ended))

    def _finish_abandoned(self, result: Result | None, end_time: int) -> None:
        self._finish(result, None, end_time, enforce=False)

    def _finish(
        self, result: Result | None, error: BaseException | None, end_time: int | None, *, enforce: bool
    ) -> BlockedError | None:
        """Does the work of `end`; returns the error to be raised where the answer is refused."""
        if not self.sink.is_open():
            return None
        blocked: BlockedError | None = None
        try:
            if self._inspection is not None:
                self._inspect_output(self._inspection, result, may_refuse=enforce and self.sink.can_refuse)
                if enforce and self._verdict.action == "block":
                    error = blocked = self._blocked_error("answer")
                if error is None:
                    self._inspection.commit()
            self._complete(result, error)
            if self._inspection is not None:
                self._inspection.on_later(self._judge_late)
        except Exception:  # an incomplete span is better than an error of ours in the application
            log.debug("Could not complete a span", exc_info=True)
        self._close(end_time)
        return blocked

    def _inspect_output(self, inspection: Inspection, result: Result | None, *, may_refuse: bool) -> None:
        started = time.perf_counter()
        try:
            inspection.result(result)
        except Exception as error:  # noqa: BLE001 -- as of the input
            inspection.add_incomplete(error, "output", "llm", "output")
        self._pipeline.metrics.scan(time.perf_counter() - started, "output")
        if result is not None and self._control is not None:
            self._control.on_result(self.call, result, inspection, is_new=self.sink.reported_in is None)
            self._control_parts(inspection, [part for message in result.messages for part in message.parts])
        if self._control is not None and (may_refuse or self._control.is_streamed):
            self._redact_output(self._control, inspection, result)
        self._judge_new(inspection, result, is_answer=True, may_refuse=may_refuse)

    def _judge_early(self) -> None:
        """Judges what a streamed answer has shown so far; a tool call that may be refused is judged when complete."""
        inspection = self._inspection
        found = inspection.found if inspection is not None else None
        if inspection is None or found is None or (self.can_block and reporting.can_be_refused(found.peek_new())):
            return
        self._judge_new(inspection, None, is_answer=True, may_refuse=False)

    def _judge_late(self, found: list[Finding]) -> None:
        """Judges findings that detectors deliver after the end of the call."""
        from cylestio_monitor.inspection import NewFindings  # noqa: PLC0415 -- only where detectors are installed

        self._judge(NewFindings.of(found), is_answer=True, may_refuse=False, is_late=True)

    def _judge_new(self, inspection: Inspection, result: Result | None, *, is_answer: bool, may_refuse: bool) -> None:
        """Gives new findings their place in the recorded content, and judges them."""
        if inspection.found is not None:
            if self._texts is None:
                self._texts = RecordedTexts(self.call, self.sink, self._pipeline, inspection)
            self._texts.place(result)
            self._judge(inspection.found.take_new(), is_answer=is_answer, may_refuse=may_refuse)

    def _judge(self, new: NewFindings | None, *, is_answer: bool, may_refuse: bool, is_late: bool = False) -> None:
        """Decides about new findings, and reports them."""
        if new is None:
            return
        pipeline = self._pipeline
        handled = self._control.redaction if self._control is not None else None
        left = [one for one in new.kept if handled is None or not handled.is_handled(one, is_answer=is_answer)]
        verdict = reporting.judge(left, pipeline.settings, is_answer=is_answer, may_refuse=may_refuse)
        if len(left) < len(new.kept):
            verdict = stricter(verdict, reporting.warned(new.kept))
        verdict = self._verdict = stricter(self._verdict, verdict)
        place = self.sink.span.get_span_context()
        pipeline.reported.add(place.trace_id, new.kept)
        origin = reporting.CallOrigin(self.call, self._attributes, place, pipeline.actor(), pipeline.service_name)
        pending = reporting.report(
            new.kept, new.tally, verdict, origin, metrics=pipeline.metrics, store=pipeline.store, is_late=is_late
        )
        if pending is not None and not is_late:
            pending = self._store_open_call(new.kept, verdict.action) or pending
        self._pending = pending or self._pending

    def _store_open_call(self, found: list[Finding], action: str) -> PendingFindings | None:
        """Stores the call itself, so that it is known if the process dies within the call."""
        store = self._pipeline.store
        if store is None:
            return None
        from cylestio_monitor.store.ingest.open_calls import StartedSpan  # noqa: PLC0415 -- only with severe findings

        span = self.sink.span
        started_ns = time.time_ns() - int((time.perf_counter() - self._started) * 1e9)
        name = self._pipeline.redact(self.call.name)
        parent = getattr(span, "parent", None)
        started = StartedSpan(span.get_span_context(), parent, name, self.call.kind, started_ns, self._attributes)
        return store.add_open_call(started, found, action)

    def _deny(self, rule: str = "") -> NoReturn:
        self._verdict = Verdict("deny", "block", rule or self._verdict.reason)
        self._refuse()

    def _refuse(self) -> NoReturn:
        error = self._blocked_error("call")
        self._ended.acquire(blocking=False)
        try:
            self._complete(None, error)
        finally:
            self._close(None)
        if not runs_on_event_loop():
            self.wait_durable()
        raise error

    def _blocked_error(self, subject: str) -> BlockedError:
        found = self._inspection.found if self._inspection is not None else None
        tool = self._attributes.get(semconv.TOOL_NAME)
        kept = found.kept if found is not None else []
        exceeded = self._control.exceeded if self._control is not None else None
        return reporting.blocked_error(subject, kept, self._verdict, str(tool) if tool else None, exceeded)

    def _complete(self, result: Result | None, error: BaseException | None) -> None:
        """Writes attributes, findings, error and metrics."""
        seconds = time.perf_counter() - self._started
        pipeline, sink, inspection = self._pipeline, self.sink, self._inspection
        settings = pipeline.settings
        found = inspection.found if inspection is not None else None
        attributes = genai.attributes(genai.at_end(result), pipeline.redact) if result is not None else {}
        if self._first_chunk is not None and self.call.operation in _STREAMED:
            attributes[semconv.RESPONSE_TIME_TO_FIRST_CHUNK] = self._first_chunk
        if found is not None:
            attributes.update(security.attributes(found.kept, found.count, self._verdict, pipeline.scanner.rules))
            attributes.update(guardrail.attributes(found.kept, self._verdict, pipeline.scanner.rules, settings))
        elif inspection is not None:
            attributes.update(security.CLEAN)
        if inspection is None or not settings.scan.enabled:
            attributes[semconv.SCANNED] = False
        if pipeline.content != "none" and (found is not None or sink.span.is_recording()):
            recorded = inspection.recorded if inspection and settings.scan.enabled else pipeline.recorded_unscanned
            limit = settings.content_max_bytes
            attributes.update(content.attributes(self.call, result, recorded, pipeline.redact, limit))
        if self._control is not None:
            verdict = {semconv.VERDICT: self._verdict.decision, semconv.ACTION: self._verdict.action}
            attributes.update(self._control.attributes(), **verdict)
            self._control.finish(self.call, ran=self._verdict.action != "block")
        if self._texts is not None:
            self._texts.store(result)
        sink.write(attributes)
        if found is not None:
            for finding in security.most_severe(found.kept):
                sink.add_event(semconv.EVENT_FINDING, genai.attributes(security.event(finding)))
            for event in guardrail.events(found.kept, self._verdict, pipeline.scanner.rules, settings):
                sink.add_event(guardrail.EVENT, genai.attributes(event))
        kind = result.error_type if result is not None else None
        if error is not None or kind is not None:
            kind = pipeline.redact(kind or genai.error_type(error))[:_NAME_CHARS]
            mask = pipeline.scanner.mask if pipeline.content != "none" else None
            sink.fail(kind, reporting.error_status(error, kind, mask))
        if sink.counts_call:
            self._attributes.update(attributes)
            pipeline.metrics.end(self.call, result, seconds, self._attributes, kind)

    def _close(self, end_time: int | None) -> None:
        inspection, store = self._inspection, self._pipeline.store
        try:
            self.sink.end(end_time, masks=inspection is not None and inspection.holds_secrets)
        except Exception:  # a span processor of the application raised
            log.debug("Could not end a span", exc_info=True)
        found = inspection.found if inspection is not None else None
        if store is not None and found is not None and reporting.is_urgent(found.kept):
            self._pending = store.add_barrier()
