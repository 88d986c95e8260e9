"""A span as the current one, for exactly as long as a request takes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from opentelemetry import context, trace

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.trace import Span

log = logging.getLogger(__name__)


class Attached:
    """Makes a span current; left silently also where the context changed hands meanwhile."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        """Attaches nothing yet."""
        self._span = span

    def __enter__(self) -> None:
        self._token = context.attach(trace.set_span_in_context(self._span))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            # `context.detach` logs an error where a coroutine was finished in another context than it began in;
            # nothing is left attached here in that case, so there is nothing to say.
            self._token.var.reset(self._token)
        except ValueError:
            log.debug("The context of a call had changed hands")
        except AttributeError:  # a context implementation of its own (OTEL_PYTHON_CONTEXT)
            context.detach(self._token)
