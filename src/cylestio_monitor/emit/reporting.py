"""Findings become a verdict, and are reported: as metrics, in the store, and as the error of a refused call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from opentelemetry.trace import Status, StatusCode

from cylestio_monitor import sanitize, semconv
from cylestio_monitor.errors import BlockedError, RateLimitedError
from cylestio_monitor.model import INCOMPLETE, MODERATOR, SEVERITY_NUMBER, Verdict
from cylestio_monitor.policy import ALLOW, decide, top

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.trace import SpanContext

    from cylestio_monitor.config import Settings
    from cylestio_monitor.emit.metrics import Metrics
    from cylestio_monitor.govern.limits import Exceeded as ExceededLimit
    from cylestio_monitor.identity import Identity
    from cylestio_monitor.model import AttributeValue, Call, Finding, RecordedText

_URGENT = SEVERITY_NUMBER["high"]
_ERROR_TEXT_BYTES = 1024
_ERROR_TEXT_SCANNED = 65_536


class PendingFindings(Protocol):
    """Findings that were handed to the store; `store.PendingWrite` is one."""

    def wait(self, timeout_s: float) -> bool:
        """Blocks until they are on disk."""

    async def wait_async(self, timeout_s: float) -> bool:
        """Does the same without blocking the event loop."""


class FindingStore(Protocol):
    """The part of the store that takes findings."""

    def add_findings(
        self,
        trace_id: int,
        span_id: int,
        findings: Sequence[Finding],
        *,
        agent_id: str | None,
        session_id: str | None,
        service_name: str | None,
        action: str | None,
        operation: str | None,
        model: str | None,
        tool: str | None,
        user_id: str | None,
    ) -> PendingFindings:
        """Queues findings of a span that has not ended."""

    def add_open_call(self, span: Any, findings: Sequence[Finding], action: str) -> PendingFindings:
        """Queues the row of a call that has not ended; its span replaces the row."""

    def add_texts(self, trace_id: int, span_id: int, texts: Sequence[RecordedText]) -> None:
        """Queues the places of texts in the content that a span records."""

    def add_barrier(self) -> PendingFindings:
        """Queues nothing: it is durable when everything queued so far is."""


class CallOrigin(NamedTuple):
    """The call that findings belong to.

    Attributes:
        call: The call.
        attributes: Its span attributes, redacted.
        span: Its span.
        actor: The agent, session and user.
        service_name: ``service.name`` of the resource.
    """

    call: Call
    attributes: Mapping[str, AttributeValue]
    span: SpanContext
    actor: Identity
    service_name: str | None


def is_urgent(found: Sequence[Finding]) -> bool:
    """Returns whether one of the findings must be on disk before the application goes on."""
    return any(SEVERITY_NUMBER[finding.severity] >= _URGENT for finding in found)


def can_be_refused(found: Sequence[Finding]) -> list[Finding]:
    """Returns the findings of an answer whose effect can still be prevented.

    These are its tool calls, what was not read, and what a moderator says of an answer that nobody has seen yet.
    """
    return [
        finding
        for finding in found
        if finding.subtype == "tool_call" or finding.rule_id == INCOMPLETE or finding.rule_id.startswith(MODERATOR)
    ]


def judge(found: Sequence[Finding], settings: Settings, *, is_answer: bool, may_refuse: bool) -> Verdict:
    """Decides about findings.

    Args:
        found: Findings of one side of a call.
        settings: The settings in force.
        is_answer: The findings are of the answer: only the tool calls that it asks for can be refused.
        may_refuse: The caller raises the error if the action is ``block``.
    """
    verdict = decide(found, settings)
    if verdict.action != "block":
        return verdict
    if may_refuse and is_answer:
        refused = decide(can_be_refused(found), settings)
        if refused.action == "block":
            return refused
    elif may_refuse:
        return verdict
    return Verdict(verdict.decision, "audit", verdict.reason)


def warned(found: Sequence[Finding]) -> Verdict:
    """Returns the verdict of findings whose content is replaced on its way: they refuse nothing."""
    worst = top(found)
    return Verdict("warn", "audit", worst.rule_id if worst is not None else "")


def report(
    found: Sequence[Finding],
    tally: Mapping[tuple[str, str, str], int],
    verdict: Verdict,
    origin: CallOrigin,
    *,
    metrics: Metrics,
    store: FindingStore | None,
    is_late: bool,
) -> PendingFindings | None:
    """Counts findings, and hands those to the store that need it at once; the others go there with their span.

    Severe and late findings are handed over, and those with an excerpt: a span does not have it, as spans are exported.

    Args:
        found: The findings that are kept.
        tally: The number of all by rule, category and severity.
        verdict: The decision about them.
        origin: Their call.
        metrics: Counts them.
        store: Takes them.
        is_late: The span has ended.

    Returns:
        What to wait for, where they are severe or late.
    """
    call, labels = origin.call, origin.attributes
    tool, model = _text(labels, semconv.TOOL_NAME), _text(labels, semconv.REQUEST_MODEL)
    metrics.findings(tally, action=verdict.action, operation=call.operation, tool=tool)
    if store is None or not found:
        return None
    is_awaited = is_late or is_urgent(found)
    if not is_awaited and not any(finding.excerpt for finding in found):
        return None
    pending = store.add_findings(
        origin.span.trace_id,
        origin.span.span_id,
        found,
        agent_id=origin.actor.agent_id,
        session_id=origin.actor.session_id,
        service_name=origin.service_name,
        action=verdict.action,
        operation=call.operation,
        model=model,
        tool=tool,
        user_id=_text(labels, semconv.ENDUSER_ID),
    )
    return pending if is_awaited else None


def possible(verdict: Verdict | None, *, may_refuse: bool) -> Verdict:
    """Returns a verdict of control as it can be carried out: a call that has happened is not refused."""
    if verdict is None:
        return ALLOW
    return verdict if may_refuse or verdict.action != "block" else Verdict(verdict.decision, "audit", verdict.reason)


def blocked_error(
    subject: str,
    found: Sequence[Finding],
    verdict: Verdict,
    tool: str | None,
    exceeded: ExceededLimit | None = None,
) -> BlockedError:
    """Returns the error of a refused call; its text names rule and place, never the matched text.

    Args:
        subject: ``call`` or ``answer``.
        found: All findings of the call; their paths are redacted.
        verdict: The decision.
        tool: The redacted name of the tool, for a tool call.
        exceeded: The limit that is used up, if that is the reason.
    """
    if exceeded is not None:
        name, seconds = sanitize.one_line(exceeded.limit.name, 64), exceeded.retry_after
        text = f"Cylestio blocked this {subject}: limit {name} is used up, try again in {seconds:.0f} s"
        return RateLimitedError(text, found, retry_after=seconds)
    of_tool = f" of tool {sanitize.one_line(tool, 64)}" if tool else ""
    ranked = sorted(found, key=lambda finding: -SEVERITY_NUMBER[finding.severity])
    findings = [replace(finding, excerpt="") if finding.excerpt else finding for finding in ranked]
    path = next((finding.path for finding in findings if finding.rule_id == verdict.reason), "")
    place = f" at {sanitize.one_line(path, 256)}" if path else ""
    return BlockedError(f"Cylestio blocked this {subject}{of_tool}: rule {verdict.reason}{place}", findings)


def error_status(error: BaseException | None, kind: str, mask: Callable[[str], str] | None) -> Status:
    """Returns the status of a failed call.

    Args:
        error: The exception; `None` for a failure that the answer reports.
        kind: ``error.type``.
        mask: Masks secrets and personal data; `None` where no content is recorded: an error often quotes it.
    """
    if error is None:
        return Status(StatusCode.ERROR)
    if isinstance(error, BlockedError):
        return Status(StatusCode.ERROR, str(error))
    if not isinstance(error, Exception):  # a cancelled task, an interrupt, an exit: stopped, not failed
        return Status(StatusCode.ERROR, "cancelled")
    if mask is None:
        return Status(StatusCode.ERROR, kind)
    text = mask(sanitize.clean_text(error, _ERROR_TEXT_SCANNED))
    return Status(StatusCode.ERROR, sanitize.clean_text(text, _ERROR_TEXT_BYTES))


def _text(attributes: Mapping[str, AttributeValue], name: str) -> str | None:
    value = attributes.get(name)
    return value if isinstance(value, str) else None
