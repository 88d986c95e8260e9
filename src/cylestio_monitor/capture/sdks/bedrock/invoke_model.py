"""Bodies of `invoke_model`: each model family has its own format, read by the reader of the provider if any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.capture.parsing.fields import (
    Fields,
    as_dict,
    as_list,
    as_object,
    label,
    number,
    other_fields,
    read_items,
    text_or_none,
)
from cylestio_monitor.capture.sdks.anthropic import answers as anthropic_answers
from cylestio_monitor.capture.sdks.anthropic import messages as anthropic_messages
from cylestio_monitor.capture.sdks.bedrock import converse, facts
from cylestio_monitor.capture.sdks.openai import chat, request_fields
from cylestio_monitor.capture.sdks.openai.chat_stream import ChunkFold
from cylestio_monitor.model import Message, Part, Result, ToolDefinition, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.capture.http_client.endpoint import Fold
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.model import Call
    from cylestio_monitor.pipeline import Invocation

_TEXTS = ("text", "generation", "outputText", "completion", "delta")
_NOT_CONTENT = frozenset(
    {
        *facts.PARAMETERS,
        *("system", "tools", "toolConfig", "tool_config", "modelId", "anthropic_version", "schemaVersion", "stream"),
        *("num_generations", "return_likelihoods", "truncate", "embeddingTypes", "embedding_types", "normalize"),
    }
)


_NOVA = frozenset({*facts.PARAMETERS, *_NOT_CONTENT, "messages"}) - {"additionalModelRequestFields"}


def _family(model: str, body: dict[str, Any]) -> str:
    """Returns the format of a request: by its fields, and by the name of the model where they leave it open."""
    if "anthropic" in model or "anthropic_version" in body:
        return "anthropic"
    if "nova" in model or "schemaVersion" in body or "inferenceConfig" in body:
        return "converse"
    return "openai" if "messages" in body else "other"


def read_request(call: Call, body: dict[str, Any]) -> None:
    """Fills a call from the body of a request."""
    family = _family(call.model or "", body)
    if family == "anthropic":
        call.system = anthropic_messages.system(body)
        call.messages = anthropic_messages.messages(body)
        call.tools = anthropic_messages.tools(body)
        if "prompt" in body:
            call.messages += message_parts.messages(body["prompt"], "prompt", "user")
    elif family == "converse":
        call.system = converse.system(body)
        call.messages = converse.messages(body.get("messages"))
        if rest := other_fields(converse.without_bytes(body), _NOVA, ""):
            call.messages.insert(0, Message("user", rest))
        call.tools = converse.tools(body.get("toolConfig") or body.get("tool_config"))
    elif family == "openai":
        call.messages = [*request_fields.other_text(body), *chat.messages(body)]
        call.tools = request_fields.tools(body)
    else:
        call.system = message_parts.parts(body.get("preamble") or body.get("system"), "system")
        known = {"preamble", "system", "images", "inputImage"}
        asked = {name: value for name, value in body.items() if name not in _NOT_CONTENT and name not in known}
        call.messages = message_parts.messages(converse.without_bytes(asked), "", "user")
        call.tools = _cohere_tools(body.get("tools"))


def _cohere_tools(given: Any) -> list[ToolDefinition]:
    """The tools of Cohere's older format, whose parameters have another name."""
    found = []
    for place, item in enumerate(as_list(given)):
        tool = as_dict(item)
        schema = tool.get("parameter_definitions", tool.get("parameters"))
        description = text_or_none(tool.get("description"))
        found.append(ToolDefinition(label(tool.get("name")), description, schema, path=f"tools[{place}]"))
    return found


def answer(body: Any, call: Call, headers: Any) -> Result:
    """Reads a whole answer.

    Args:
        body: The parsed body, or its text where it is no JSON.
        call: The call.
        headers: The HTTP headers of the answer, which hold token counts.
    """
    given = as_dict(body)
    if not given:
        parts = [Part("text", body, path="")] if body else []
        return Result(messages=[Message("assistant", parts, "error")] if parts else [], usage=facts.usage({}, headers))
    if isinstance(given.get("content"), list):
        out = anthropic_answers.answer(body, call)
    elif "choices" in given:
        out = chat.answer(body, call)
    elif "output" in given:
        out = converse.answer(body)
    elif "embedding" in given or "embeddings" in given or "embeddingsByType" in given:
        out = _embedded(given)
    else:
        out = Result(messages=message_parts.messages(given, "", "assistant"))
    out.finish_reasons = facts.finish_reasons(given) or out.finish_reasons
    for message, reason in zip(out.messages, out.finish_reasons, strict=False):
        message.finish_reason = reason
    counted = facts.usage(given, headers)
    out.usage = facts.merged(out.usage or Usage(), counted)
    if details := as_dict(as_dict(given.get("usage")).get("completion_tokens_details")):
        out.usage.reasoning = number(details.get("reasoning_tokens"))
    out.response_id = out.response_id or text_or_none(given.get("id"))
    return out


def _embedded(given: dict[str, Any]) -> Result:
    out = Result()
    vectors = given.get("embedding") or given.get("embeddings")
    if isinstance(vectors, dict):
        vectors = next(iter(vectors.values()), None)
    first = vectors[0] if isinstance(vectors, list) and vectors and isinstance(vectors[0], list) else vectors
    if isinstance(first, list):
        out.attributes[semconv.EMBEDDINGS_DIMENSION_COUNT] = len(first)
    return out


_CONVERSE_EVENTS = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
)


class InvokeFold:
    """Collects the pieces of `invoke_model_with_response_stream`, each in the model's own format.

    The format follows from the first piece: the id of a model may be a profile that does not name its family.
    """

    def __init__(self, invocation: Invocation, headers: Any = None) -> None:
        """Feeds the texts to the invocation as they come."""
        self._invocation = invocation
        self._inner: Fold | None = None
        self._usage = facts.usage({}, headers)
        self._reasons: list[str] = []

    @property
    def complete(self) -> list[Part]:
        """Tool calls that are complete; see `Fold`."""
        return self._inner.complete if self._inner is not None else []

    @complete.setter
    def complete(self, parts: list[Part]) -> None:
        if self._inner is not None:
            self._inner.complete = parts

    def event(self, value: Fields) -> None:
        """Takes the next piece, as parsed JSON."""
        value = as_object(value)
        if facts.METRICS in value:
            self._usage = facts.merged(self._usage, facts.usage(value))
        self._reasons = facts.finish_reasons(value) or self._reasons
        if self._inner is None or (isinstance(self._inner, _TextFold) and self._inner.is_empty):
            if value.keys() <= {facts.METRICS}:
                return
            self._inner = _fold_for(value)(self._invocation)
        if not isinstance(self._inner, ChunkFold) or "choices" in value:
            self._inner.event(value)

    def result(self) -> Result:
        """Returns the answer as far as it has come."""
        out = self._inner.result() if self._inner is not None else Result()
        out.usage = facts.merged(out.usage or Usage(), self._usage)
        out.finish_reasons = out.finish_reasons or self._reasons
        for message, reason in zip(out.messages, out.finish_reasons, strict=False):
            message.finish_reason = reason
        return out


def _fold_for(value: Fields) -> Callable[[Invocation], Fold]:
    """Returns the collector for the format of a first piece."""
    if isinstance(value.get("type"), str):
        return anthropic_answers.MessageFold
    if "choices" in value:
        return ChunkFold
    return _TextFold if _CONVERSE_EVENTS.isdisjoint(value) else converse.ConverseFold


class _TextFold:
    """Collects pieces of text, under whichever name the family gives it, and keeps other content as it is."""

    def __init__(self, invocation: Invocation) -> None:
        self.complete: list[Part] = []
        self._invocation = invocation
        self._text: StreamedText | None = None
        self._others: list[Part] = []
        self._usage = Usage()

    @property
    def is_empty(self) -> bool:
        return self._text is None and not self._others

    def event(self, value: Fields) -> None:
        self._usage = facts.merged(self._usage, facts.usage(value))
        entries = [as_dict(item) for name in ("outputs", "generations") for item in as_list(value.get(name))]
        for entry in (value, *entries):
            delta = as_dict(entry["delta"]) if isinstance(entry.get("delta"), dict) else {}
            for source in ({**entry, "delta": None} if delta else entry, delta):
                text = next((found for name in _TEXTS if (found := text_or_none(source.get(name)))), None)
                if text is not None:
                    self._text = self._text or self._invocation.streamed("content[0]")
                    self._text.add(text)
            calls = entry.get("tool_calls") or delta.get("tool_calls")
            if calls:
                self._others += read_items(_call, calls, "tool_calls")
                self.complete += self._others if self._invocation.can_block else []

    def result(self) -> Result:
        parts = [Part("text", "".join(self._text.pieces), path="content[0]")] if self._text is not None else []
        parts += self._others
        return Result(messages=[Message("assistant", parts, "error")] if parts else [], usage=self._usage)


def _call(item: Any, path: str) -> list[Part]:
    return [message_parts.part({"type": "tool_call", **as_dict(item)}, path)]
