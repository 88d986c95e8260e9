"""Who makes a call, what was decided about it, and the findings that say so: plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.model import ALERT_OF, PROVENANCE, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.govern.facts import CallFacts
    from cylestio_monitor.govern.limits import Exceeded
    from cylestio_monitor.govern.policy import PolicyDecision
    from cylestio_monitor.govern.provenance import Origin
    from cylestio_monitor.model import Severity, Subtype, Target


class Actor(NamedTuple):
    """Who makes a call; empty texts where nobody said.

    Attributes:
        agent: Agent id.
        user: User id.
        roles: Roles of the user.
        session: Session id.
        trace: Trace id, 32 hexadecimal digits.
        thread: Name of the conversation that the call belongs to, where there is no session.
        caller: Agent, user and roles as the application has named them: a decision about one caller is none about
            another.
    """

    agent: str = ""
    user: str = ""
    roles: tuple[str, ...] = ()
    session: str = ""
    trace: str = ""
    thread: str = ""
    caller: str = ""

    @property
    def conversation(self) -> str:
        """The key of the conversation: the session, else the thread, else the trace."""
        return self.session or self.thread or self.trace


def actor_of(
    agent: str | None, user: str | None, session: str | None, trace: str, roles: tuple[str, ...] = ()
) -> Actor:
    """The actor of a call as the application has named it; absent names are empty."""
    names = (agent or "", user or "", *roles)
    caller = "".join(f"{len(name)}:{name}" for name in names) if any(names) else ""
    return Actor(agent or "", user or "", roles, session or "", trace, caller=caller)


class ControlOutcome(NamedTuple):
    """The decision about one tool call, with its facts and findings.

    Attributes:
        facts: The facts that decided.
        decision: The decision.
        origins: Untrusted values among the arguments.
        findings: Findings of provenance, limits and runaway behaviour.
        exceeded: The limit that the call exceeds.
        digest: The digest that binds an approval to this call.
        is_first: Whether this is the first place of the call; the later ones report nothing again.
        is_inside: Whether the same call runs around this one; it is not held for approval again.
        is_invalid: Whether the arguments break the tool's own schema.
        passed_digest: The digest with the arguments that the tool gets, where they were changed.
        caller: `Actor.caller` of the call.
    """

    facts: CallFacts
    decision: PolicyDecision
    origins: Sequence[Origin]
    findings: list[Finding]
    exceeded: Exceeded | None
    digest: str
    is_first: bool
    is_inside: bool = False
    is_invalid: bool = False
    passed_digest: str = ""
    caller: str = ""


def provenance_finding(origin: Origin, path: str) -> Finding:
    """The finding about a value that only an untrusted source has said; `path` is the place of the arguments."""
    place = f"{path}.{origin.argument}" if origin.argument else path
    return Finding(
        PROVENANCE,
        "prompt_injection",
        origin.severity,
        ALERT_OF[origin.severity],
        "output",
        "tool_call",
        place,
        origin.start,
        origin.end,
        owasp=("LLM01:2025", "ASI01"),
        atlas=("AML.T0051.001",),
    )


def control_finding(
    rule: str, severity: Severity, path: str, target: Target = "output", subtype: Subtype = "tool_call"
) -> Finding:
    """The finding of a limit or of a runaway agent."""
    owasp = ("LLM10:2025", "ASI02")
    return Finding(rule, "resource_abuse", severity, ALERT_OF[severity], target, subtype, path, 0, 0, owasp=owasp)
