"""Control of one call on its way through the pipeline: what it says is heard, its tool calls are decided."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.govern.approvals.held_call import HeldCall
from cylestio_monitor.govern.arguments import ARGUMENTS_RULE
from cylestio_monitor.govern.collector import kept
from cylestio_monitor.govern.controller import LIMIT_RULE
from cylestio_monitor.govern.facts import finding_facts
from cylestio_monitor.govern.heard import hear_call, hear_result, take_definitions, thread_of
from cylestio_monitor.govern.outcome import Actor, ControlOutcome
from cylestio_monitor.govern.policy.document import STRICTNESS
from cylestio_monitor.govern.redaction.redactor import UNCHANGED
from cylestio_monitor.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from cylestio_monitor.govern.approvals import ApprovalRequest
    from cylestio_monitor.govern.collector import FindingCollector
    from cylestio_monitor.govern.controller import Controller
    from cylestio_monitor.govern.facts import CallFacts
    from cylestio_monitor.govern.limits import Exceeded
    from cylestio_monitor.govern.policy import PolicyDecision
    from cylestio_monitor.govern.redaction.call_redaction import CallRedaction
    from cylestio_monitor.govern.redaction.facts import OutcomeMask
    from cylestio_monitor.govern.redaction.values import ContentKeys
    from cylestio_monitor.model import (
        AttributeValue,
        Call,
        Finding,
        Part,
        Result,
        ToolDefinition,
        Usage,
    )


class CallControl:
    """The state of control for one call.

    Attributes:
        outcome: The outcome that counts for the span: the strictest of its tool calls.
        held: The approval that the call waits for.
        redaction: The redaction of the call; ``None`` where the policy redacts nothing.
    """

    __slots__ = (
        "_actor",
        "_arguments",
        "_asked",
        "_changed",
        "_controller",
        "_cost",
        "_exceeded",
        "_inside",
        "_is_invalid",
        "_judged",
        "_mask",
        "_model",
        "_outcome_mask",
        "_schemas",
        "_span",
        "held",
        "outcome",
        "redaction",
    )

    def __init__(
        self,
        controller: Controller,
        actor: Actor,
        span: str,
        inside: str,
        *,
        mask: OutcomeMask,
        redaction: CallRedaction | None = None,
    ) -> None:
        """Takes the call.

        Args:
            controller: Decides.
            actor: Who makes the call.
            span: Trace and span id, as ``trace:span``.
            inside: Trace and span id of the span around it.
            mask: Masks what is recorded of the outcome.
            redaction: Redacts what passes, where the policy redacts anything.
        """
        self.redaction = redaction
        self._outcome_mask = mask
        self._controller = controller
        self._actor = actor
        self._span = span
        self._inside = inside
        self.outcome: ControlOutcome | None = None
        self.held = HeldCall()
        self._judged: set[str] = set()
        self._asked: list[tuple[ControlOutcome, object]] = []
        self._model = ""
        self._schemas: dict[str, object] = {}
        self._exceeded: Exceeded | None = None
        self._cost, self._is_invalid = 0.0, False
        self._changed: list[str] = []
        self._mask: Callable[[Any], Any] = lambda value: value

    @property
    def is_streamed(self) -> bool:
        """The answer is redacted piece by piece."""
        return self.redaction is not None and self.redaction.stream is not None

    @property
    def exceeded(self) -> Exceeded | None:
        """The limit that is used up."""
        return self._exceeded or (self.outcome.exceeded if self.outcome is not None else None)

    def on_input(
        self, call: Call, collector: FindingCollector, mask: Callable[[Any], Any], trace: str, span: str
    ) -> Verdict | None:
        """Hears a model call, or decides about a tool call that is about to run.

        Args:
            call: The call.
            collector: What the scanner found; takes the findings of control.
            mask: Masks secrets and personal data in a value.
            trace: Trace id, 32 hexadecimal digits.
            span: Span id, 16 hexadecimal digits.
        """
        self._mask = mask
        try:
            if not call.tool_name:
                self._model = call.model or ""
                self._schemas = {tool.name: tool.parameters for tool in call.tools}
                if call.tools or call.withheld:
                    self._hear(call, kept(collector))
                    self._take(call.tools, call, collector)
                if call.required_tool:
                    self.outcome = self._controller.denied_offer(self._actor, call.required_tool)
                self._test_use(collector)
                if self.redaction is not None:
                    self.redaction.on_prompt(self._facts(call, collector), call)
                return self.verdict()
            collector.add(self._judge_run(call, kept(collector)))
            if self.outcome is not None and self._is_held(self.outcome):
                asked, control = self._outcome_mask.recorded(self.outcome), self._controller
                now = partial(control.digest_with, self.outcome, self._actor, self._arguments)
                self.held.hold(asked, mask(call.arguments), trace, span, control.approval_s, now)
        except Exception as error:  # noqa: BLE001 -- a call that could not be judged must not pass as one that was
            collector.add_incomplete(error, "output", "tool_call", "arguments")
        return self.verdict()

    def on_parts(self, parts: Iterable[Part], collector: FindingCollector) -> Verdict | None:
        """Decides about the tool calls that an answer asks for, each once.

        Args:
            parts: Parts of the answer.
            collector: What the scanner found; takes the findings of control.
        """
        for part in parts:
            if part.type != "tool_call" or not part.name or part.path in self._judged:
                continue
            self._judged.add(part.path)
            try:
                collector.add(self._judge_asked(part, kept(collector)))
            except Exception as error:  # noqa: BLE001 -- as of the input
                collector.add_incomplete(error, "output", "tool_call", part.path)
        return self.verdict()

    def on_result(self, call: Call, result: Result, collector: FindingCollector, *, is_new: bool) -> None:
        """Hears what a tool returned, which makes its span that of the values; counts what a model used.

        Args:
            call: The call.
            result: Its answer.
            collector: What the scanner found; takes the findings of control.
            is_new: Off where the same call is counted elsewhere: a framework's call around that of an SDK.
        """
        if result.usage is not None and not call.tool_name and is_new:
            self._record_use(result.usage, collector)
        if result.tools:
            self._take(result.tools, call, collector)
        if call.tool_name and result.response is not None:
            conversation = self._controller.conversation(self._actor)
            if conversation is not None:
                hear_result(conversation, call.tool_name, result.response, self._span, kept(collector))

    def on_output(
        self, call: Call, value: Any, collector: FindingCollector, keys: ContentKeys, *, can_change: bool
    ) -> Any:
        """Returns what came back as it may be handed over; `verdict` says where it must not be.

        Args:
            call: The call.
            value: The answer of a model, or the result of a tool.
            collector: What the scanner found.
            keys: The keys of the value that are no text.
            can_change: Whether what this returns is handed over in place of the value.
        """
        redaction = self.redaction
        if redaction is None:
            return value
        if redaction.stream is not None:
            redaction.on_streamed()
            return value
        facts = self._facts(call, collector)
        passed = redaction.output(
            facts, "results" if call.tool_name else "answers", value, can_change=can_change, keys=keys
        )
        for outcome, content in self._asked if passed is not value else ():
            self._controller.remember_as(outcome, self._actor, redaction.tokenised(content))
        return passed

    def _facts(self, call: Call, collector: FindingCollector) -> CallFacts:
        """The facts of the call with the findings that are known by now."""
        if call.tool_name and self.outcome is not None:
            facts = self.outcome.facts
        else:
            facts = self._controller.model_facts(self._actor, call.model or "")
        return msgspec.structs.replace(facts, findings=finding_facts(kept(collector)))

    def _hear(self, call: Call, findings: Iterable[Finding]) -> None:
        """Takes what a model call says into its conversation."""
        if not call.messages:
            return
        if not self._actor.session:
            self._actor = self._actor._replace(thread=thread_of(call))
        conversation = self._controller.conversation(self._actor)
        if conversation is not None:
            hear_call(conversation, call, self._span, findings)

    def _take(self, tools: Sequence[ToolDefinition], call: Call, collector: FindingCollector) -> None:
        definitions, place, mask = self._controller.definitions, self._span, self._mask
        self._changed = take_definitions(definitions, tools, call, collector, self._actor, place=place, mask=mask)

    def _test_use(self, collector: FindingCollector) -> None:
        used_up = self._controller.used_up(self._actor, self._model)
        if used_up is not None:
            self._exceeded, finding = used_up
            collector.add([finding])

    def _record_use(self, usage: Usage, collector: FindingCollector) -> None:
        try:
            self._cost, found = self._controller.record_use(self._actor, self._model, usage)
            collector.add(found)
        except Exception as error:  # noqa: BLE001 -- what could not be counted must not pass as unused
            collector.add_incomplete(error, "output", "llm", "usage")

    def verdict(self) -> Verdict | None:
        """The verdict of policy and limits; ``None`` where they allow the call."""
        outcome, redaction = self.outcome, self.redaction
        if self.exceeded is not None:
            return self._denied(LIMIT_RULE)
        redacted = redaction.decision() if redaction is not None else None
        if redacted is not None and redacted.action == "deny":
            return self._denied(redacted.rule)
        modified: Verdict | None = None
        if redaction is not None and redacted is not None and redaction.count:
            modified = Verdict("modify", "modify", redacted.rule)
        if outcome is None:
            return modified
        if self._is_invalid and self._controller.denies_invalid:
            return self._denied(ARGUMENTS_RULE)
        decision = outcome.decision
        if decision.action == "deny" or (decision.action == "ask" and self._controller.approvals is None):
            return self._denied(decision.rule)
        if decision.action == "ask":
            return Verdict("warn", "audit", decision.rule)
        if modified is not None or decision.action == "allow":
            return modified
        return Verdict("audit", "audit", decision.rule)

    def _denied(self, rule: str) -> Verdict:
        """The verdict of a rule that denies the call."""
        return Verdict("deny", "block" if self._controller.enforces else "audit", rule)

    def _is_held(self, outcome: ControlOutcome) -> bool:
        """Returns whether the call waits for a person: not where one has decided in the framework already."""
        if outcome.is_inside:
            return False
        if (decided := self._controller.framework_approvals) is not None:
            self.held.decided = decided.spend(outcome.digest)
        is_asked = self.held.decided is None and outcome.decision.action == "ask"
        return is_asked and self._controller.approvals is not None and self._controller.enforces

    @property
    def request(self) -> ApprovalRequest | None:
        """The approval that the call waits for."""
        return self.held.request

    def wait(self) -> bool:
        """Blocks until the held call is decided; whether it may run."""
        return self.held.wait(self._controller.approvals)

    async def wait_async(self, sleep: Callable[[float], Awaitable[object]]) -> bool:
        """Does what `wait` does without blocking the event loop."""
        return await self.held.wait_async(self._controller.approvals, sleep)

    def attributes(self) -> dict[str, AttributeValue]:
        """The cost of the call and the ``cylestio.policy.*`` attributes of the span, as far as they are known."""
        found: dict[str, AttributeValue] = {semconv.USAGE_COST: self._cost} if self._cost else {}
        if self._changed:
            found[semconv.MCP_CHANGED_TOOLS] = self._changed
        if self.held.decided is not None:
            found[semconv.APPROVAL_ID] = self.held.decided.id
        decision = self._decision()
        if decision is None or (self._controller.policy is None and decision.action == "allow"):
            return found
        found[semconv.POLICY_ACTION] = decision.action
        found[semconv.POLICY_RULE] = decision.rule
        found[semconv.POLICY_VERSION] = decision.version
        found[semconv.POLICY_REASON] = self._outcome_mask.name(decision.reason)
        found[semconv.POLICY_ENFORCED] = self._is_enforced(decision)
        if self.redaction is not None and self.redaction.count:
            found[semconv.POLICY_REDACTED] = self.redaction.count
            found[semconv.POLICY_REDACTED_SURFACES] = self.redaction.surfaces
        return found

    def _decision(self) -> PolicyDecision | None:
        """The decision about the call: that of its redaction where it is at least as strict."""
        decided = self.outcome.decision if self.outcome is not None else None
        redacted = self.redaction.decision() if self.redaction is not None else None
        if redacted is None or (decided is not None and STRICTNESS[decided.action] > STRICTNESS[redacted.action]):
            return decided
        return redacted

    def _is_enforced(self, decision: PolicyDecision) -> bool:
        """Returns whether a decision was carried out: a redaction only where something was replaced."""
        is_empty = decision.action == "redact" and (self.redaction is None or not self.redaction.count)
        return self._controller.enforces and not is_empty

    def finish(self, call: Call, *, ran: bool) -> None:
        """Records the outcome, and a call that ran for the conditions on earlier calls."""
        outcome, decision = self.outcome, self._decision()
        if decision is None:
            return
        if outcome is None:
            facts = self._controller.model_facts(self._actor, call.model or "")
            self._record(ControlOutcome(facts, decision, (), [], None, "", is_first=True))
            return
        self._controller.ended(self._span)
        if outcome.is_first:
            self._record(outcome._replace(decision=decision))
        if ran:
            self._controller.record(outcome.facts)

    def _record(self, outcome: ControlOutcome) -> None:
        if (recorder := self._controller.recorder) is not None:
            recorder(self._outcome_mask.recorded(outcome), self._span, self._is_enforced(outcome.decision))

    def _judge_run(self, call: Call, findings: Iterable[Finding]) -> list[Finding]:
        """Decides about a tool call that is about to run."""
        tool, arguments, redaction = call.tool_name or "", call.arguments, self.redaction
        if redaction is not None:
            arguments = redaction.restored(self._controller.tool_facts(self._actor, tool, call.tool_server), call)
        self._arguments = arguments
        self.outcome = self._controller.decide(
            self._actor,
            tool,
            arguments,
            server=call.tool_server,
            inside=self._inside,
            findings=findings,
            is_own=call.kind == "server",
        )
        self._is_invalid = self.outcome.is_invalid
        if redaction is not None:
            redaction.on_arguments(self.outcome.facts, self.outcome.decision.fitting, call)
        passed = redaction.arguments if redaction is not None else UNCHANGED
        self._controller.started(self._span, self.outcome, self._actor, passed)
        return self.outcome.findings

    def _judge_asked(self, part: Part, findings: Iterable[Finding]) -> list[Finding]:
        """Decides about a tool call that the model asks for; the strictest of them counts."""
        tool, arguments = part.name or "", part.content
        if self.redaction is not None:
            arguments = self.redaction.asked(self._controller.tool_facts(self._actor, tool), arguments)
        outcome = self._controller.decide(
            self._actor,
            tool,
            arguments,
            model=self._model,
            path=part.path,
            findings=findings,
            is_asked=True,
            schema=self._schemas.get(part.name or ""),
        )
        self._is_invalid = self._is_invalid or outcome.is_invalid
        self._asked.append((outcome, part.content))
        if self.redaction is not None and self.is_streamed:  # it may run before the answer ends
            self._controller.remember_as(outcome, self._actor, self.redaction.tokenised(part.content))
        if self.outcome is None or STRICTNESS[outcome.decision.action] > STRICTNESS[self.outcome.decision.action]:
            self.outcome = outcome
        return outcome.findings
