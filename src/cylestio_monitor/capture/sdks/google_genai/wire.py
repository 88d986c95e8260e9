"""The REST API of Gemini, for calls that are made without the SDK."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.http_client.endpoint import Endpoint
from cylestio_monitor.capture.http_client.provider_names import server
from cylestio_monitor.capture.parsing.fields import as_list, other_fields
from cylestio_monitor.capture.sdks.google_genai import content
from cylestio_monitor.model import Call, Message

if TYPE_CHECKING:
    from cylestio_monitor.model import Result

_MODEL = re.compile(r"/models/([^/:]+):(\w+)$")
_READ = frozenset(
    {
        *("contents", "content", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"),
        *("cachedContent", "requests", "model", "labels", "taskType", "outputDimensionality", "store"),
    }
)
_NO_TEXT = frozenset(
    {
        *("stopSequences", "responseMimeType", "responseModalities", "candidateCount", "maxOutputTokens"),
        *("temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs"),
        *("thinkingConfig", "speechConfig", "mediaResolution", "enableEnhancedCivicAnswers", "imageConfig"),
    }
)


def _call(client: Any, body: Any, operation: str) -> Call:
    found = _MODEL.search(client.path)
    model, there = found.group(1) if found else "", server(client.base_url, client.__class__, None, "gcp.gemini")
    call = Call(operation, f"{operation} {model}", provider=there.provider, model=model)
    call.server_address, call.server_port = there.address, there.port
    given = content.fields(body)
    config = content.fields(given.get("generationConfig"))
    call.attributes = content.parameters(config)
    if rest := [*other_fields(given, _READ, ""), *other_fields(config, _NO_TEXT, "generationConfig")]:
        call.messages.append(Message("user", rest))
    for message in content.messages(given.get("systemInstruction"), "systemInstruction", "system"):
        call.system += message.parts
    call.tools = content.tools(given.get("tools"), "tools")
    return call


def _generate(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "generate_content")
    call.messages += content.messages(content.fields(body).get("contents"), "contents")
    if ":stream" in client.path:
        call.attributes[semconv.REQUEST_STREAM] = True
    return call


def _embed(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "embeddings")
    given = content.fields(body)
    call.messages += content.messages(given.get("content"), "content")
    for place, request in enumerate(as_list(given.get("requests"))):
        call.messages += content.messages(content.fields(request).get("content"), f"requests[{place}].content")
    return call


def _answer(given: Any, call: Call) -> Result:
    return content.answer(given, call)


_GENERATE = Endpoint(_generate, _answer, content.AnswerFold)
_EMBED = Endpoint(_embed, content.embedded, content.AnswerFold)
ENDPOINTS = (
    (re.compile(r"/models/[^/:]+:(generateContent|streamGenerateContent)$"), "contents", _GENERATE),
    (re.compile(r"/models/[^/:]+:embedContent$"), "content", _EMBED),
    (re.compile(r"/models/[^/:]+:batchEmbedContents$"), "requests", _EMBED),
)
"""The form of the path, a field that the body has, and the readers."""
