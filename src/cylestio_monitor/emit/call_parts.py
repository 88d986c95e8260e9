"""The parts of the pipeline that one call uses; `Pipeline` provides them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from cylestio_monitor.background import BackgroundWorker
    from cylestio_monitor.config import Settings
    from cylestio_monitor.emit.metrics import Metrics
    from cylestio_monitor.emit.reporting import FindingStore
    from cylestio_monitor.govern.call_control import CallControl
    from cylestio_monitor.identity import Identity
    from cylestio_monitor.inspection import FirstSpeakers, Inspection, ReportedFindings
    from cylestio_monitor.model import Call
    from cylestio_monitor.scan import Scanner


class CallParts(Protocol):
    """The parts of the pipeline that one call uses.

    Attributes:
        settings: The settings in force.
        scanner: The rules.
        content: The content that is recorded: ``none``, ``masked`` or ``full``.
        metrics: Counts calls and findings.
        store: Takes severe findings at once.
        reported: The findings of recent traces.
        speakers: The first speakers of the flagged texts of recent traces.
        background: Does the work of finalisers.
        service_name: ``service.name`` of the resource.
        redact: Makes a name, an id or a path safe to record.
    """

    settings: Settings
    scanner: Scanner
    content: str
    metrics: Metrics
    reported: ReportedFindings
    speakers: FirstSpeakers
    background: BackgroundWorker
    service_name: str | None
    redact: Callable[[str], str]

    @property
    def store(self) -> FindingStore | None:
        """Takes severe findings at once."""

    def new_control(self, call: Call, span: Span) -> CallControl | None:
        """Creates the control of one call; `None` where nothing is controlled."""

    def new_inspection(self, reported_in: int | None, span: Span | None) -> Inspection:
        """Creates the scan of one call."""

    def recorded_unscanned(self, content: object, owner: object, /) -> object:
        """Returns the content of a call that was not scanned as it may be recorded."""

    def actor(self) -> Identity:
        """Returns the agent, session and user of the current context."""
