"""The actor of the calls in this context: agent, session, user and conversation."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """The names of the actor.

    Attributes:
        agent_id: ``cylestio.agent.id``.
        session_id: ``cylestio.session.id``.
        user_id: ``enduser.id``.
        conversation_id: ``gen_ai.conversation.id``.
        roles: Roles of the user, for the policy.
    """

    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    conversation_id: str | None = None
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Spells names as text, such as ids that are numbers: a policy compares texts."""
        for field in ("agent_id", "session_id", "user_id", "conversation_id"):
            value = getattr(self, field)
            if value is not None and type(value) is not str:
                object.__setattr__(self, field, _name(value))
        # What is no list of roles stays for whoever reads the identity to refuse: the application is not to fail here.
        is_plain = type(self.roles) is tuple and all(type(role) is str for role in self.roles)
        if not is_plain and isinstance(self.roles, Iterable):
            object.__setattr__(self, "roles", role_names(self.roles))

    def or_else(self, other: Identity) -> Identity:
        """Returns this identity, with agent and session of `other` where it has none."""
        return replace(self, agent_id=self.agent_id or other.agent_id, session_id=self.session_id or other.session_id)


def role_names(roles: str | Iterable[object]) -> tuple[str, ...]:
    """Returns roles as texts; one text is one role."""
    return (_name(roles),) if isinstance(roles, str) else tuple(map(_name, roles))


def _name(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    return str.__str__(value) if isinstance(value, str) else str(value)


NOBODY = Identity()
"""The identity outside of every `identify` block."""

current_identity: ContextVar[Identity] = ContextVar("cylestio_identity", default=NOBODY)
"""The identity that `identify` set around this code, in this thread or task."""


def current() -> Identity:
    """Returns the identity that `identify` set around this code, in this thread or task."""
    return current_identity.get()


@contextmanager
def hold(identity: Identity) -> Iterator[None]:
    """Makes an identity the current one inside the block."""
    token = current_identity.set(identity)
    try:
        yield
    finally:
        try:
            current_identity.reset(token)
        except ValueError:  # a generator that was closed in another context: nothing is left set here
            log.debug("An identity ended in another context than it began in")


@contextmanager
def identify(
    *,
    agent_id: str | None = None,
    session_id: str | None = None,
    user_id: str | None = None,
    conversation_id: str | None = None,
    roles: Iterable[str] | None = None,
) -> Iterator[None]:
    """Names the actor of every call inside the block; a name that is not given keeps its value.

    Args:
        agent_id: The agent, for spans and events.
        session_id: The session, for spans and events.
        user_id: The user on whose behalf the agent acts.
        conversation_id: The conversation, where the SDK call itself names none.
        roles: The roles of the user, for the policy.
    """
    given = {
        "agent_id": agent_id,
        "session_id": session_id,
        "user_id": user_id,
        "conversation_id": conversation_id,
        "roles": None if roles is None else role_names(roles),
    }
    names: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    with hold(replace(current_identity.get(), **names)):
        yield
