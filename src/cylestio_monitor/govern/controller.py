"""The control of tool calls: facts of a call in, a decision and its findings out.

One call passes here several times: when the model asks for it, when a framework runs it, when an MCP client sends it,
and when a server in the same process answers it. It is decided and counted at the first of these places; the others
take that decision over: running the call, from when the model asked for it; inside the call that runs, from that one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from cylestio_monitor.govern import facts as call_facts
from cylestio_monitor.govern.approvals.request import call_digest
from cylestio_monitor.govern.arguments import ArgumentValidation
from cylestio_monitor.govern.definitions import ToolDefinitions
from cylestio_monitor.govern.history import CallHistory
from cylestio_monitor.govern.limits import cost_of, price_of
from cylestio_monitor.govern.listed_tools import ListedTools
from cylestio_monitor.govern.outcome import Actor, ControlOutcome, control_finding, provenance_finding
from cylestio_monitor.govern.policy.engine import PolicyDecision
from cylestio_monitor.govern.provenance import Conversation, OpenConversations
from cylestio_monitor.govern.recent import entry_of
from cylestio_monitor.govern.redaction.redactor import UNCHANGED
from cylestio_monitor.govern.redaction.tokens import OpenTokens
from cylestio_monitor.govern.runaway import RunawayDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cylestio_monitor.govern.approvals import Approvals, FrameworkApprovals
    from cylestio_monitor.govern.arguments import InvalidArguments
    from cylestio_monitor.govern.limits import CallLimiter, Exceeded, Price
    from cylestio_monitor.govern.policy.engine import Policy
    from cylestio_monitor.govern.provenance import Origin
    from cylestio_monitor.govern.provenance.tools import Effect
    from cylestio_monitor.govern.redaction.call_redaction import CallRedaction
    from cylestio_monitor.govern.redaction.held_text import OpenPlaces
    from cylestio_monitor.govern.redaction.redactor import Find
    from cylestio_monitor.model import Finding, Usage

log = logging.getLogger("cylestio_monitor")

LIMIT_RULE: Final = "limit.exceeded"

_MEMORY: Final = 4096  # decisions kept for the later places of the same call
_MEMORY_S: Final = 600.0
_MAX_UNPRICED: Final = 64  # models named in the log as without a price
_NO_POLICY: Final = PolicyDecision("allow", "default", "", "No policy is in force.")


class Controller:
    """Decides about tool calls by policy, provenance and limits.

    Attributes:
        policy: The policy in force; ``None`` where there is none.
        counts_use: A limit, a price or a condition of the policy is about tokens or cost: every model call counts.
        enforces: Decisions are carried out.
        approvals: Holds the calls that the policy asks about.
        framework_approvals: Decisions of people in frameworks.
        approval_s: Seconds that a call waits.
        recorder: Called with each first outcome, the id of its span, and whether it was carried out.
        listed_tools: The tools that MCP servers have listed.
        definitions: The versions of tool definitions.
        redacts: The policy redacts something.
        denies_invalid: Calls whose arguments break the tool's own schema are denied.
    """

    def __init__(
        self,
        *,
        key: bytes,
        policy: Policy | None = None,
        enforces: bool = False,
        limiter: CallLimiter | None = None,
        prices: Mapping[str, Price] | None = None,
        approvals: Approvals | None = None,
        framework_approvals: FrameworkApprovals | None = None,
        approval_s: float = 300.0,
        traces_values: bool = True,
        invalid_arguments: InvalidArguments = "audit",
        recorder: Callable[[ControlOutcome, str, bool], None] | None = None,
        definitions: ToolDefinitions | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Takes what decides.

        Args:
            key: Secret of the deployment, for digests.
            policy: The policy in force, if there is one.
            enforces: Decisions are carried out; else they are recorded only.
            limiter: The limits, if there are any.
            prices: Prices of models, by the beginning of their names.
            approvals: Holds the calls that the policy asks about; without it they are denied.
            framework_approvals: Decisions of people in frameworks.
            approval_s: Seconds that a call waits.
            traces_values: Argument values are traced to their first speaker.
            invalid_arguments: What follows where arguments break the tool's own schema.
            recorder: Called with each first outcome, the id of its span, and whether it was carried out.
            definitions: The versions of tool definitions; by default those of this process alone.
            clock_ns: Gives ns since the epoch.
        """
        self.policy = policy
        self.enforces = enforces
        self.approvals = approvals
        self.framework_approvals = framework_approvals
        self.approval_s = approval_s
        self.recorder = recorder
        self._traces_values = traces_values
        self.denies_invalid = invalid_arguments == "deny"
        self._validation = ArgumentValidation(invalid_arguments)
        self._key = key
        self._limiter = limiter
        self._prices = dict(prices or {})
        self._unpriced: set[str] = set()
        budgets = [one.budget for one in policy.document.rules if one.budget is not None] if policy is not None else []
        measures = limiter.measures if limiter is not None else frozenset()
        self._counts_cost = "cost" in measures or any(one.cost is not None for one in budgets)
        self.counts_use = bool(budgets or prices or measures - {"calls"})
        self._clock_ns = clock_ns
        self._history = CallHistory()
        self._conversations = OpenConversations()
        self._runaway = RunawayDetector()
        self._tokens = OpenTokens()
        self.redacts = policy is not None and policy.redacts
        self.listed_tools = ListedTools()
        self.definitions = definitions or ToolDefinitions()
        self._decided: OrderedDict[str, list[tuple[int, ControlOutcome]]] = OrderedDict()
        self._running: OrderedDict[str, ControlOutcome] = OrderedDict()
        self._lock = threading.Lock()

    def conversation(self, actor: Actor) -> Conversation | None:
        """The conversation of an actor; ``None`` where values are not traced."""
        if not self._traces_values or not actor.conversation:
            return None
        return self._conversations.of(actor.conversation)

    def redaction(self, actor: Actor, find: Find, watch: Callable[[], OpenPlaces | None]) -> CallRedaction | None:
        """The redaction of one call; ``None`` where the policy redacts nothing.

        Args:
            actor: Who makes the call: tokens are those of its session, else of its trace.
            find: Finds secrets and personal data in a text.
            watch: Makes what follows the matches of a text that arrives in pieces; see `CallRedaction`.
        """
        if self.policy is None or not self.policy.redacts:
            return None
        from cylestio_monitor.govern.redaction.call_redaction import CallRedaction  # noqa: PLC0415 -- few policies redact

        tokens = self._tokens.of(actor.session or actor.trace)
        return CallRedaction(self.policy, self._history, find, tokens, watch, enforces=self.enforces)

    def tool_facts(self, actor: Actor, tool: str, server: str | None = None) -> call_facts.CallFacts:
        """The facts of a tool call without its arguments. Arguments as of `decide`."""
        return call_facts.CallFacts(
            time_ns=self._clock_ns(),
            tool=tool,
            server=self.listed_tools.find(tool, server).server,
            agent=actor.agent,
            user=actor.user,
            roles=actor.roles,
            session=actor.session or actor.thread,
            trace=actor.trace,
        )

    def model_facts(self, actor: Actor, model: str) -> call_facts.CallFacts:
        """The facts of a model call without what it says and uses."""
        return call_facts.CallFacts(
            time_ns=self._clock_ns(),
            model=model,
            agent=actor.agent,
            user=actor.user,
            roles=actor.roles,
            session=actor.session or actor.thread,
            trace=actor.trace,
        )

    def decide(
        self,
        actor: Actor,
        tool: str,
        arguments: object,
        *,
        server: str | None = None,
        model: str = "",
        path: str = "arguments",
        inside: str = "",
        findings: Iterable[Finding] = (),
        is_asked: bool = False,
        is_own: bool = False,
        schema: object = None,
    ) -> ControlOutcome:
        """Decides about a tool call.

        Args:
            actor: Who makes it.
            tool: The tool's name.
            arguments: Its arguments.
            server: The name of the server that is called; with ``None``, the only one that lists the tool.
            model: The model that asks for the call.
            path: Place of the arguments, for the findings.
            inside: The span around the call, as ``trace:span``.
            findings: What the scanner found in the call.
            is_asked: Whether the model asks for the call, which will run later; else it runs now.
            is_own: Whether this process is the server of the tool, which knows what the tool does.
            schema: The schema of the tool's arguments in the model's request; without it, the one that is listed.
        """
        listed = self.listed_tools.find(tool, server)
        digest = self._digest(actor, listed.server, tool, arguments)
        now_ns = self._clock_ns()
        refusal = None if is_own else self.definitions.refusal(listed.server, tool)
        if not is_asked:
            around = self._running_around(actor, listed.server, tool, arguments, inside)
            earlier = around or self._take(digest, now_ns)
            if earlier is not None and (refusal is None or earlier.decision.action == "deny"):
                return earlier._replace(findings=[], is_first=False, is_inside=around is not None)
        state, version = self.definitions.standing(listed.server, tool)
        # A function of the application may bear the name of a tool of a server and take other arguments.
        own_schema = schema or (listed.schema if is_asked or server is not None else None)
        invalid, is_invalid = self._validation.test(own_schema, listed.server, tool, arguments, path)
        if invalid and listed.server and not is_asked and self._is_known_invalid(actor, tool, arguments):
            invalid = []
        origins = self._origins(actor, tool, arguments, listed.hints)
        found, complete = call_facts.argument_facts(arguments, self._key)
        facts = call_facts.CallFacts(
            time_ns=now_ns,
            tool=tool,
            server=listed.server,
            model=model,
            agent=actor.agent,
            user=actor.user,
            roles=actor.roles,
            session=actor.session or actor.thread,
            trace=actor.trace,
            arguments=found,
            complete=complete,
            findings=call_facts.finding_facts([*findings, *invalid]),
            origins=call_facts.origin_facts(origins),
            definition=state,
            definition_digest=version,
        )
        exceeded = self._limiter.before(facts) if self._limiter is not None else None
        decision = self.policy.decide(facts, self._history) if self.policy is not None else _NO_POLICY
        if refusal is not None and decision.action != "deny":
            decision = decision._replace(action="deny", rule=refusal.rule, reason=refusal.reason)
        raised = [*invalid, *(provenance_finding(origin, path) for origin in origins)]
        raised += [control_finding(rule, severity, path) for rule, severity in self._runaway.record(facts)]
        if exceeded is not None:
            raised.append(control_finding(LIMIT_RULE, "medium", path))
        made = ControlOutcome(facts, decision, origins, raised, exceeded, digest, is_first=True, is_invalid=is_invalid)
        outcome = made._replace(caller=actor.caller)
        if is_asked:
            self._remember(digest, outcome)
        return outcome

    def remember_as(self, outcome: ControlOutcome, actor: Actor, arguments: object) -> None:
        """Notes that a call that a model asks for will run with other arguments: those that were redacted."""
        self._remember(self.digest_with(outcome, actor, arguments), outcome)

    def digest_with(self, outcome: ControlOutcome, actor: Actor, arguments: object) -> str:
        """Returns the digest of a call that was decided, with the arguments that are given now."""
        return self._digest(actor, outcome.facts.server, outcome.facts.tool, arguments)

    def started(self, place: str, outcome: ControlOutcome, actor: Actor, passed: object) -> None:
        """Takes a call that is about to run: the same call inside it is not decided and counted again.

        Args:
            place: Its span, as ``trace:span``.
            outcome: What was decided.
            actor: Who makes it.
            passed: The arguments that the tool gets; `UNCHANGED` for those that were decided about.
        """
        if passed is not UNCHANGED:
            outcome = outcome._replace(passed_digest=self.digest_with(outcome, actor, passed))
        with self._lock:
            self._running[place] = outcome
            if len(self._running) > _MEMORY:
                self._running.popitem(last=False)

    def ended(self, place: str) -> None:
        """Takes the end of a call. Argument as of `started`."""
        with self._lock:
            self._running.pop(place, None)

    def record(self, facts: call_facts.CallFacts) -> None:
        """Takes a call that ran, for the conditions on earlier calls and on use."""
        if self.policy is not None:  # nothing else asks about earlier calls
            self._history.record(facts)
        if self._limiter is not None:
            self._limiter.after(facts)

    def used_up(self, actor: Actor, model: str) -> tuple[Exceeded, Finding] | None:
        """The limit that earlier model calls have used up, with its finding; ``None`` where there is none."""
        if self._limiter is None:
            return None
        exceeded = self._limiter.before(self.model_facts(actor, model))
        return None if exceeded is None else (exceeded, control_finding(LIMIT_RULE, "medium", "input", "input", "llm"))

    def record_use(self, actor: Actor, model: str, usage: Usage) -> tuple[float, list[Finding]]:
        """Counts what a model call used; its cost, and the findings of runaway use.

        Args:
            actor: Who made the call.
            model: The model.
            usage: The tokens of the call.
        """
        given, answered = max(0, usage.input_tokens or 0), max(0, usage.output_tokens or 0)
        cost = cost_of(model, given, answered, self._prices)
        if self._counts_cost and price_of(model, self._prices) is None:
            self._warn_unpriced(model)
        facts = msgspec.structs.replace(self.model_facts(actor, model), tokens=given + answered, cost=cost)
        self.record(facts)
        raised = self._runaway.record(facts)
        return cost, [control_finding(rule, severity, "output", subtype="llm") for rule, severity in raised]

    def _warn_unpriced(self, model: str) -> None:
        """Says once for each model that its cost is not known."""
        if model not in self._unpriced and len(self._unpriced) < _MAX_UNPRICED:
            self._unpriced.add(model)
            log.warning("The cost of the model %r is not counted: control.prices has no price for it", model[:80])

    def denied_offer(self, actor: Actor | None, tool: str, server: str | None = None) -> ControlOutcome | None:
        """The denial of a tool whose every call is denied, so that it is not offered; ``None`` for another tool.

        Args:
            actor: Who would call it; ``None`` for whoever that may be.
            tool: The tool's name.
            server: Its server; with ``None``, the only one that lists the tool.
        """
        if self.policy is None:
            return None
        facts = self.tool_facts(actor or Actor(), tool, server)
        if not self.policy.never_allows(facts, whoever=actor is None):
            return None
        decision = self.policy.decide(facts, self._history)
        return ControlOutcome(facts, decision, (), [], None, "", is_first=True)

    def _origins(self, actor: Actor, tool: str, arguments: object, hints: Mapping[str, object]) -> Sequence[Origin]:
        conversation = self.conversation(actor)
        if conversation is None:
            return ()
        catalogue: Mapping[str, Effect] | None = self.policy.document.effects if self.policy is not None else None
        return conversation.trace(tool, arguments, hints=hints, catalogue=catalogue)

    def _is_known_invalid(self, actor: Actor, tool: str, arguments: object) -> bool:
        """Returns whether the model asked for this call when its server was not known, and its arguments were wrong."""
        with self._lock:
            kept = self._decided.get(self._digest(actor, "", tool, arguments), ())
            return any(outcome.is_invalid for _, outcome in kept)

    def _remember(self, digest: str, outcome: ControlOutcome) -> None:
        with self._lock:
            entry_of(self._decided, digest, list, _MEMORY).append((outcome.facts.time_ns, outcome))

    def digest_of(self, actor: Actor, tool: str, arguments: object) -> str:
        """Returns the digest that binds a decision to a call of the only server that lists the tool, or of none."""
        return self._digest(actor, self.listed_tools.find(tool, None).server, tool, arguments)

    def _digest(self, actor: Actor, server: str, tool: str, arguments: object) -> str:
        return call_digest(
            self._key,
            session=actor.session,
            caller=actor.caller,
            tool=f"{server}/{tool}" if server else tool,
            arguments=arguments,
            policy_version=self.policy.version if self.policy is not None else "",
        )

    def _running_around(
        self, actor: Actor, server: str, tool: str, arguments: object, place: str
    ) -> ControlOutcome | None:
        """The outcome of the same call that runs around this one; ``None`` where there is none.

        A server in the same process may not know the name by which its client knows it: the client's is taken then. A
        client that knows the server decides anew about a call that was decided without one.
        """
        with self._lock:
            outcome = self._running.get(place)
        if outcome is None or outcome.facts.tool != tool:
            return None
        # A server in this process may run where the application's names for the caller are not known.
        same = self._digest(actor._replace(caller=outcome.caller), server or outcome.facts.server, tool, arguments)
        return outcome if same in {outcome.digest, outcome.passed_digest} else None

    def _take(self, digest: str, now_ns: int) -> ControlOutcome | None:
        """The outcome of when the model asked for this call; each is taken over once."""
        with self._lock:
            kept = self._decided.get(digest)
            while kept:
                decided_ns, outcome = kept.pop(0)
                if not kept:
                    del self._decided[digest]
                if now_ns - decided_ns < _MEMORY_S * 1e9:
                    return outcome
            return None
