"""Redaction of one call: which surfaces are changed, by which rule, and which cannot be."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cylestio_monitor.govern.policy.engine import PolicyDecision
from cylestio_monitor.govern.redaction.redactor import UNCHANGED, Redactor
from cylestio_monitor.govern.redaction.streamed import StreamedRedaction
from cylestio_monitor.govern.redaction.values import NO_KEYS
from cylestio_monitor.model import MASKED_CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.govern.facts import CallFacts
    from cylestio_monitor.govern.policy import Action, Policy, PolicyRule
    from cylestio_monitor.govern.policy.document import Surface
    from cylestio_monitor.govern.policy.question import History
    from cylestio_monitor.govern.redaction.held_text import OpenPlaces
    from cylestio_monitor.govern.redaction.redactor import Find
    from cylestio_monitor.govern.redaction.tokens import SessionTokens
    from cylestio_monitor.govern.redaction.values import ContentKeys
    from cylestio_monitor.model import Call, Finding

log = logging.getLogger(__name__)


class CallRedaction:
    """The redaction of one call.

    Attributes:
        arguments: The arguments that the tool gets; `UNCHANGED` where it gets those given.
        rule: The rule that has redacted, would have, or could not.
        refused: The surface that a rule redacts and that cannot be changed; empty where there is none.
        count: The values that were replaced.
        surfaces: The surfaces that were changed.
        pending: The rule for the prompt of a model call, which the capture module passes on.
        stream: The redaction of a streamed answer; ``None`` where the answer is whole or not redacted.
    """

    def __init__(
        self,
        policy: Policy,
        history: History,
        find: Find,
        tokens: SessionTokens,
        watch: Callable[[], OpenPlaces | None],
        *,
        enforces: bool,
    ) -> None:
        """Takes what decides and what replaces.

        Args:
            policy: The policy in force.
            history: What happened before.
            find: Finds secrets and personal data in a text.
            tokens: The tokens of the session.
            watch: Makes what follows the matches of a text that arrives in pieces; gives ``None`` where the rules in
                force do not allow it.
            enforces: Content is changed; else only the rule is recorded.
        """
        self._policy = policy
        self._history = history
        self._find = find
        self._tokens = tokens
        self._watch = watch
        self._enforces = enforces
        self._active: set[str] = set()
        self.arguments: Any = UNCHANGED
        self.rule: PolicyRule | None = None
        self.refused = ""
        self.count = 0
        self.surfaces: list[str] = []
        self.pending: PolicyRule | None = None
        self.stream: StreamedRedaction | None = None
        self._stream_rule: PolicyRule | None = None

    def restored(self, facts: CallFacts, call: Call) -> Any:
        """Returns the arguments of a tool call with the original values, where the policy gives them to the tool."""
        restored = self.asked(facts, call.arguments)
        if restored is not call.arguments and "arguments" in call.changes:
            self.arguments = restored
        return restored

    def asked(self, facts: CallFacts, arguments: Any) -> Any:
        """Returns the arguments that a model asks with as the tool will get them."""
        if not self._enforces or not self._policy.restores(facts):
            return arguments
        return Redactor(self._find, self._tokens).restored(arguments)

    def tokenised(self, value: Any) -> Any:
        """Returns a value as it passes after redaction; the value itself where it cannot be redacted."""
        try:
            return Redactor(self._find, self._tokens).value(value)
        except ValueError:
            return value

    def on_arguments(self, facts: CallFacts, fitting: tuple[str, ...], call: Call) -> None:
        """Replaces in the arguments of a tool call what a rule says.

        Args:
            facts: The facts of the call.
            fitting: Ids of the rules that fitted it.
            call: The call.
        """
        if not self._policy.restores(facts):
            rule = self._policy.redaction(facts, self._history, "arguments", fitting)
            if rule is not None:
                changed = self._changed(rule, "arguments", call.arguments, can_change="arguments" in call.changes)
                if changed is not call.arguments:
                    self.arguments = changed
        self._test_output(facts, call, "results")

    def on_prompt(self, facts: CallFacts, call: Call) -> None:
        """Notes the rule for the prompt of a model call; refuses one that cannot be changed and would have to be."""
        rule = self._policy.redaction(facts, self._history, "prompts")
        if rule is not None and "prompts" in call.changes and self._enforces:
            self.pending = rule
            self._active.add("prompts")
        elif rule is not None:
            parts = [*call.system, *(part for message in call.messages for part in message.parts)]
            self._changed(rule, "prompts", [part.content for part in parts], can_change=False)
        self._test_output(facts, call, "answers")

    def prompt(self, body: Any, keys: ContentKeys) -> Any:
        """Returns the body of a model's request as it passes on. `refused` says where it must not."""
        rule, self.pending = self.pending, None
        return body if rule is None else self._changed(rule, "prompts", body, can_change=True, keys=keys)

    def output(self, facts: CallFacts, surface: Surface, value: Any, *, can_change: bool, keys: ContentKeys) -> Any:
        """Returns what came back as it passes on. `refused` says where it must not.

        Args:
            facts: The facts of the call, with all findings.
            surface: ``answers`` or ``results``.
            value: What came back.
            can_change: Whether the capture module hands over what this returns.
            keys: The keys of the value that are no text.
        """
        rule = self._policy.redaction(facts, self._history, surface)
        return value if rule is None else self._changed(rule, surface, value, can_change=can_change, keys=keys)

    def streamed(self, keys: ContentKeys) -> StreamedRedaction | None:
        """Begins the redaction of a streamed answer; ``None`` where no rule asks for it.

        Args:
            keys: The keys of the provider's JSON that are no plain text.
        """
        if self._stream_rule is not None and self.stream is None:
            self.stream = StreamedRedaction(self._find, self._tokens, self._open_places, keys)
        return self.stream

    def on_streamed(self) -> None:
        """Takes the end of a streamed answer: what was replaced in it counts as replaced in the call."""
        rule, stream = self._stream_rule, self.stream
        if rule is not None and stream is not None and stream.count and not self.refused:
            self.rule = rule
            self.count += stream.count
            self.surfaces.append("answers")

    def refuse_stream(self) -> None:
        """Notes that a streamed answer cannot be redacted, or not any further; does nothing where none has to be."""
        if self._stream_rule is not None:
            self.rule = self._stream_rule
            self.refuse("answers")

    def is_handled(self, finding: Finding, *, is_answer: bool) -> bool:
        """Returns whether a finding is about content that is replaced on its way, so that it refuses nothing."""
        if not self._enforces or self.refused or finding.category not in MASKED_CATEGORIES:
            return False
        if finding.subtype == "tool_definition":
            return False
        if finding.subtype in {"tool_call", "tool_result"} and not is_answer and "arguments" in self._active:
            return True
        return (not is_answer and "prompts" in self._active) or (is_answer and "output" in self._active)

    def refuse(self, surface: Surface) -> None:
        """Notes that a surface that was to be changed could not be."""
        self.refused = surface
        self.count = 0

    def decision(self) -> PolicyDecision | None:
        """The decision about the call, where a rule has redacted, would have, or could not."""
        rule = self.rule
        if rule is None:
            return None
        reason = rule.reason or f"Rule {rule.id} redacts {' and '.join(self.surfaces) or 'this call'}."
        if self.refused:
            reason = f"Rule {rule.id} redacts {self.refused}, which cannot be changed here; the call is refused."
        action: Action = "deny" if self.refused else "redact"
        return PolicyDecision(action, rule.id, self._policy.version, reason)

    def _test_output(self, facts: CallFacts, call: Call, surface: Surface) -> None:
        """Refuses a call whose answer might have to be changed and can neither be changed nor held back."""
        if not self._enforces or self.refused:
            return
        rule = self._policy.may_redact(facts, surface)
        if rule is None:
            return
        can_stream = "streamed_answers" in call.changes and self._watch() is not None
        if surface in call.changes or call.withholds or can_stream:
            self._active.add("output")
            self._stream_rule = rule if can_stream else None
        else:
            self.rule, self.refused = rule, surface

    def _open_places(self) -> OpenPlaces:
        made = self._watch()
        if made is None:
            raise ValueError("the rules in force decide about a whole text only")
        return made

    def _changed(
        self, rule: PolicyRule, surface: Surface, value: Any, *, can_change: bool, keys: ContentKeys = NO_KEYS
    ) -> Any:
        redactor = Redactor(self._find, self._tokens)
        try:
            changed = redactor.value(value, keys)
        except ValueError as error:
            log.debug("A surface of a call could not be redacted", exc_info=error)
            changed, can_change = None, False
        if changed is not value:
            self.rule = rule
            if not self._enforces:
                return value
            if not can_change:
                self.refused = surface
                return value
            self.count += redactor.count
            self.surfaces.append(surface)
        self._active.add("output" if surface in {"answers", "results"} else surface)
        return changed
