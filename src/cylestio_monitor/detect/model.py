"""The interface of a detector, which an entry point of the group ``cylestio_detector`` offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cylestio_monitor import config
    from cylestio_monitor.model import Subtype, Target
    from cylestio_monitor.rules.model import Category


class Detection(NamedTuple):
    """The judgement of a detector about a text.

    Attributes:
        category: What it is, such as ``prompt_injection``.
        score: How sure the detector is, 0 to 1; below `detectors.threshold` it is no finding.
        start: First code point of the place in the text.
        end: The code point after the last; ``None`` for the end of the text.
    """

    category: Category
    score: float
    start: int = 0
    end: int | None = None


class Detector(Protocol):
    """Looks at one text at a time, in a thread of its own; what it raises costs its answer and nothing else."""

    def detect(
        self, text: str, *, target: Target, subtype: Subtype
    ) -> Sequence[Detection] | Awaitable[Sequence[Detection]]:
        """Judges a text; an awaitable is awaited for at most `detectors.budget_ms`.

        Args:
            text: The text, at most `detectors.max_chars` code points of it.
            target: The side of the call.
            subtype: The surface.
        """
        ...


Factory: TypeAlias = "Callable[[config.DetectorSettings], Detector]"
"""The factory that the entry point names. It is called once, in the thread of the detectors, and may block."""
