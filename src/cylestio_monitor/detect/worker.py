"""The thread that asks the detectors, and what a call has asked of it.

A call leaves its texts in a bounded queue and goes on. What is known when it ends stands on its span; what comes later
is reported for the same span. Only where the settings ask for it does a call wait, and then no longer than the budget.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import queue
import threading
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context as otel_context

from cylestio_monitor import runtime
from cylestio_monitor.model import ALERT_OF, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cylestio_monitor import config
    from cylestio_monitor.detect.model import Detection, Detector
    from cylestio_monitor.model import Subtype, Target

    Settled = Callable[[Finding, str], "Finding | None"]

_log = logging.getLogger(__name__)
GROUP = "cylestio_detector"
_QUEUE = 256
_TAGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prompt_injection": (("LLM01:2025", "ASI01"), ("AML.T0051",)),
    "jailbreak": (("LLM01:2025",), ("AML.T0054",)),
    "system_prompt_leakage": (("LLM07:2025",), ("AML.T0056",)),
    "sensitive_data": (("LLM02:2025",), ("AML.T0057",)),
}


class _Job(NamedTuple):
    asked: Asked
    text: str
    target: Target
    subtype: Subtype
    path: str


class Asked:
    """The questions of one call: the detectors' thread adds findings, the call takes them."""

    def __init__(self, settle: Settled) -> None:
        """Nothing is asked yet.

        Args:
            settle: Completes a finding of a text; ``None`` where it is silenced.
        """
        self.settle = settle
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._pending = 0
        self._found: list[Finding] = []
        self._later: Callable[[list[Finding]], None] | None = None

    def expect(self) -> None:
        """One more answer will come."""
        with self._lock:
            self._pending += 1
            self._idle.clear()

    def answer(self, found: list[Finding]) -> None:
        """One answer has come."""
        with self._lock:
            self._pending -= 1
            later = self._later if found else None
            if later is None:
                self._found += found
            if not self._pending:
                self._idle.set()
        if later is not None:
            self._context.run(later, found)

    def take(self, timeout_s: float = 0) -> list[Finding]:
        """Returns the findings that have arrived, after a bounded wait for the others; each finding once."""
        if timeout_s:
            self._idle.wait(timeout_s)
        with self._lock:
            found, self._found = self._found, []
        return found

    def leave(self, later: Callable[[list[Finding]], None]) -> None:
        """Has what comes from now on, and what was not taken, given to `later`, in the context of the call."""
        with self._lock:
            found, self._found = self._found, []
            self._later = later
        if found:
            later(found)


class Detectors:
    """The detectors of the settings and their thread, which begins with the first text, also in a forked child.

    Attributes:
        dropped: Texts that found the queue full.
        failed: Answers that a detector owed: it raised, or took longer than its budget.
    """

    def __init__(self, settings: config.DetectorSettings) -> None:
        """Keeps the settings; nothing is loaded yet."""
        self.settings = settings
        self.dropped = 0
        self.failed = 0
        self._queue: queue.Queue[_Job] = queue.Queue(_QUEUE)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loaded: list[tuple[str, Detector]] | None = None

    def wants(self, target: Target, subtype: Subtype) -> bool:
        """Returns whether texts of this side and surface are asked about."""
        return target == "input" and subtype in self.settings.surfaces

    def asked(self, settle: Settled) -> Asked:
        """Returns the questions of one call; `settle` completes a finding, or silences it."""
        return Asked(settle)

    def ask(self, asked: Asked, text: str, *, target: Target, subtype: Subtype, path: str) -> None:
        """Leaves a text in the queue; never waits."""
        limit = self.settings.max_chars
        job = _Job(asked, text if len(text) <= limit else text[:limit], target, subtype, path)
        asked.expect()
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            self.dropped += 1
            asked.answer([])
            return
        if self._thread is None or not self._thread.is_alive():
            self._begin()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="cylestio-detectors", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        # What a detector asks a service through a monitored SDK is no call of the application.
        context = otel_context.set_value("suppress_instrumentation", True)
        otel_context.attach(otel_context.set_value(runtime.UNMONITORED, True, context))
        if self._loaded is None:
            self._loaded = load(self.settings)
        loop = asyncio.new_event_loop()
        while True:
            job = self._queue.get()
            found: list[Finding] = []
            for name, detector in self._loaded:
                try:
                    found += self._findings(name, job, self._detections(detector, job, loop))
                except Exception as error:  # noqa: BLE001 -- foreign code: whatever it raises, the others are asked
                    self.failed += 1
                    _log.debug("the detector %s has no answer: %r", name, error)
            try:
                job.asked.answer(found)
            except Exception:  # noqa: BLE001 -- the thread goes on for all other calls
                _log.debug("an answer of the detectors could not be reported", exc_info=True)

    def _detections(self, detector: Detector, job: _Job, loop: asyncio.AbstractEventLoop) -> Sequence[Detection]:
        answer: Any = detector.detect(job.text, target=job.target, subtype=job.subtype)
        if inspect.isawaitable(answer):
            answer = loop.run_until_complete(asyncio.wait_for(answer, self.settings.budget_ms / 1000))
        detections: Sequence[Detection] = answer
        return detections

    def _findings(self, name: str, job: _Job, detections: Iterable[Detection]) -> list[Finding]:
        severity = self.settings.severity
        found = []
        for detection in detections:
            if detection.score < self.settings.threshold:
                continue
            owasp, atlas = _TAGS.get(detection.category, ((), ()))
            end = len(job.text) if detection.end is None else detection.end
            finding = Finding(
                rule_id=f"classifier.{name}",
                category=detection.category,
                severity=severity,
                alert=ALERT_OF[severity],
                target=job.target,
                subtype=job.subtype,
                path=job.path,
                start=detection.start,
                end=end,
                owasp=owasp,
                atlas=atlas,
            )
            settled = job.asked.settle(finding, job.text)
            if settled is not None:
                found.append(settled)
        return found


def load(settings: config.DetectorSettings) -> list[tuple[str, Detector]]:
    """The detectors of the settings, by name; one that cannot be had is named in the log and left out."""
    found: list[tuple[str, Detector]] = []
    for name in settings.use:
        known = [entry for entry in entry_points(group=GROUP) if entry.name == name]
        if not known:
            _log.warning("No detector is called %s; the others are asked", name)
            continue
        began = time.monotonic()
        try:
            found.append((name, known[0].load()(settings)))
        except Exception as error:  # noqa: BLE001 -- foreign code: the monitoring goes on without it
            _log.warning("The detector %s cannot be used: %s", name, error)
        else:
            _log.info("The detector %s was loaded in %.1f s", name, time.monotonic() - began)
    return found


_started: dict[config.DetectorSettings, Detectors] = {}
_starting = threading.Lock()


def start(settings: config.DetectorSettings) -> Detectors | None:
    """The detectors of these settings, the same ones for the same settings; ``None`` where none is named."""
    if not settings.use:
        return None
    with _starting:
        return _started.setdefault(settings, Detectors(settings))
