"""Control of one call on its way through the pipeline: what it says is heard, its tool calls are decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.govern.approvals.request import canonical, new_request
from cylestio_monitor.govern.arguments import ARGUMENTS_RULE
from cylestio_monitor.govern.controller import LIMIT_RULE
from cylestio_monitor.govern.heard import hear_call, hear_result, scope_of, thread_of
from cylestio_monitor.govern.outcome import Actor
from cylestio_monitor.govern.policy.document import STRICTNESS
from cylestio_monitor.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from cylestio_monitor.govern.approvals import ApprovalRequest
    from cylestio_monitor.govern.collector import FindingCollector
    from cylestio_monitor.govern.controller import Controller
    from cylestio_monitor.govern.limits import Exceeded
    from cylestio_monitor.govern.outcome import ControlOutcome
    from cylestio_monitor.govern.policy import Action, PolicyDecision
    from cylestio_monitor.model import Action as VerdictAction
    from cylestio_monitor.model import (
        AttributeValue,
        Call,
        Decision,
        Finding,
        Part,
        Result,
        ToolDefinition,
        Usage,
    )

_DECISIONS: Final[dict[Action, Decision]] = {
    "allow": "allow",
    "audit": "audit",
    "redact": "audit",
    "ask": "warn",
    "deny": "deny",
}


class CallControl:
    """The state of control for one call.

    Attributes:
        outcome: The outcome that counts for the span: the strictest of its tool calls.
        request: The approval that the call waits for.
    """

    __slots__ = (
        "_actor",
        "_changed",
        "_controller",
        "_cost",
        "_exceeded",
        "_held",
        "_inside",
        "_is_invalid",
        "_judged",
        "_mask",
        "_model",
        "_schemas",
        "_span",
        "outcome",
        "request",
    )

    def __init__(self, controller: Controller, actor: Actor, span: str, inside: str) -> None:
        """Takes the call.

        Args:
            controller: Decides.
            actor: Who makes the call.
            span: Trace and span id, as ``trace:span``.
            inside: Trace and span id of the span around it.
        """
        self._controller = controller
        self._actor = actor
        self._span = span
        self._inside = inside
        self.outcome: ControlOutcome | None = None
        self.request: ApprovalRequest | None = None
        self._held: ApprovalRequest | None = None
        self._judged: set[str] = set()
        self._model = ""
        self._schemas: dict[str, object] = {}
        self._exceeded: Exceeded | None = None
        self._cost = 0.0
        self._changed: list[str] = []
        self._mask: Callable[[Any], Any] = _nothing_masked
        self._is_invalid = False

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
                    self._hear(call, _kept(collector))
                    self._take_definitions(call.tools, call, collector)
                if call.required_tool:
                    self.outcome = self._controller.denied_offer(self._actor, call.required_tool)
                self._test_use(collector)
                return self.verdict()
            collector.add(self._judge_run(call, _kept(collector)))
            self._hold(call, mask, trace, span)
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
                collector.add(self._judge_asked(part, _kept(collector)))
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
            self._take_definitions(result.tools, call, collector)
        if call.tool_name and result.response is not None:
            conversation = self._controller.conversation(self._actor)
            if conversation is not None:
                hear_result(conversation, call.tool_name, result.response, self._span, _kept(collector))

    def _hear(self, call: Call, findings: Iterable[Finding]) -> None:
        """Takes what a model call says into its conversation."""
        if not call.messages:
            return
        if not self._actor.session:
            self._actor = self._actor._replace(thread=thread_of(call))
        conversation = self._controller.conversation(self._actor)
        if conversation is not None:
            hear_call(conversation, call, self._span, findings)

    def _take_definitions(self, tools: Sequence[ToolDefinition], call: Call, collector: FindingCollector) -> None:
        """Takes the definitions of tools that a server lists or that a model is offered."""
        is_listed = semconv.MCP_METHOD in call.attributes
        if call.kind == "server" or (is_listed and not call.tool_server):
            return  # what this process lists or is offered by a client; a server that cannot be told from others
        scope = "" if is_listed else scope_of(call, self._actor.agent, self._actor.conversation)
        observe = self._controller.definitions.observe
        try:
            found, changed = observe(
                tools, call.tool_server or "", scope, place=self._span, found=_kept(collector), mask=self._mask
            )
            self._changed = changed if is_listed else []
            collector.add(found)
        except Exception as error:  # noqa: BLE001 -- a definition that could not be compared must not pass as one that was
            collector.add_incomplete(error, "input", "tool_definition", "tools")

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
        outcome, enforces = self.outcome, self._controller.enforces
        if self.exceeded is not None:
            return Verdict("deny", "block" if enforces else "audit", LIMIT_RULE)
        if outcome is None:
            return None
        if self._is_invalid and self._controller.denies_invalid:
            return Verdict("deny", "block" if enforces else "audit", ARGUMENTS_RULE)
        decision = outcome.decision
        if decision.action == "allow":
            return None
        if decision.action == "ask" and self._controller.approvals is None:
            return Verdict("deny", "block" if enforces else "audit", decision.rule)
        action: VerdictAction = "block" if decision.action == "deny" and enforces else "audit"
        return Verdict(_DECISIONS[decision.action], action, decision.rule)

    def _hold(self, call: Call, mask: Callable[[Any], Any], trace: str, span: str) -> None:
        """Makes the request that the call waits for, where the policy asks about it.

        Args:
            call: The call of a tool.
            mask: Masks secrets and personal data in a value.
            trace: Trace id, 32 hexadecimal digits.
            span: Span id, 16 hexadecimal digits.
        """
        outcome = self.outcome
        if outcome is None or outcome.is_inside:
            return
        decided = self._controller.framework_approvals
        self._held = decided.spend(outcome.digest) if decided is not None else None
        if self._held is not None or outcome.decision.action != "ask":
            return
        if self._controller.approvals is None or not self._controller.enforces:
            return
        facts = msgspec.structs.replace(outcome.facts, trace=trace)
        self.request = new_request(
            facts,
            outcome.decision,
            arguments=canonical(mask(call.arguments)).decode("utf-8", "replace"),
            digest=outcome.digest,
            span=span,
            timeout_s=self._controller.approval_s,
        )

    def wait(self) -> bool:
        """Blocks until the held call is decided; whether it may run."""
        request, self.request = self.request, None
        approvals = self._controller.approvals
        self._held = request or self._held
        return request is None or (approvals is not None and approvals.wait(request))

    async def wait_async(self, sleep: Callable[[float], Awaitable[object]]) -> bool:
        """Does what `wait` does without blocking the event loop."""
        request, self.request = self.request, None
        approvals = self._controller.approvals
        self._held = request or self._held
        return request is None or (approvals is not None and await approvals.wait_async(request, sleep))

    def attributes(self) -> dict[str, AttributeValue]:
        """The cost of the call and the ``cylestio.policy.*`` attributes of the span, as far as they are known."""
        outcome = self.outcome
        found: dict[str, AttributeValue] = {semconv.USAGE_COST: self._cost} if self._cost else {}
        if self._changed:
            found[semconv.MCP_CHANGED_TOOLS] = self._changed
        if self._held is not None:
            found[semconv.APPROVAL_ID] = self._held.id
        if outcome is None or (self._controller.policy is None and outcome.decision.action == "allow"):
            return found
        found.update(_attributes(outcome.decision))
        found[semconv.POLICY_ENFORCED] = self._controller.enforces
        return found

    def finish(self, *, ran: bool) -> None:
        """Records the outcome, and a call that ran for the conditions on earlier calls."""
        outcome = self.outcome
        if outcome is None:
            return
        self._controller.ended(self._span)
        if outcome.is_first and self._controller.recorder is not None:
            self._controller.recorder(outcome, self._span, self._controller.enforces)
        if ran:
            self._controller.record(outcome.facts)

    def _judge_run(self, call: Call, findings: Iterable[Finding]) -> list[Finding]:
        """Decides about a tool call that is about to run."""
        self.outcome = self._controller.decide(
            self._actor,
            call.tool_name or "",
            call.arguments,
            server=call.tool_server,
            inside=self._inside,
            findings=findings,
            is_own=call.kind == "server",
        )
        self._is_invalid = self.outcome.is_invalid
        self._controller.started(self._span, self.outcome)
        return self.outcome.findings

    def _judge_asked(self, part: Part, findings: Iterable[Finding]) -> list[Finding]:
        """Decides about a tool call that the model asks for; the strictest of them counts."""
        outcome = self._controller.decide(
            self._actor,
            part.name or "",
            part.content,
            model=self._model,
            path=part.path,
            findings=findings,
            is_asked=True,
            schema=self._schemas.get(part.name or ""),
        )
        self._is_invalid = self._is_invalid or outcome.is_invalid
        if self.outcome is None or _rank(outcome.decision) > _rank(self.outcome.decision):
            self.outcome = outcome
        return outcome.findings


def _nothing_masked(value: Any) -> Any:
    return value


def _kept(collector: FindingCollector) -> Sequence[Finding]:
    return collector.found.kept if collector.found is not None else ()


def actor_of(
    agent: str | None, user: str | None, session: str | None, trace: str, roles: tuple[str, ...] = ()
) -> Actor:
    """The actor of a call from what is known of it; absent names are empty."""
    return Actor(agent or "", user or "", roles, session or "", trace)


def _attributes(decision: PolicyDecision) -> dict[str, AttributeValue]:
    return {
        semconv.POLICY_ACTION: decision.action,
        semconv.POLICY_RULE: decision.rule,
        semconv.POLICY_VERSION: decision.version,
        semconv.POLICY_REASON: decision.reason,
    }


def _rank(decision: PolicyDecision) -> int:
    return STRICTNESS[decision.action]
