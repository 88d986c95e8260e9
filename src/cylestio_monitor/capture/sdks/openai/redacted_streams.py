"""Redaction of streamed answers of the OpenAI API, on their way to the application: chunks, and response events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.capture.http_client.changed_events import alone, appended, changed, fields, number_of, redacted

if TYPE_CHECKING:
    from cylestio_monitor.capture.http_client.changed_events import Place
    from cylestio_monitor.govern.redaction.streamed import StreamedRedaction

_PIECES: Final = frozenset({"delta", "text"})
_AS_IT_IS: Final = frozenset({"index", "finish_reason"})
_INDICES: Final = ("output_index", "content_index", "summary_index", "command_index")
_LAST: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
_BINARY: Final = frozenset({"response.audio"})
_IMAGE: Final = ".partial_image"


class RedactedChunks:
    """Redacts the chunks of a chat completion or completion: the texts and arguments of each choice by themselves."""

    def __init__(self, redaction: StreamedRedaction) -> None:
        """Starts before the first chunk."""
        self._redaction = redaction
        self._last: dict[Any, dict[Place, Any]] = {}
        self._chunk: Any = None

    def passed(self, chunk: Any) -> list[Any]:
        """Returns what is handed over in place of a chunk: what was held back of a choice comes before its finish."""
        choices = getattr(chunk, "choices", None)
        if not choices:
            return [self._redaction.value(chunk)]
        self._chunk = chunk
        before: list[Any] = []
        new = [self._choice(choice, number, before) for number, choice in enumerate(choices)]
        if all(one is other for one, other in zip(new, choices, strict=True)):
            return [*before, chunk]
        return [*before, changed(chunk, {"choices": new})]

    def rest(self) -> list[Any]:
        """Returns what was held back of the choices that did not finish."""
        out: list[Any] = []
        for index in self._redaction.groups():
            out += [self._alone(index, place, text) for place, text in self._redaction.ended(index)]
        return out

    def _choice(self, choice: Any, number: int, before: list[Any]) -> Any:
        inside = fields(choice) or {}
        index = number_of(choice, number)
        changes: dict[str, Any] = {}
        for name, value in inside.items():
            if value is None or name in _AS_IT_IS:
                continue
            if name in _PIECES:
                new = redacted(self._redaction, index, value, (name,), name)
                self._remember(index, choice, value, name)
            else:
                new = self._redaction.value(value)
            if new is not value:
                changes[name] = new
        passed = changed(choice, changes)
        if inside.get("finish_reason") is None:
            return passed
        for place, text in self._redaction.ended(index):
            longer = appended(passed, place, text)
            if longer is None:
                before.append(self._alone(index, place, text))
            else:
                passed = longer
        self._last.pop(index, None)
        return passed

    def _remember(self, index: Any, choice: Any, value: Any, name: str) -> None:
        """Keeps the last choice that had a text at a place: what is held back of it takes the same form."""
        last = self._last.setdefault(index, {})
        for place in _places(value, (name,)):
            last[place] = choice

    def _alone(self, index: Any, place: Place, text: str) -> Any:
        choice = alone(self._last[index][place], place, text)
        extra = {"usage": None} if getattr(self._chunk, "usage", None) is not None else {}
        return changed(self._chunk, {**extra, "choices": [choice]})


class RedactedResponseEvents:
    """Redacts the events of a response: each text and each arguments by themselves."""

    def __init__(self, redaction: StreamedRedaction) -> None:
        """Starts before the first event."""
        self._redaction = redaction
        self._last: dict[Any, Any] = {}

    def passed(self, event: Any) -> list[Any]:
        """Returns what is handed over in place of an event: what was held back of a text comes before its end."""
        kind = str(event.type)
        name, _, phase = kind.rpartition(".")
        if phase == "delta":
            return [event if name in _BINARY else self._delta(event, name)]
        if kind.endswith(_IMAGE):
            return [event]
        out: list[Any] = []
        if kind in _LAST:
            out = self._ended(list(self._last), event)
        elif kind == "response.output_item.done":
            out = self._ended([one for one in self._last if one[1] == event.output_index], event)
        elif phase == "done":
            out = self._ended([one for one in self._last if one == _group(event, name)], event)
        return [*out, self._redaction.value(event, is_repeated=True)]

    def rest(self) -> list[Any]:
        """Returns what was held back of the texts that did not end."""
        return self._ended(list(self._last), None)

    def _delta(self, event: Any, name: str) -> Any:
        group, delta = _group(event, name), event.delta
        self._last[group] = event
        key = "arguments" if name.endswith("arguments") else "delta"
        passed = redacted(self._redaction, group, delta, ("delta",), key)
        return event if passed is delta else changed(event, {"delta": passed})

    def _ended(self, groups: list[Any], event: Any) -> list[Any]:
        """Returns what was held back of some texts, as further events with the number of the event that ends them."""
        out: list[Any] = []
        for group in groups:
            last = self._last.pop(group)
            for place, text in self._redaction.ended(group):
                changes = {"delta": alone(last.delta, place[1:], text)}
                number = getattr(event, "sequence_number", None)
                if number is not None:
                    changes["sequence_number"] = number
                out.append(changed(last, changes))
        return out


def _group(event: Any, name: str) -> tuple[Any, ...]:
    return (name, *(getattr(event, index, None) for index in _INDICES))


def _places(value: Any, place: Place) -> list[Place]:
    """The places of the texts in a value."""
    if isinstance(value, str):
        return [place] if value else []
    if isinstance(value, list):
        return [
            found for number, child in enumerate(value) for found in _places(child, (*place, number_of(child, number)))
        ]
    return [found for name, child in (fields(value) or {}).items() for found in _places(child, (*place, name))]
