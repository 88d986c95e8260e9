"""Instrumentation scopes: whose spans are of GenAI operations, may be, or are none."""

from __future__ import annotations

import re

from cylestio_monitor import semconv

_MAX_SCOPES = 1000
_FRAMEWORKS = r"langchain|langgraph|llama.?index|haystack|crewai|agno|autogen|litellm|dspy|smolagents|semantic|strands"
_GENAI_SCOPE = (
    rf"(?:{_FRAMEWORKS}|gen.?ai|generative|anthropic|claude|openai|openlit|bedrock|cohere|mistral|ollama|groq|gemini"
    r"|vertexai|together|replicate|watsonx|sagemaker|transformers|openinference|traceloop|llm|agent|mcp|logfire)"
)
_OTHER_INSTRUMENTATION = r"opentelemetry\.instrumentation\.(?!botocore)"

IGNORED, POSSIBLE, GENAI = range(3)

OPENLLMETRY_RESPONSES = "opentelemetry.instrumentation.openai.v1.responses_wrappers"
"""The module whose functions are around a call of which OpenLLMetry makes the span afterwards."""

silent: set[str] = set()
"""Scopes whose content was switched on by us, for the scan alone: it does not stay on their spans."""

known: dict[str, int] = {semconv.SCOPE: IGNORED}
"""The classification of each scope that was met."""


def classify(scope: str) -> int:
    """`GENAI`, `POSSIBLE`, where the span's attributes have to tell, or `IGNORED`."""
    kind = IGNORED if re.match(_OTHER_INSTRUMENTATION, scope) else POSSIBLE
    kind = GENAI if re.search(_GENAI_SCOPE, scope, re.IGNORECASE) else kind
    if len(known) < _MAX_SCOPES:
        known[scope] = kind
    return kind


def is_framework(scope: str) -> bool:
    """Returns whether it is one of the frameworks that call several providers' SDKs."""
    return re.search(_FRAMEWORKS, scope, re.IGNORECASE) is not None
