"""Redaction of the events of a streamed message, on their way to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.http_client.changed_events import changed, fields

if TYPE_CHECKING:
    from cylestio_monitor.govern.redaction.streamed import StreamedRedaction


class RedactedMessageEvents:
    """Redacts the texts, the thinking and the arguments of each content block by themselves."""

    def __init__(self, redaction: StreamedRedaction) -> None:
        """Starts before the first event."""
        self._redaction = redaction
        self._last: dict[Any, dict[str, Any]] = {}

    def passed(self, event: Any) -> list[Any]:
        """Returns what is handed over in place of an event: what was held back of a block comes before its end.

        Raises:
            ValueError: The event cannot be redacted.
        """
        kind = event.type
        if kind == "content_block_delta":
            return [self._delta(event)]
        out: list[Any] = []
        if kind == "content_block_stop":
            out = self._ended(event.index)
        elif kind in {"message_delta", "message_stop"}:
            out = self.rest()
        elif kind == "content_block_start":
            self._ended(event.index)
        elif str(kind).endswith("_delta"):
            raise ValueError("an event with a piece of something unknown")
        return [*out, self._redaction.value(event)]

    def rest(self) -> list[Any]:
        """Returns what was held back of the blocks that did not end."""
        return [event for index in list(self._last) for event in self._ended(index)]

    def _delta(self, event: Any) -> Any:
        delta, index = event.delta, event.index
        kind = str(delta.type)
        changes: dict[str, Any] = {}
        for name, value in (fields(delta) or {}).items():
            if isinstance(value, str):
                new: Any = self._redaction.piece(index, (kind, name), value, name)
            else:
                new = self._redaction.value(value)
            if new is not value and new != value:
                changes[name] = new
        self._last.setdefault(index, {})[kind] = event
        return changed(event, {"delta": changed(delta, changes)}) if changes else event

    def _ended(self, index: Any) -> list[Any]:
        """Returns what was held back of a block, as further events of it."""
        last = self._last.pop(index, {})
        out: list[Any] = []
        for (kind, name), text in self._redaction.ended(index):
            event = last[str(kind)]
            texts = {field for field, value in (fields(event.delta) or {}).items() if isinstance(value, str)}
            others = dict.fromkeys(texts - {name} - self._redaction.keys.fixed, "")
            out.append(changed(event, {"delta": changed(event.delta, {**others, str(name): text})}))
        return out
