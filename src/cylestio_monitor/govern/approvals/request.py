"""The request for an approval: what a person decides about, and what the decision is bound to."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from cylestio_monitor import sanitize

if TYPE_CHECKING:
    from cylestio_monitor.govern.facts import CallFacts
    from cylestio_monitor.govern.policy import PolicyDecision

ApprovalState: TypeAlias = Literal["waiting", "allowed", "denied", "expired", "used"]


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call that waits for a person.

    Attributes:
        id: Random name, 12 characters that are easy to type.
        digest: Keyed digest of session, agent, user, roles, tool, arguments and policy version.
        tool: ``server/tool``.
        arguments: The arguments as JSON, secrets and personal data masked, for the person who decides.
        agent: Agent id.
        session: Session id.
        user: User id.
        trace: Trace id, 32 hexadecimal digits.
        span: Span id, 16 hexadecimal digits.
        rule: Id of the rule that asks.
        policy_version: Version of the policy.
        reason: A readable sentence.
        created_ns: When it was made, in ns since the epoch.
        expires_ns: When it is denied, in ns since the epoch.
    """

    id: str
    digest: str
    tool: str
    arguments: str
    agent: str = ""
    session: str = ""
    user: str = ""
    trace: str = ""
    span: str = ""
    rule: str = ""
    policy_version: str = ""
    reason: str = ""
    created_ns: int
    expires_ns: int


def call_digest(
    key: bytes, *, session: str, tool: str, arguments: object, policy_version: str, caller: str = ""
) -> str:
    """The digest that binds an approval to one call, 64 hexadecimal digits.

    Args:
        key: Secret of the deployment.
        session: Session id.
        tool: ``server/tool``.
        arguments: The arguments as they will be handed to the tool.
        policy_version: Version of the policy that asked.
        caller: Agent, user and roles.
    """
    hasher = hashlib.blake2b(digest_size=32, key=hashlib.sha256(key).digest(), person=b"cylestio-call")
    for field in (session, caller, tool, policy_version, canonical(arguments)):
        data = field if isinstance(field, bytes) else field.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "big"))  # the length before each field: no two calls spell the same bytes
        hasher.update(data)
    return hasher.hexdigest()


def canonical(arguments: object) -> bytes:
    """Arguments as bytes that are equal for equal arguments: JSON with sorted keys."""
    try:
        return msgspec.json.encode(arguments, order="deterministic")
    except (TypeError, ValueError, RecursionError):  # an object that JSON has no form for is bound by its type and text
        return f"{type(arguments).__qualname__}:{arguments!r}".encode("utf-8", "surrogatepass")


def new_id() -> str:
    """Returns the random name of a request."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "".join(secrets.choice(alphabet) for _ in range(12))


def new_request(
    facts: CallFacts, decision: PolicyDecision, *, arguments: str, digest: str, span: str, timeout_s: float
) -> ApprovalRequest:
    """A request about a call that a decision asks about.

    Args:
        facts: Facts of the call.
        decision: The decision.
        arguments: The masked arguments as JSON.
        digest: As `call_digest` returned it.
        span: Id of the span of the waiting call.
        timeout_s: Seconds until it expires.
    """
    return ApprovalRequest(
        id=new_id(),
        digest=digest,
        tool=sanitize.clean_text(facts.full_tool, 256),
        arguments=sanitize.clean_text(arguments, 16_384),
        agent=facts.agent,
        session=facts.session,
        user=facts.user,
        trace=facts.trace,
        span=span,
        rule=decision.rule,
        policy_version=decision.version,
        reason=decision.reason,
        created_ns=facts.time_ns,
        expires_ns=facts.time_ns + int(timeout_s * 1e9),
    )
