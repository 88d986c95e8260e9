"""The text of a streamed answer, scanned while it arrives."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cylestio_monitor.model import INCOMPLETE, MASKED_CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cylestio_monitor.model import Finding
    from cylestio_monitor.scan import TextStream
    from cylestio_monitor.scan.prompt_leak import PromptLeakStream

log = logging.getLogger(__name__)

_STEP = 4096  # characters: streamed text is scanned in steps, as a scan has a fixed cost and a chunk is a few letters


class StreamedText:
    """The text of one part of an answer as it arrives: kept whole, and scanned in steps, across their borders."""

    __slots__ = ("_failed", "_leaks", "_left", "_masked", "_on_found", "_report", "_stream", "_taken", "pieces")

    def __init__(
        self,
        stream: TextStream | None,
        leaks: PromptLeakStream | None,
        report: Callable[[list[Finding]], None],
        on_found: Callable[[], None],
    ) -> None:
        """Starts empty; `Invocation.streamed` creates it.

        Args:
            stream: Scans the text; `None` where the scan is off.
            leaks: Looks for the system prompt in the text.
            report: Takes the findings.
            on_found: Called after findings were reported.
        """
        self._stream = stream
        self._leaks = leaks
        self._report = report
        self._on_found = on_found
        self._masked = False
        self._failed = False
        self._left = _STEP
        self._taken = 0
        self.pieces: list[str] = []

    @classmethod
    def unscanned(cls) -> StreamedText:
        """Returns one that only keeps the text."""
        return cls(None, None, lambda _: None, lambda: None)

    def text(self) -> str:
        """Returns the text so far."""
        return "".join(self.pieces)

    def add(self, piece: str) -> None:
        """Takes the next piece."""
        self.pieces.append(piece)
        self._left -= len(piece)
        if self._left <= 0 and self._stream is not None:
            text = self._waiting()
            try:
                self._take([*self._stream.feed(text), *(self._leaks.feed(text) if self._leaks is not None else ())])
            except Exception:  # the whole text is scanned again at the end of the answer
                log.debug("A piece of a streamed answer could not be scanned", exc_info=True)
                self._failed = True

    def finish(self) -> bool | None:
        """Scans the rest, and the whole for matches that only the whole text shows.

        Returns:
            Whether the text must be masked; `None` where its scan failed.
        """
        if self._stream is None:
            return None
        try:
            text = self._waiting()
            leaked = [*self._leaks.feed(text), *self._leaks.finish()] if self._leaks is not None else ()
            self._take([*self._stream.finish(text), *leaked])
        except Exception:  # as of a piece
            log.debug("A streamed answer could not be scanned", exc_info=True)
            return None
        return None if self._failed else self._masked

    def _waiting(self) -> str:
        """Returns the pieces that were not scanned yet, as one text."""
        text = "".join(self.pieces[self._taken :])
        self._taken, self._left = len(self.pieces), _STEP
        return text

    def _take(self, found: list[Finding]) -> None:
        if found:
            self._masked = self._masked or needs_mask(found)
            self._report(found)
            self._on_found()


def needs_mask(found: Iterable[Finding]) -> bool:
    """Returns whether a text with these findings may be recorded only in part."""
    return any(finding.category in MASKED_CATEGORIES or finding.rule_id == INCOMPLETE for finding in found)
