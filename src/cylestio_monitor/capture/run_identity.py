"""The session, the conversation and the user that a framework names for a run, for every call inside the run."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from cylestio_monitor import identity, runtime

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from cylestio_monitor.identity import Identity
    from cylestio_monitor.model import Call

log = logging.getLogger(__name__)


class of_run:  # noqa: N801 -- a context manager, used as a function
    """Makes the identity that a call names the current one for a block; it does nothing where the call names none.

    A conversation is also the session, unless the application or the settings name another one.

    Args:
        call: A call of a framework.
    """

    __slots__ = ("_call", "_token")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._token: Token[Identity] | None = None

    def __enter__(self) -> None:
        call = self._call
        if call.conversation_id or call.user_id:
            here, running = identity.current(), runtime.pipeline
            configured = running.identity.session_id if running is not None else None
            named = replace(
                here,
                session_id=here.session_id or configured or call.conversation_id,
                user_id=call.user_id or here.user_id,
                conversation_id=call.conversation_id or here.conversation_id,
            )
            self._token = identity.current_identity.set(named)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                identity.current_identity.reset(token)
            except ValueError:  # closed in another context than it was entered in: that one is gone
                log.debug("The context of a call had changed")
