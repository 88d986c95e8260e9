"""Detectors: models and services that score a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import config
from cylestio_monitor.detect.worker import Question, Worker
from cylestio_monitor.model import ALERT_OF, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.detect.model import Detection, Detector
    from cylestio_monitor.model import Subtype, Target

_TAGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prompt_injection": (("LLM01:2025", "ASI01"), ("AML.T0051",)),
    "jailbreak": (("LLM01:2025",), ("AML.T0054",)),
    "system_prompt_leakage": (("LLM07:2025",), ("AML.T0056",)),
    "sensitive_data": (("LLM02:2025",), ("AML.T0057",)),
}


class Detectors(Worker[config.DetectorSettings, "Detector"]):
    """The detectors of the settings; a score from the threshold on is a finding."""

    kind = "detector"
    group = "cylestio_detector"

    def wants(self, target: Target, subtype: Subtype) -> bool:
        """Returns whether texts of this side and surface are asked about: those of the input."""
        return target == "input" and subtype in self.settings.surfaces

    def put_question(self, member: Detector, question: Question) -> Any:
        """Asks one detector."""
        return member.detect(question.text, target=question.target, subtype=question.subtype)

    def read(self, name: str, question: Question, answer: Sequence[Detection]) -> list[Finding]:
        """Returns the findings of the detections that reach the threshold."""
        severity = self.settings.severity
        found = []
        for detection in answer:
            if detection.score < self.settings.threshold:
                continue
            owasp, atlas = _TAGS.get(detection.category, ((), ()))
            finding = Finding(
                rule_id=f"classifier.{name}",
                category=detection.category,
                severity=severity,
                alert=ALERT_OF[severity],
                target=question.target,
                subtype=question.subtype,
                path=question.path,
                start=detection.start,
                end=len(question.text) if detection.end is None else detection.end,
                owasp=owasp,
                atlas=atlas,
            )
            settled = question.asked.settle(finding, question.text)
            if settled is not None:
                found.append(settled)
        return found
