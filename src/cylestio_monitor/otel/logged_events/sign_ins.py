"""The findings of sign-ins: in the event that completes them, on its span, in the metric and in the store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from cylestio_monitor import identity, semconv
from cylestio_monitor.emit import genai, security
from cylestio_monitor.model import ALERTS
from cylestio_monitor.policy import top

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

    from cylestio_monitor.model import Finding
    from cylestio_monitor.pipeline import Pipeline
    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.store import Event, Store


class RunningParts(Protocol):
    """The parts of a running set-up that findings pass through."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""

    @property
    def scanner(self) -> Scanner:
        """The scanner."""

    @property
    def store(self) -> Store | None:
        """The store, where there is one."""


class SignInFindings:
    """The findings that one event completes.

    Attributes:
        found: The findings that are not silenced.
    """

    def __init__(self, running: RunningParts, data: Mapping[str, Any], now_ns: int) -> None:
        """Observes an event.

        Args:
            running: The running set-up.
            data: The data of the event, unmasked: two names that are masked alike are still two users.
            now_ns: Its time, in ns since the epoch.
        """
        self._running = running
        self.found: list[Finding] = []
        self._user: str | None = None
        for finding, subject, user in running.pipeline.sign_ins.observe(data, now_ns):
            completed = running.scanner.complete_finding(finding, subject)
            if completed is not None:
                self.found.append(completed)
                self._user = user

    def flagged(self, data: dict[str, Any]) -> dict[str, Any]:
        """Returns the data of the event with its rules, and with their alert where it is the higher one."""
        worst = top(self.found)
        if worst is None:
            return data
        rules = sorted({finding.rule_id for finding in self.found})
        given = data.get("alert")
        is_higher = given not in ALERTS or ALERTS.index(worst.alert) > ALERTS.index(given)
        return {**data, "alert": worst.alert if is_higher else given, semconv.RULES: rules}

    def report(self, event: Event, span: Span | None = None) -> None:
        """Counts and stores the findings, and adds them to the span.

        Args:
            event: The event.
            span: The current span.
        """
        if not self.found:
            return
        pipeline = self._running.pipeline
        if span is not None and span.is_recording():
            for finding in self.found:
                span.add_event(semconv.EVENT_FINDING, genai.attributes(security.event(finding)))
        tally: Counter[tuple[str, str, str]] = Counter()
        for finding in self.found:
            tally[finding.rule_id, finding.category, finding.severity] += 1
        pipeline.metrics.findings(tally, action="audit", operation="", tool=None)
        if self._running.store is not None:
            self._running.store.add_findings(
                int(event.trace_id or "0", 16),
                int(event.span_id or "0", 16),
                self.found,
                agent_id=event.agent_id or pipeline.settings.agent_id,
                session_id=identity.current().session_id,
                service_name=pipeline.service_name,
                action="audit",
                user_id=pipeline.redact(self._user) if self._user else None,
            )
