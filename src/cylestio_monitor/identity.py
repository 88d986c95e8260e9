"""Who acts: the agent, the session and the user of the calls made in this context."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of the actor.

    Attributes:
        agent_id: ``cylestio.agent.id``.
        session_id: ``cylestio.session.id``.
        user_id: ``enduser.id``.
        conversation_id: ``gen_ai.conversation.id``.
    """

    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    conversation_id: str | None = None


_identity: ContextVar[Identity] = ContextVar("cylestio_identity", default=Identity())  # noqa: B039 -- frozen


def current() -> Identity:
    """The identity that `identify` set around this code, in this thread or task."""
    return _identity.get()


@contextmanager
def identify(
    *,
    agent_id: str | None = None,
    session_id: str | None = None,
    user_id: str | None = None,
    conversation_id: str | None = None,
) -> Iterator[None]:
    """Names the actor of every call made inside the block; what is not given stays as it was.

    Args:
        agent_id: The agent, for spans and events.
        session_id: The session, for spans and events.
        user_id: The user on whose behalf the agent acts.
        conversation_id: The conversation, where the SDK call itself names none.
    """
    given = {
        "agent_id": agent_id,
        "session_id": session_id,
        "user_id": user_id,
        "conversation_id": conversation_id,
    }
    token = _identity.set(replace(_identity.get(), **{key: value for key, value in given.items() if value is not None}))
    try:
        yield
    finally:
        _identity.reset(token)
