"""The answers of moderators as events of the type ``content_moderation``."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from cylestio_monitor import identity, semconv

if TYPE_CHECKING:
    from cylestio_monitor import config
    from cylestio_monitor.detect import ModerationReport
    from cylestio_monitor.otel.json_log.writer import JsonLog
    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.store import Store

log = logging.getLogger("cylestio_monitor")


class ModerationEvents:
    """Writes an event for each answer: a log record, a row of the store, a line of the JSON log."""

    def __init__(
        self, settings: config.Settings, scanner: Scanner, store: Store | None, json_log: JsonLog | None
    ) -> None:
        """Takes what the events go through.

        Args:
            settings: The settings in force.
            scanner: Masks the names that a moderator and an application have chosen.
            store: The store, where there is one.
            json_log: The JSON log, where there is one.
        """
        self._settings = settings
        self._scanner = scanner
        self._store = store
        self._json_log = json_log

    def __call__(self, report: ModerationReport) -> None:
        """Writes the event of one answer, in the context of the call. It never raises."""
        try:
            self._write(report)
        except Exception:  # the thread of the moderators goes on for all other calls
            log.debug("An answer of a moderator could not be recorded", exc_info=True)

    def _write(self, report: ModerationReport) -> None:
        from cylestio_monitor.otel.logged_events import record  # noqa: PLC0415 -- few applications have moderators

        finding, moderation, question = report.finding, report.moderation, report.question
        data: dict[str, Any] = {
            "alert": finding.alert if finding is not None else "none",
            "moderator": report.moderator,
            "verdict": moderation.verdict,
            "flagged": moderation.verdict != "allow",
            "categories": list(moderation.categories),
            "direction": question.target,
            "surface": question.subtype,
            "path": question.path,
            "length": len(question.text),
        }
        if moderation.score is not None:
            data["score"] = moderation.score
        if finding is not None:
            data[semconv.RULES] = [finding.rule_id]
        masked = self._scanner.mask_value(data)
        assert isinstance(masked, dict)
        event = record.row(
            "content_moderation",
            masked,
            channel="TOOL" if question.subtype == "tool_result" else "LLM",
            level="INFO" if moderation.verdict == "allow" else "WARNING",
            time_ns=time.time_ns(),
            agent_id=identity.current().agent_id or None,
            span=report.span,
        )
        record.emit(event, report.span)
        record.write(event, self._settings, self._store, self._json_log)
