"""The content of a call on its way through: what the policy redacts, or restores, is handed on in place of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn

from cylestio_monitor.emit import reporting
from cylestio_monitor.govern.redaction.redactor import UNCHANGED
from cylestio_monitor.govern.redaction.values import NO_KEYS
from cylestio_monitor.policy import stricter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.emit.call_parts import CallParts
    from cylestio_monitor.emit.span_sink import SpanSink
    from cylestio_monitor.govern.call_control import CallControl
    from cylestio_monitor.govern.policy.document import Surface
    from cylestio_monitor.govern.redaction.streamed import StreamedRedaction
    from cylestio_monitor.govern.redaction.values import ContentKeys
    from cylestio_monitor.inspection import Inspection
    from cylestio_monitor.model import Call, Part, Result, Verdict


class PassingContent:
    """The part of an invocation through which a capture module hands content on.

    Attributes:
        call: The call.
        sink: Its span, and the one who ends that.
    """

    __slots__ = ("_control", "_keys", "_passing", "_pipeline", "_verdict", "call", "sink")

    call: Call
    sink: SpanSink
    _control: CallControl | None
    _pipeline: CallParts
    _verdict: Verdict
    _passing: Any
    _keys: ContentKeys

    @property
    def arguments(self) -> Any:
        """The arguments that the tool shall get in place of those of the call; `UNCHANGED` where they pass."""
        redaction = self._control.redaction if self._control is not None else None
        return UNCHANGED if redaction is None else redaction.arguments

    def passed_prompt(self, body: Any, keys: ContentKeys) -> Any:
        """Returns the body of a model's request as it may be sent: redacted where the policy says so.

        Args:
            body: The JSON body.
            keys: The keys of it that are no text.

        Raises:
            BlockedError: It cannot be redacted; the call has ended.
        """
        if self._control is None or self._control.redaction is None:
            return body
        passed = self._control.redaction.prompt(body, keys)
        verdict = reporting.possible(self._control.verdict(), may_refuse=self.sink.can_refuse)
        self._verdict = stricter(self._verdict, verdict)
        if self._verdict.action == "block":
            self._refuse()
        return passed

    def refuse_arguments(self) -> None:
        """Ends a call whose changed arguments cannot be given to the tool.

        Raises:
            BlockedError: Always.
        """
        if self._control is not None and self._control.redaction is not None:
            self._control.redaction.refuse("arguments")
        self._deny()

    def finish_with(self, answer: Any, result: Result | None, keys: ContentKeys = NO_KEYS) -> Any:
        """Ends the call, and returns its answer as it may be handed over: redacted where the policy says so.

        Args:
            answer: What the SDK or the tool returned.
            result: The same as it was read.
            keys: The keys of the answer that are no text.

        Raises:
            BlockedError: As `end` does; or the answer cannot be redacted.
        """
        self._passing, self._keys = answer, keys
        self.end(result, enforce=True)
        return self._passing

    def streamed_redaction(self, keys: ContentKeys) -> StreamedRedaction | None:
        """Begins the redaction of a streamed answer; `None` where the policy asks for none.

        Args:
            keys: The keys of the answer that are no text.
        """
        redaction = self._control.redaction if self._control is not None else None
        return redaction.streamed(keys) if redaction is not None else None

    def refuse_stream(self) -> None:
        """Refuses the rest of a streamed answer that cannot be redacted; `end` then raises the error."""
        if self._control is not None and self._control.redaction is not None:
            self._control.redaction.refuse_stream()
            self._verdict = stricter(self._verdict, reporting.possible(self._control.verdict(), may_refuse=True))

    def _redact_output(self, control: CallControl, inspection: Inspection, result: Result | None) -> None:
        """Redacts the answer that is handed over; refuses one that would have to be redacted and is not handed over."""
        is_passed = self._passing is not UNCHANGED
        value = self._passing if is_passed else result
        surface: Surface = "results" if self.call.tool_name else "answers"
        can_change = is_passed and surface in self.call.changes
        passed = control.on_output(self.call, value, inspection, self._keys, can_change=can_change)
        if is_passed:
            self._passing = passed
        self._verdict = stricter(self._verdict, reporting.possible(control.verdict(), may_refuse=True))

    @abstractmethod
    def end(self, result: Result | None = None, error: BaseException | None = None, *, enforce: bool = False) -> None:
        """Ends the call."""

    @abstractmethod
    def _refuse(self) -> NoReturn:
        """Ends the call, and raises the error of its verdict."""

    @abstractmethod
    def _deny(self, rule: str = "") -> NoReturn:
        """Ends the call as a refused one, and raises the error; the reason is a rule, or else that of the verdict."""

    def _control_input(self, control: CallControl, inspection: Inspection) -> None:
        """Lets control hear the call, and decide about it where it is a tool call."""
        place, mask = self.sink.span.get_span_context(), self._pipeline.scanner.mask_value
        verdict = control.on_input(self.call, inspection, mask, f"{place.trace_id:032x}", f"{place.span_id:016x}")
        self._verdict = stricter(self._verdict, reporting.possible(verdict, may_refuse=self.sink.can_refuse))

    def _control_parts(self, inspection: Inspection, parts: Iterable[Part]) -> None:
        """Lets control decide about the tool calls of an answer, each once."""
        if self._control is not None:
            verdict = self._control.on_parts(parts, inspection)
            self._verdict = stricter(self._verdict, reporting.possible(verdict, may_refuse=self.sink.can_refuse))
