"""The interfaces of detectors and moderators, which entry points offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

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
"""The factory that an entry point of the group ``cylestio_detector`` names.

It is called once, in the thread of the detectors, and may block.
"""


class Moderation(NamedTuple):
    """The judgement of a moderator about a text.

    Attributes:
        verdict: ``allow``; ``warn`` for a finding of medium severity; ``deny`` for one of high severity.
        categories: The moderator's own names of what it found, such as ``violence``.
        score: How sure it is, 0 to 1, where it says so.
        start: First code point of the place in the text.
        end: The code point after the last; ``None`` for the end of the text.
    """

    verdict: Literal["allow", "warn", "deny"] = "allow"
    categories: tuple[str, ...] = ()
    score: float | None = None
    start: int = 0
    end: int | None = None


class Moderator(Protocol):
    """Judges one text at a time, in a thread of its own; what it raises costs its answer and nothing else."""

    def __call__(
        self, text: str, *, target: Target, subtype: Subtype
    ) -> Moderation | Awaitable[Moderation | None] | None:
        """Judges a text; an awaitable is awaited for at most `moderation.budget_ms`.

        Args:
            text: The text, at most `moderation.max_chars` code points of it.
            target: The side of the call.
            subtype: The surface.

        Returns:
            The judgement; ``None`` where it has nothing to say about such texts.
        """
        ...


ModeratorFactory: TypeAlias = "Callable[[config.ModerationSettings], Moderator]"
"""The factory that an entry point of the group ``cylestio_moderator`` names. Called as `Factory` is."""
