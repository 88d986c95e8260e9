"""The path of every call: start a span, scan, decide, refuse or let through, scan the answer, end the span.

Read this module first. Cylestio Monitor observes the LLM and tool calls of an agent for security. A capture module
wraps a method of an SDK or a framework. It reads the arguments into a `Call` and the answer into a `Result`; the rest
is the same for every provider and happens here:

    SDK method
      |  capture: arguments -> Call
      v
    Pipeline.begin ---- span sink:  own span | span of a framework's call | span of another instrumentation | local
      |  Inspection: every text of the input is scanned, each part once per conversation
      |  policy:     findings -> Verdict; refused: the span ends and BlockedError is raised
      v
    the SDK makes the request, with the span as the current one (`Invocation.attached`)
      |  capture: answer, or its chunks as they arrive -> Result
      v
    Invocation.end ---- Inspection: the answer; policy: tool calls that it asks for can be refused
      |  attributes, finding events, metrics; the span ends exactly once
      v
    span processor -> store (SQLite) -> OTLP

A severe finding is on disk before the application gets the answer (`Invocation.wait_durable`). Nothing here raises
into the application except `BlockedError`, and only where the user enabled blocking.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from cylestio_monitor import config, identity, runtime, sanitize, semconv
from cylestio_monitor._version import __version__
from cylestio_monitor.background import BackgroundWorker
from cylestio_monitor.emit import genai
from cylestio_monitor.emit.metrics import Metrics
from cylestio_monitor.inspection import FirstSpeakers, Inspection, ReportedFindings, SeenParts
from cylestio_monitor.invocation import Invocation
from cylestio_monitor.policy import decide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, Status, TracerProvider

    from cylestio_monitor.config import Settings
    from cylestio_monitor.detect import Detectors, Moderators
    from cylestio_monitor.detect.moderators import Reporter as ModerationReporter
    from cylestio_monitor.emit.span_sink import SpanResolver, SpanSink
    from cylestio_monitor.govern.call_control import CallControl
    from cylestio_monitor.govern.controller import Controller
    from cylestio_monitor.govern.outcome import Actor
    from cylestio_monitor.govern.sign_ins import SignInWatch
    from cylestio_monitor.inspection.questions import Questions
    from cylestio_monitor.model import AttributeValue, Call, ToolDefinition
    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.store import Store

log = logging.getLogger(__name__)

enclosing_agent: ContextVar[Invocation | None] = ContextVar("cylestio_enclosing_agent", default=None)
"""The turn of an agent around the code that runs here; its provider is that of its first model call."""

_KINDS = {"client": SpanKind.CLIENT, "server": SpanKind.SERVER, "internal": SpanKind.INTERNAL}
_LABEL_BYTES = 4096
_LABEL_SCANNED = 65_536
_SUPPRESSED = "suppress_instrumentation"
# Ids of the large providers: random, different for each call, and not worth a scan. A number may be personal data, and
# behind such a prefix may stand a key in capital letters.
_PLAIN_ID = re.compile(
    r"(?:msg|chatcmpl|cmpl|resp|call|toolu|srvtoolu|req|run|fc|rs|ws)_(?=[A-Z0-9]{0,12}[a-z])(?!AIza)[A-Za-z0-9]{1,64}"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{1,6}"
)


class OwnSpan:
    """The `SpanSink` of a span that the pipeline started itself."""

    __slots__ = ("span",)
    counts_call = True
    can_refuse = True
    reported_in: int | None = None

    def __init__(self, span: Span) -> None:
        """Takes the started span."""
        self.span = span

    def is_open(self) -> bool:
        """Returns true: nobody else ends it."""
        return True

    def write(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets attributes."""
        self.span.set_attributes(attributes)

    def recorded(self, name: str) -> AttributeValue | None:  # noqa: ARG002 -- nobody else writes here
        """Returns `None`: what is recorded is what the call writes."""
        return None

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Adds an event."""
        self.span.add_event(name, attributes)

    def fail(self, kind: str, status: Status) -> None:
        """Sets ``error.type`` and the status."""
        self.span.set_attribute(semconv.ERROR_TYPE, kind)
        self.span.set_status(status)

    def end(self, end_time: int | None, *, masks: bool) -> None:  # noqa: ARG002 -- all of its content is masked already
        """Ends the span."""
        self.span.end(end_time)


class Pipeline:
    """The parts that every call passes through, wired once at set-up."""

    def __init__(
        self,
        *,
        settings: Settings,
        scanner: Scanner,
        store: Store | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        resolvers: Sequence[SpanResolver] = (),
        controller: Controller | None = None,
        reporter: ModerationReporter | None = None,
    ) -> None:
        """Takes the parts.

        Args:
            settings: The settings in force.
            scanner: The rules.
            store: The local store, where there is one.
            tracer_provider: Creates the spans; the global one by default.
            meter_provider: Creates the metrics; the global one by default.
            resolvers: Asked in this order for the span of a call, before one is created.
            controller: Decides about tool calls, where something asks for it.
            reporter: Records the answers of moderators.
        """
        self.controller = controller
        self.settings = settings
        self.scanner = scanner
        self.store = store
        mode = config.content_mode(settings)
        self.content: str = "none" if mode == "findings" else mode
        self.keeps_excerpts = mode == "findings" and store is not None
        self.tracer = trace.get_tracer(semconv.SCOPE, __version__, tracer_provider, semconv.SCHEMA_URL)
        meter = otel_metrics.get_meter(semconv.SCOPE, __version__, meter_provider, semconv.SCHEMA_URL)
        self.metrics = Metrics(meter, scanner.rules)
        self.resource = getattr(tracer_provider or trace.get_tracer_provider(), "resource", None)
        self.service_name = self.resource.attributes.get("service.name") if self.resource is not None else None
        self.resolvers = resolvers
        self.seen = SeenParts()
        self.reported = ReportedFindings()
        self.speakers = FirstSpeakers()
        self.background = BackgroundWorker()
        self.reporter = reporter
        self.detectors: Detectors | None = None
        self.moderators: Moderators | None = None
        self.find_workers()
        self.identity = identity.Identity(agent_id=settings.agent_id, session_id=settings.session_id)
        self.redact: Callable[[str], str] = functools.lru_cache(maxsize=4096)(self._redact)

    @functools.cached_property
    def sign_ins(self) -> SignInWatch:
        """Returns the watch over the sign-ins that the application reports."""
        from cylestio_monitor.govern.sign_ins import SignInWatch  # noqa: PLC0415 -- few applications report any

        return SignInWatch(self.settings.authentication)

    def begin(self, call: Call, *, parent: Context | None = None, is_scanned: bool = True) -> Invocation:
        """Starts the span of a call, scans the input, and judges it.

        Args:
            call: The call that is about to happen.
            parent: The context of the parent span; the current one by default.
            is_scanned: Off for an agent's or a workflow's turn, whose content is scanned in the calls inside it.

        Raises:
            BlockedError: The call is refused; its span has ended and says so.
        """
        if not self.background.is_running:
            self.background.start()
        attributes = self._start_attributes(call)
        sink: SpanSink | None = None
        for resolver in self.resolvers if is_scanned else ():
            if resolver.is_active:
                sink = resolver.find(self, call, parent, attributes)
                if sink is not None:
                    break
        if sink is None:
            sink = self.start_span(call, parent, attributes)
        agent = enclosing_agent.get()
        if agent is not None and call.provider and call.operation in semconv.INFERENCE:
            agent.set_missing(semconv.PROVIDER_NAME, attributes.get(semconv.PROVIDER_NAME))
        invocation = Invocation(self, call, sink, attributes, is_scanned=is_scanned)
        invocation.inspect_input()
        return invocation

    def check(self, call: Call) -> None:
        """Refuses a call whose span another instrumentation makes; does nothing to one that is allowed.

        Raises:
            BlockedError: The call is refused; there is a span of ours that says so, as the other one never starts.
        """
        if self.settings.mode != "block" or not self.settings.scan.enabled:
            return
        inspection = self.new_inspection()
        inspection.call(call)
        if inspection.found is not None and decide(inspection.found.kept, self.settings).action == "block":
            call.changes = frozenset()  # nothing of ours is around the call, so that nothing of it could be replaced
            self.begin(call)

    def flush(self) -> None:
        """Ends the spans of streams that were dropped without being read."""
        self.background.drain()

    def start_span(self, call: Call, parent: Context | None, attributes: Mapping[str, AttributeValue]) -> SpanSink:
        """Starts a span of our own; one that is kept locally where the SDK does not record it."""
        name, kind, span = self.redact(call.name)[:256], _KINDS[call.kind], None
        if not otel_context.get_current().get(_SUPPRESSED):
            try:
                span = self.tracer.start_span(name, context=parent, kind=kind, attributes=dict(attributes))
                if span.is_recording():
                    return OwnSpan(span)
            except Exception:  # a sampler or a processor of the application raised: the call is still scanned
                log.debug("Could not start a span", exc_info=True)
        from cylestio_monitor.emit.local_span import LocalSpan  # noqa: PLC0415 -- only where nothing is recorded

        return LocalSpan(
            name,
            kind=kind,
            parent=parent,
            started=span,
            attributes=attributes,
            resource=self.resource,
            store=self.store,
        )

    def new_control(self, call: Call, span: Span) -> CallControl | None:
        """Creates the control of one call; `None` where nothing is controlled."""
        controller = self.controller
        if controller is None:
            return None
        is_listing = call.attributes.get(semconv.MCP_METHOD) == "tools/list"
        is_counted = controller.counts_use and call.operation in semconv.INFERENCE
        is_model_call = call.provider is not None or call.operation in semconv.INFERENCE
        is_redacted = controller.redacts and is_model_call
        if not (call.tool_name or call.tools or call.withheld or is_listing or is_counted or is_redacted):
            return None  # a model that is offered no tool asks for none
        from cylestio_monitor.govern.call_control import CallControl  # noqa: PLC0415 -- only where it is used
        from cylestio_monitor.govern.redaction.facts import OutcomeMask  # noqa: PLC0415 -- as above

        place = span.get_span_context()
        around = getattr(span, "parent", None) or trace.get_current_span().get_span_context()
        trace_id = f"{place.trace_id:032x}"
        actor = self._actor_of(call, trace_id)
        inside = f"{around.trace_id:032x}:{around.span_id:016x}"
        scanner, redaction = self.scanner, None
        if call.tool_name or is_model_call:
            redaction = controller.redaction(actor, scanner.private, scanner.open_matches)
        mask = OutcomeMask(self.redact, scanner.private)
        span_place = f"{trace_id}:{place.span_id:016x}"
        return CallControl(controller, actor, span_place, inside, mask=mask, redaction=redaction)

    def denied_tools(self, call: Call) -> list[ToolDefinition]:
        """The tools of a model call that policy denies whatever their arguments are; none in mode ``monitor``."""
        controller = self.controller
        if controller is None or controller.policy is None or not controller.enforces or not call.tools:
            return []
        actor = self._actor_of(call, "")
        return [tool for tool in call.tools if controller.denied_offer(actor, tool.name) is not None]

    def _actor_of(self, call: Call, trace_id: str) -> Actor:
        """Returns who makes a call: as the application has named it, else with the user that the request names."""
        from cylestio_monitor.govern.outcome import actor_of  # noqa: PLC0415 -- only where calls are controlled

        who = self.actor()
        actor = actor_of(who.agent_id, who.user_id, who.session_id, trace_id, who.roles)
        return actor._replace(user=call.user_id) if call.user_id and not actor.user else actor

    def find_workers(self) -> None:
        """Finds the detectors and moderators of the settings, and the moderators that the application has added."""
        moderators = sys.modules.get("cylestio_monitor.detect.moderators")
        is_moderated = bool(self.settings.moderation.use or (moderators is not None and moderators.callbacks))
        if not (self.settings.detectors.use or is_moderated):
            return
        from cylestio_monitor import detect  # noqa: PLC0415 -- few applications have detectors or moderators

        if self.settings.detectors.use:
            self.detectors = detect.start(detect.Detectors, self.settings.detectors)
        if is_moderated:
            self.moderators = detect.start(detect.Moderators, self.settings.moderation)
            self.moderators.reporter = self.reporter

    def _questions(self, span: Span | None) -> Questions | None:
        """Returns the questions of a call to detectors and moderators; `None` where there are none."""
        workers = [worker for worker in (self.detectors, self.moderators) if worker is not None]
        if not workers:
            return None
        from cylestio_monitor.inspection.questions import Questions  # noqa: PLC0415 -- as above

        return Questions(workers, self.scanner.complete_finding, span.get_span_context() if span is not None else None)

    def new_inspection(self, reported_in: int | None = None, span: Span | None = None) -> Inspection:
        """Creates the scan of one call; findings that were reported in the trace `reported_in` are left out."""
        return Inspection(
            self.scanner,
            self.seen,
            redact=self.redact,
            is_full=self.content == "full",
            keeps_excerpts=self.keeps_excerpts and reported_in is None,
            questions=self._questions(span) if reported_in is None else None,
            only_new=None if reported_in is None else functools.partial(self.reported.new, reported_in),
        )

    def recorded_unscanned(self, content: object, _: object) -> object:
        """Returns the content of a call that was not scanned as it may be recorded: every text of it is masked."""
        if self.content == "full":
            return content
        return self.scanner.mask(content) if isinstance(content, str) else self.scanner.mask_value(content)

    def actor(self) -> identity.Identity:
        """Returns the agent, session and user of the current context, or else of the settings."""
        here = identity.current_identity.get()
        return self.identity if here is identity.NOBODY else here.or_else(self.identity)

    def is_left_to_another(self) -> bool:
        """Returns whether a call in a context with suppressed instrumentation is left to the span around it."""
        active = [resolver for resolver in self.resolvers if resolver.is_active]
        if self.settings.mode == "block" or any(resolver.has_span() for resolver in active):
            return False
        return any(resolver.is_inside() for resolver in active)

    def _start_attributes(self, call: Call) -> dict[str, AttributeValue]:
        try:
            return genai.attributes(genai.at_start(call, self.actor()), self.redact)
        except Exception:  # whatever an SDK put into the call: it is scanned part by part
            log.debug("Could not read the attributes of a call", exc_info=True)
            return {}

    def _redact(self, text: str) -> str:
        """Makes a name safe that an application, a model or a server chose: no secret, no control character."""
        if _PLAIN_ID.fullmatch(text):
            return text
        return sanitize.clean_text(self.scanner.mask(sanitize.one_line(text, _LABEL_SCANNED)), _LABEL_BYTES)


def installed() -> Pipeline | None:
    """Returns the pipeline, also where instrumentation is suppressed; `None` while monitoring is off."""
    return runtime.pipeline or runtime.get_or_create()


def current() -> Pipeline | None:
    """Returns the pipeline for a call that is made here; `None` while monitoring is off or the call is our own.

    An instrumentation that has started the span of a call suppresses others below it. We create no second span there,
    but scan the call on that one. Suppression alone does not switch off the scan, nor the refusal of a call.
    """
    running: Pipeline | None = runtime.pipeline or runtime.get_or_create()
    context = otel_context.get_current()
    if running is None or not context:
        return running
    if context.get(runtime.UNMONITORED) or (context.get(_SUPPRESSED) and running.is_left_to_another()):
        return None
    return running


__all__ = ["Invocation", "Pipeline", "current", "installed"]
