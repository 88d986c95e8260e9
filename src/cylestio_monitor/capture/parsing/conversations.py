"""Finds the conversation of an answer, where each request only names the answer before it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cylestio_monitor import identity, semconv

if TYPE_CHECKING:
    from cylestio_monitor.model import Call, Result

_MAX_ANSWERS = 4096


class Conversations:
    """A conversation has the id of its first answer, as far back as this process has seen it."""

    def __init__(self) -> None:
        """Knows none; the last few thousand answers are remembered."""
        self._first: OrderedDict[str, str] = OrderedDict()

    def of(self, answer_id: str | None) -> str | None:
        """The conversation that an answer belongs to."""
        return self._first.get(answer_id, answer_id) if answer_id else None

    def add(self, result: Result, call: Call) -> None:
        """Takes the answer into the conversation of its call, or lets it be the first of one."""
        if result.response_id is None:
            return
        self._first[result.response_id] = call.conversation_id or result.response_id
        if len(self._first) > _MAX_ANSWERS:
            self._first.popitem(last=False)
        if call.conversation_id is None and identity.current().conversation_id is None:
            result.attributes[semconv.CONVERSATION_ID] = result.response_id
