"""A compiled policy and its decisions. The same function decides live and in a replay."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cylestio_monitor.govern.policy.conditions import fits_tool, matcher, tests_of
from cylestio_monitor.govern.policy.document import STRICTNESS, SURFACES, Action, PolicyDocument, texts
from cylestio_monitor.govern.policy.question import PolicyQuestion

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.govern.facts import CallFacts
    from cylestio_monitor.govern.policy.conditions import Test
    from cylestio_monitor.govern.policy.document import PolicyRule, Surface
    from cylestio_monitor.govern.policy.question import History

_MAX_TOOLS = 4096  # names of tools that rules were looked up for; a server that invents names must not fill memory


class PolicyDecision(NamedTuple):
    """The decision about one call.

    Attributes:
        action: The action.
        rule: Id of the rule that decided; ``default`` where none fitted.
        version: Version of the policy.
        reason: A readable sentence without content.
        fitting: Ids of all rules that fitted, in the order of the document.
        undecided: Ids of rules that a replay could not test without content.
    """

    action: Action
    rule: str
    version: str
    reason: str
    fitting: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()


class _CompiledPolicyRule(NamedTuple):
    rule: PolicyRule
    tool: Callable[[str], bool] | None
    tests: list[Test]
    names: int  # how many of the tests, the first, ask for agent, user, role and session
    sentence: tuple[str, str]  # the reason, before and after the subject


class Policy:
    """A compiled policy.

    Attributes:
        redacts: Whether a rule has the action `redact`.
    """

    def __init__(self, document: PolicyDocument, key: bytes) -> None:
        """Compiles the rules.

        Args:
            document: The checked document.
            key: Key of the digests, the same that `facts.argument_facts` gets.

        Raises:
            ValueError: A pattern or schema cannot be used; the message starts with ``rules[N].``.
        """
        self.document = document
        self.version = document.version or digest_of(document)
        self._rules: list[_CompiledPolicyRule] = []
        for number, rule in enumerate(document.rules):
            try:
                tests = tests_of(rule, key)
            except ValueError as error:
                raise ValueError(f"rules[{number}].{error}") from error
            self._rules.append(_CompiledPolicyRule(rule, _tool_test(rule), tests, _names(rule), _sentence(rule)))
        self._by_tool: dict[tuple[str, str], list[_CompiledPolicyRule]] = {}
        self._restores = matcher(texts(document.restore)) if document.restore is not None else None
        self.redacts = any(rule.action == "redact" for rule in document.rules)

    def decide(self, facts: CallFacts, history: History) -> PolicyDecision:
        """The decision about a call: the strictest action of the rules that fit, else the default of its agent.

        Args:
            facts: The facts of the call.
            history: What happened before; it counts this call already.
        """
        fitting: list[_CompiledPolicyRule] = []
        undecided: list[str] = []
        question = PolicyQuestion(facts, history)
        for compiled in self._of_tool(facts):
            outcome: bool | None = True
            for test in compiled.tests:
                found = test(question)
                if found is False:
                    outcome = False
                    break
                if found is None:
                    outcome = None
            if outcome:
                fitting.append(compiled)
            elif outcome is None:
                undecided.append(compiled.rule.id)
        if not any(_allows(compiled.rule) for compiled in fitting):
            default = self._default(facts, tuple(undecided))
            if not fitting or default.action == "deny":
                return default
        strictest = max(fitting, key=_strictness)
        before, after = strictest.sentence
        return PolicyDecision(
            strictest.rule.action,
            strictest.rule.id,
            self.version,
            strictest.rule.reason or f"{before} {_subject(facts)}{after}.",
            tuple([compiled.rule.id for compiled in fitting]),
            tuple(undecided),
        )

    def never_allows(self, facts: CallFacts, *, whoever: bool = False) -> bool:
        """Returns whether a tool is denied whatever its arguments are, so that it need not be offered to the model.

        Args:
            facts: Facts of agent, user, roles and session with the tool's name; no arguments.
            whoever: Whether it must be denied to every agent, user, role and session.
        """
        question = PolicyQuestion(facts, _NO_HISTORY)
        for compiled in self._of_tool(facts):
            rule = compiled.rule
            bare = not any(
                (rule.definition, rule.arguments, rule.findings, rule.origin, rule.after, rule.rate, rule.budget)
            )
            if whoever and compiled.names:
                continue
            if rule.action == "deny" and bare and all(test(question) for test in compiled.tests):
                return True
        defaults = [own.default for own in self.document.agents.values()] if whoever else []
        if self._default(facts, ()).action != "deny" or "allow" in defaults:
            return False
        return not any(
            compiled.rule.action != "deny"
            and _allows(compiled.rule)
            and (whoever or all(test(question) for test in compiled.tests[: compiled.names]))
            for compiled in self._of_tool(facts)
        )

    def redaction(
        self, facts: CallFacts, history: History, surface: Surface, fitting: tuple[str, ...] = ()
    ) -> PolicyRule | None:
        """The first rule that redacts a surface of a call; ``None`` where none does.

        Args:
            facts: The facts of the call, with the findings that are known by now.
            history: What happened before. A rule with a rate counts a call in `decide` alone.
            surface: The surface.
            fitting: Ids of the rules that fitted when the call was decided.
        """
        question = PolicyQuestion(facts, history)
        for compiled in self._of_tool(facts):
            rule = compiled.rule
            if rule.action != "redact" or surface not in (rule.surfaces or SURFACES):
                continue
            if rule.id in fitting or (rule.rate is None and all(test(question) for test in compiled.tests)):
                return rule
        return None

    def may_redact(self, facts: CallFacts, surface: Surface) -> PolicyRule | None:
        """The first rule that redacts a surface of a call if the conditions hold that are not known yet.

        Args:
            facts: Facts of agent, user, roles, session and tool.
            surface: The surface.
        """
        question = PolicyQuestion(facts, _NO_HISTORY)
        for compiled in self._of_tool(facts):
            rule = compiled.rule
            is_asked = rule.action == "redact" and surface in (rule.surfaces or SURFACES)
            if is_asked and all(test(question) for test in compiled.tests[: compiled.names]):
                return rule
        return None

    def restores(self, facts: CallFacts) -> bool:
        """Returns whether a tool gets the original values in place of tokens."""
        return self._restores is not None and fits_tool(self._restores, facts)

    def _default(self, facts: CallFacts, undecided: tuple[str, ...]) -> PolicyDecision:
        own = self.document.agents.get(facts.agent)
        action: Action = own.default if own is not None else self.document.default
        if not facts.tool:
            action = "allow"  # the default is about tools: a model call has rules of its own
        reason = f"No rule allows the tool {facts.full_tool}." if action == "deny" else "No rule fits."
        return PolicyDecision(action, "default", self.version, reason, (), undecided)

    def _of_tool(self, facts: CallFacts) -> list[_CompiledPolicyRule]:
        name = (facts.server, facts.tool)
        found = self._by_tool.get(name)
        if found is None:
            found = [compiled for compiled in self._rules if compiled.tool is None or fits_tool(compiled.tool, facts)]
            if len(self._by_tool) < _MAX_TOOLS:
                self._by_tool[name] = found
        return found


class _NoHistory:
    """The history of a question about a tool that no call has been made of."""

    def tools(self, _facts: CallFacts) -> tuple[str, ...]:
        return ()

    def findings(self, _facts: CallFacts) -> tuple[tuple[str, str], ...]:
        return ()

    def exceeds(self, _rule: str, _condition: object, _facts: CallFacts) -> bool:
        return False

    def used(self, _subject: str, _seconds: int, _facts: CallFacts) -> tuple[int, float]:
        return 0, 0.0


_NO_HISTORY = _NoHistory()


def digest_of(document: PolicyDocument) -> str:
    """A version for a document that names none: the first 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()[:12]


def _allows(rule: PolicyRule) -> bool:
    """Returns whether a rule lets its calls go on where the default is `deny`: not one that redacts whatever passes."""
    return rule.action != "redact" or rule.tool is not None


def _names(rule: PolicyRule) -> int:
    return sum(getattr(rule, name) is not None for name in ("agent", "user", "role", "session"))


def _tool_test(rule: PolicyRule) -> Callable[[str], bool] | None:
    return matcher(texts(rule.tool)) if rule.tool is not None else None


def _strictness(compiled: _CompiledPolicyRule) -> int:
    return STRICTNESS[compiled.rule.action]


def _subject(facts: CallFacts) -> str:
    return f"the tool {facts.full_tool}" if facts.tool else f"the model {facts.model}" if facts.model else "a call"


def _sentence(rule: PolicyRule) -> tuple[str, str]:
    """The reason of a decision of the rule, before and after the subject."""
    verb = {"allow": "allows", "audit": "records", "redact": "redacts", "ask": "asks a person about", "deny": "denies"}
    because = [
        name
        for name, given in (
            ("its arguments", rule.arguments),
            ("a finding", rule.findings),
            ("an untrusted value", rule.origin),
            ("an earlier call", rule.after),
            ("its rate", rule.rate),
            ("its budget", rule.budget),
        )
        if given is not None
    ]
    return f"Rule {rule.id} {verb[rule.action]}", " because of " + " and ".join(because) if because else ""
