"""The streams of both SDKs under one form, to be ended in every way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import openai

from capture.anthropic_calls import REQUEST
from capture.openai_calls import CHAT, RESPONSE

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Source:
    """One kind of stream.

    Attributes:
        title: For the coverage table.
        client: Makes a client for a server.
        open: Opens a stream; for an asynchronous client, what is to be awaited.
        manager: Whether `open` gives a context manager that makes the request when it is entered.
        error: The base of the SDK's own errors.
    """

    title: str
    client: Callable[[Any], Any]
    open: Callable[[Any], Any]
    manager: bool = False
    error: type[Exception] = anthropic.AnthropicError


def sources() -> list[Source]:
    """The synchronous ones."""
    return _sources(
        lambda wire: anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0),
        lambda wire: openai.OpenAI(base_url=wire.openai_url, api_key="k", max_retries=0),
    )


def async_sources() -> list[Source]:
    """The asynchronous ones."""
    return _sources(
        lambda wire: anthropic.AsyncAnthropic(base_url=wire.url, api_key="k", max_retries=0),
        lambda wire: openai.AsyncOpenAI(base_url=wire.openai_url, api_key="k", max_retries=0),
    )


def _sources(anthropic_client: Callable[[Any], Any], openai_client: Callable[[Any], Any]) -> list[Source]:
    failed = openai.OpenAIError
    found = [
        Source("Anthropic stream=True", anthropic_client, lambda c: c.messages.create(**REQUEST, stream=True)),
        Source("Anthropic helper", anthropic_client, lambda c: c.messages.stream(**REQUEST), manager=True),
        Source(
            "OpenAI chat stream=True",
            openai_client,
            lambda c: c.chat.completions.create(**CHAT, stream=True),
            error=failed,
        ),
    ]
    if hasattr(openai.OpenAI(api_key="k"), "responses"):
        found += [
            Source(
                "OpenAI responses stream=True",
                openai_client,
                lambda c: c.responses.create(**RESPONSE, stream=True),
                error=failed,
            ),
            Source(
                "OpenAI responses helper",
                openai_client,
                lambda c: c.responses.stream(**RESPONSE),
                manager=True,
                error=failed,
            ),
        ]
    return found
