"""Reports the errors of a model call that the program handles itself: what failed, how often, what was done instead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cylestio_monitor import log_error, log_event, start_monitoring, stop_monitoring

if TYPE_CHECKING:
    from collections.abc import Callable

ATTEMPTS = 3
FALLBACK = "I cannot answer right now. Please try again in a minute."


def answer(ask: Callable[[str], str], question: str) -> str:
    """The model's answer, or a fixed one after three failures."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask(question)
        except (TimeoutError, ConnectionError) as error:
            log_error("llm_call_failed", error, {"attempt": attempt, "of": ATTEMPTS}, channel="LLM")
            time.sleep(0.01 * 2**attempt)
    log_event("llm_fallback_used", {"after_attempts": ATTEMPTS}, channel="LLM", level="WARNING")
    return FALLBACK


def overloaded(question: str) -> str:
    """Stands for a model that does not answer."""
    raise TimeoutError(f"no answer to a question of {len(question)} characters")


if __name__ == "__main__":
    start_monitoring("support-agent")
    print(answer(overloaded, "How do I change my address?"))
    stop_monitoring()
