"""Recognition of a model call by the path and the body of an HTTP request."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.sdks.anthropic import endpoints as anthropic
from cylestio_monitor.capture.sdks.cohere import wire as cohere
from cylestio_monitor.capture.sdks.google_genai import wire as gemini
from cylestio_monitor.capture.sdks.ollama import wire as ollama
from cylestio_monitor.capture.sdks.openai import endpoints as openai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cylestio_monitor.capture.http_client.endpoint import Endpoint

_NATIVE = (*ollama.ENDPOINTS, *cohere.ENDPOINTS, *gemini.ENDPOINTS)
_COMPATIBLE = (
    (re.compile(r"/chat/completions$|/(fim|agents)/completions$"), ("messages", "prompt"), "/chat/completions"),
    (re.compile(r"/v\d+[a-z]*/responses$|/openai/responses$"), ("input", "prompt"), "/responses"),
    (re.compile(r"/completions$"), ("prompt",), "/completions"),
    (re.compile(r"/v\d+[a-z]*/embeddings$|/deployments/[^/]+/embeddings$"), ("input",), "/embeddings"),
)
"""The form of the path, the fields of which the body has one, and the path that the readers of OpenAI know."""

_BY_FIELD = (
    ("contents", gemini.ENDPOINTS[0][2]),
    ("messages", openai.endpoint("post", "/chat/completions")),
    ("message", cohere.ENDPOINTS[1][2]),
    ("input", openai.endpoint("post", "/responses")),
    ("prompt", openai.endpoint("post", "/completions")),
)
"""The field of the body by which the format is told at a host that the user has named."""

_BY_AGENT = {"mistralai": "mistral_ai", "mistral-client-python": "mistral_ai"}
"""The SDKs that speak the format of another provider, by a word of their ``User-Agent``."""

UNKNOWN = ollama.ENDPOINTS[0][2]
"""The readers of an answer to a request that cannot be read; what they do not know is left out."""

_ANTHROPIC = "anthropic-version"


@functools.lru_cache(maxsize=1024)
def may_be_model_call(path: str) -> bool:
    """Tells by the path alone whether a request may be a call of a model."""
    path = path.rstrip("/")
    forms = (*(form for form, _, _ in _NATIVE), *(form for form, _, _ in _COMPATIBLE))
    return anthropic.endpoint("post", path) is not None or any(form.search(path) for form in forms)


def find(path: str, body: Any, headers: Mapping[str, str], *, is_named: bool) -> Endpoint | None:
    """Returns the readers of a request; ``None`` for one that calls no model.

    Args:
        path: The path of the URL.
        body: The parsed body.
        headers: The headers of the request, with names in small letters.
        is_named: The user has named the host as one that serves models, under whichever path.
    """
    if not isinstance(body, dict):
        return None
    path = path.rstrip("/")
    if (found := anthropic.endpoint("post", path)) is not None and _speaks(body):
        return found
    for form, field, endpoint in _NATIVE:
        if form.search(path) and field in body:
            return endpoint
    for form, fields, known in _COMPATIBLE:
        if form.search(path) and any(field in body for field in fields) and ("messages" not in body or _speaks(body)):
            return openai.endpoint("post", known)
    if is_named:
        if _ANTHROPIC in headers and "messages" in body:
            return anthropic.endpoint("post", "/v1/messages")
        return next((endpoint for field, endpoint in _BY_FIELD if field in body), None)
    return None


def _speaks(body: dict[str, Any]) -> bool:
    """Tells a body with messages that have a role, or with requests, prompts or questions instead."""
    given = body.get("messages")
    if given is None:
        return any(field in body for field in ("prompt", "requests", "input"))
    return isinstance(given, list) and (not given or any(isinstance(item, dict) and "role" in item for item in given))


def provider_by_agent(agent: str) -> str | None:
    """Returns the provider of the SDK that a ``User-Agent`` names, for a host that is not known."""
    return next((provider for name, provider in _BY_AGENT.items() if name in agent), None)
