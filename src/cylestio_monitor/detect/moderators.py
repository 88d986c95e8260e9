"""Moderators: services, models and functions that judge a text; every answer is an event, a bad one a finding."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from cylestio_monitor import config, sanitize
from cylestio_monitor.detect.model import Moderation
from cylestio_monitor.detect.worker import Question, Worker
from cylestio_monitor.model import ALERT_OF, MODERATOR, Finding

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from cylestio_monitor.detect.model import Moderator
    from cylestio_monitor.model import Severity, Subtype, Target

_SEVERITIES: Final[dict[str, Severity]] = {"allow": "none", "warn": "medium", "deny": "high"}
_MAX_CATEGORIES: Final = 16
_CATEGORY_BYTES: Final = 64

callbacks: list[tuple[str, Moderator]] = []
"""Functions of the application that moderate, by name; `api.on_moderation` adds one."""


class ModerationReport(NamedTuple):
    """One answer of a moderator.

    Attributes:
        moderator: Its name.
        moderation: The answer, its categories cleaned.
        finding: The finding that it makes; ``None`` for a verdict of ``allow``, and where it is silenced.
        question: The text that was asked about.
        span: The span of the call.
    """

    moderator: str
    moderation: Moderation
    finding: Finding | None
    question: Question
    span: SpanContext


Reporter: TypeAlias = Callable[[ModerationReport], None]


class Moderators(Worker[config.ModerationSettings, "Moderator"]):
    """The moderators of the settings and of the application.

    Attributes:
        reporter: Records each answer about a call that has a span.
    """

    kind = "moderator"
    group = "cylestio_moderator"
    reporter: Reporter | None = None

    def wants(self, target: Target, subtype: Subtype) -> bool:
        """Returns whether texts of this side and surface are asked about."""
        return target in self.settings.sides and subtype in self.settings.surfaces

    def members(self) -> list[tuple[str, Moderator]]:
        """Returns the moderators of the settings and those that the application has added so far."""
        return [*super().members(), *callbacks]

    def put_question(self, member: Moderator, question: Question) -> Any:
        """Asks one moderator."""
        return member(question.text, target=question.target, subtype=question.subtype)

    def read(self, name: str, question: Question, answer: object) -> list[Finding]:
        """Returns the finding of a verdict of ``warn`` or ``deny``, and has the answer recorded.

        Raises:
            TypeError: The answer is no `Moderation`.
            ValueError: Its verdict is none.
        """
        if answer is None:  # it has nothing to say about such texts
            return []
        moderation = _checked(answer)
        finding = _finding(name, moderation, question)
        if finding is not None:
            finding = question.asked.settle(finding, question.text)
        if self.reporter is not None and question.asked.span is not None:
            report = ModerationReport(name, moderation, finding, question, question.asked.span)
            question.asked.run(functools.partial(self.reporter, report))
        return [] if finding is None else [finding]


def _checked(answer: object) -> Moderation:
    if not isinstance(answer, Moderation):
        raise TypeError(f"the answer is no Moderation: {type(answer).__name__}")
    if answer.verdict not in _SEVERITIES:
        raise ValueError("the verdict is none of allow, warn, deny")
    given: object = answer.categories
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError("the categories are no list")
    categories = [sanitize.one_line(one, _CATEGORY_BYTES) for one in given[:_MAX_CATEGORIES]]
    score = answer.score
    if score is not None and not (isinstance(score, (int, float)) and math.isfinite(score)):
        score = None
    return answer._replace(categories=tuple(categories), score=score)


def _finding(name: str, moderation: Moderation, question: Question) -> Finding | None:
    severity = _SEVERITIES[moderation.verdict]
    if severity == "none":
        return None
    length = len(question.text)
    end = length if moderation.end is None else moderation.end
    return Finding(
        rule_id=f"{MODERATOR}{name}",
        category="moderation",
        severity=severity,
        alert=ALERT_OF[severity],
        target=question.target,
        subtype=question.subtype,
        path=question.path,
        start=max(0, min(moderation.start, length)),
        end=max(0, min(end, length)),
        reason=", ".join(moderation.categories),
    )
