"""The questions of one call to detectors and moderators, and their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor.model import incomplete
from cylestio_monitor.scan.walk import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import SpanContext

    from cylestio_monitor.detect import Asked, Detectors, Moderators
    from cylestio_monitor.model import Finding, Subtype, Target


class Questions:
    """The questions of one call, to each worker that wants its texts."""

    __slots__ = ("_asked", "_deferred", "_settle", "_span", "_was_incomplete", "_workers", "is_streamed")

    def __init__(
        self,
        workers: Sequence[Detectors | Moderators],
        settle: Callable[[Finding, str], Finding | None],
        span: SpanContext | None,
    ) -> None:
        """Asks nothing yet.

        Args:
            workers: The detectors and the moderators.
            settle: Completes a finding of a text; ``None`` where it is silenced.
            span: The span of the call, where it has one.
        """
        self._workers = workers
        self._settle = settle
        self._span = span
        self._asked: dict[int, Asked] = {}
        self._was_incomplete = False
        self._deferred: list[tuple[str, Target, Subtype, str]] = []
        self.is_streamed = False
        """The application has parts of the answer already: what is said about it comes too late to refuse it."""

    def ask(self, content: object, target: Target, subtype: Subtype, path: str) -> None:
        """Passes a text to the workers that want it; that of a streamed answer after the call."""
        if not any(worker.wants(target, subtype) for worker in self._workers):
            return
        text = content if isinstance(content, str) else "\n".join(leaf.text for leaf in leaves(content))
        if not text.strip():
            return
        if self.is_streamed and target == "output":
            self._deferred.append((text, target, subtype, path))
        else:
            self._put(text, target, subtype, path)

    def take(self, target: Target) -> list[Finding]:
        """Takes the answers that have come, and waits for them where the settings say so.

        Args:
            target: The side of the call that was asked about last.
        """
        found: list[Finding] = []
        for number, asked in self._asked.items():
            settings = self._workers[number].settings
            found += asked.take(settings.budget_ms / 1000 if settings.wait else 0)
            is_required = settings.wait and getattr(settings, "required", False)
            if is_required and not asked.is_complete and not self._was_incomplete:
                self._was_incomplete = True
                found.append(incomplete("moderation", target=target, subtype="llm", path="moderation"))
        return found

    def leave(self, later: Callable[[list[Finding]], None]) -> None:
        """Has the answers that come from now on given to `later`, in the context of the call."""
        for text, target, subtype, path in self._deferred:
            self._put(text, target, subtype, path)
        self._deferred.clear()
        for asked in self._asked.values():
            asked.leave(later)

    def _put(self, text: str, target: Target, subtype: Subtype, path: str) -> None:
        for number, worker in enumerate(self._workers):
            if worker.wants(target, subtype):
                asked = self._asked.get(number)
                if asked is None:
                    from cylestio_monitor.detect import Asked  # noqa: PLC0415 -- only where somebody is asked

                    asked = self._asked[number] = Asked(self._settle, self._span)
                worker.ask(asked, text, target=target, subtype=subtype, path=path)
