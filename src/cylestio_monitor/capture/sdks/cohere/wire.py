"""The API of Cohere, versions 1 and 2: chat, generate, embeddings and rerank, whole and streamed."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.http_client.endpoint import Endpoint
from cylestio_monitor.capture.http_client.provider_names import server
from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    as_list,
    label,
    numbers_and_texts,
    other_fields,
    place_of,
    read_items,
    text_or_none,
    texts,
    whole,
)
from cylestio_monitor.capture.sdks.openai import chat, request_fields
from cylestio_monitor.capture.sdks.openai.content_blocks import blocks, tool_call
from cylestio_monitor.model import Call, Message, Part, Result, Usage

if TYPE_CHECKING:
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.pipeline import Invocation

_PARAMETERS = {
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "p": semconv.REQUEST_TOP_P,
    "k": semconv.REQUEST_TOP_K,
    "seed": semconv.REQUEST_SEED,
    "frequency_penalty": semconv.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": semconv.REQUEST_PRESENCE_PENALTY,
}
_READ = frozenset(
    {
        *_PARAMETERS,
        *("model", "messages", "message", "chat_history", "preamble", "tools", "stream", "stop_sequences", "prompt"),
        *("texts", "inputs", "images", "input_type", "embedding_types", "truncate", "conversation_id", "safety_mode"),
        *("prompt_truncation", "citation_quality", "citation_options", "raw_prompting", "logprobs", "tool_choice"),
        *("strict_tools", "thinking", "output_dimension", "num_generations", "top_n", "query"),
    }
)
_SILENT = frozenset(
    {
        *("message-start", "content-end", "debug", "stream-start", "search-queries-generation"),
        *("tool-calls-chunk", "tool-input", "citation-end"),
    }
)
"""Events that say nothing, or only what others say again."""

_ROLES = {"USER": "user", "CHATBOT": "assistant", "SYSTEM": "system", "TOOL": "tool"}


def _call(client: Any, body: Any, operation: str) -> Call:
    given = as_dict(body)
    model, there = text_or_none(given.get("model")), server(client.base_url, client.__class__, None, "cohere")
    call = Call(operation, f"{operation} {model}" if model else operation, provider=there.provider, model=model)
    call.server_address, call.server_port = there.address, there.port
    call.attributes = numbers_and_texts(given, _PARAMETERS)
    if stop := texts(given.get("stop_sequences")):
        call.attributes[semconv.REQUEST_STOP_SEQUENCES] = stop
    if label(as_dict(given.get("response_format")).get("type")).startswith("json"):
        call.attributes[semconv.OUTPUT_TYPE] = "json"
    if given.get("stream"):
        call.attributes[semconv.REQUEST_STREAM] = True
    call.conversation_id = text_or_none(given.get("conversation_id"))
    call.system = read_items(blocks, given.get("preamble"), "preamble")
    if rest := other_fields(given, _READ, ""):
        call.messages.append(Message("user", rest))
    return call


def _chat(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "chat")
    given = as_dict(body)
    for place, item in enumerate(as_list(given.get("chat_history"))):
        entry = as_dict(item)
        role, path = label(entry.get("role")), f"chat_history[{place}]"
        rest = other_fields(entry, frozenset({"role", "message"}), path)
        parts = read_items(blocks, entry.get("message"), f"{path}.message")
        call.messages.append(Message(_ROLES.get(role, role), parts + rest))
    call.messages += chat.messages(given)
    if given.get("message") is not None:
        call.messages.append(Message("user", read_items(blocks, given["message"], "message")))
    call.tools = request_fields.tools(given)
    return call


def _generate(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "text_completion")
    call.messages += request_fields.prompts(as_dict(body).get("prompt"), "prompt")
    return call


def _texts(client: Any, body: Any, _: bool, *, operation: str) -> Call:
    call = _call(client, body, operation)
    given = as_dict(body)
    for field in ("query", "texts", "inputs"):
        call.messages += request_fields.prompts(given.get(field), field)
    return call


def _answer(given: Any, _: Call) -> Result:
    entry = as_dict(given)
    message = as_dict(entry.get("message"))
    parts: list[Part] = []
    if message:
        parts += chat.answered_parts(message, "message")
        if plan := text_or_none(message.get("tool_plan")):
            parts.insert(0, Part("reasoning", plan, path="message.tool_plan"))
    else:
        parts += read_items(blocks, entry.get("text") or None, "text")
        parts += _older_calls(entry.get("tool_calls"))
        for place, item in enumerate(as_list(entry.get("generations"))):
            parts += read_items(blocks, as_dict(item).get("text"), f"generations[{place}].text")
    return _result(parts, entry)


def _older_calls(value: Any) -> list[Part]:
    """The tool calls of version 1, which have no id."""
    found = enumerate(as_dict(item) for item in as_list(value))
    return [
        Part("tool_call", call.get("parameters"), text_or_none(call.get("name")), None, f"tool_calls[{place}]")
        for place, call in found
    ]


def _result(parts: list[Part], entry: dict[str, Any]) -> Result:
    reason = text_or_none(entry.get("finish_reason"))
    meta = as_dict(entry.get("usage")) or as_dict(entry.get("meta"))
    tokens = as_dict(meta.get("tokens")) or as_dict(meta.get("billed_units"))
    return Result(
        messages=[Message("assistant", parts, reason or "error")] if parts else [],
        response_id=text_or_none(entry.get("id") or entry.get("generation_id") or entry.get("response_id")),
        finish_reasons=[reason] if reason else [],
        usage=Usage(whole(tokens.get("input_tokens")), whole(tokens.get("output_tokens"))) if tokens else None,
    )


def _embedded(given: Any, call: Call) -> Result:
    entry = as_dict(given)
    vectors = entry.get("embeddings")
    if isinstance(vectors, dict):
        vectors = next((value for value in vectors.values() if value), None)
    out = _result([], entry)
    if call.operation == "embeddings" and isinstance(vectors, list) and vectors and isinstance(vectors[0], list):
        out.attributes[semconv.EMBEDDINGS_DIMENSION_COUNT] = len(vectors[0])
    return out


class CohereEventFold:
    """Collects the events of a streamed answer of either version.

    Attributes:
        complete: Tool calls whose arguments have all arrived; see `Fold`.
    """

    def __init__(self, invocation: Invocation) -> None:
        """Feeds the texts to the invocation as they come."""
        self.complete: list[Part] = []
        self._invocation = invocation
        self._judges = invocation.can_block
        self._texts: dict[str, tuple[str, StreamedText]] = {}
        self._calls: dict[Any, tuple[dict[str, Any], list[str]]] = {}
        self._older: list[Part] = []
        self._others: list[Part] = []
        self._end: dict[str, Any] = {}
        self._id: str | None = None

    def event(self, event: Any) -> None:
        """Takes the next event."""
        given = as_dict(event)
        kind = text_or_none(given.get("type")) or text_or_none(given.get("event_type"))
        delta = as_dict(given.get("delta"))
        message = as_dict(delta.get("message"))
        self._id = text_or_none(given.get("id") or given.get("generation_id")) or self._id
        if kind in {"content-start", "content-delta", "tool-plan-delta"}:
            self._content(place_of(given.get("index")), message)
        elif kind in {"tool-call-start", "tool-call-delta"}:
            self._call(place_of(given.get("index")), as_dict(message.get("tool_calls")))
        elif kind == "tool-call-end":
            self._judge([place_of(given.get("index"))])
        elif kind == "message-end":
            self._end = delta
            self._judge(list(self._calls))
        elif kind == "text-generation":
            self._add("text", "text", given.get("text"))
        elif kind == "tool-calls-generation":
            self._older = _older_calls(given.get("tool_calls"))
            self.complete += self._older if self._judges else []
        elif kind == "stream-end":
            self._end = {**as_dict(given.get("response")), "finish_reason": given.get("finish_reason")}
        elif kind not in _SILENT and given:
            self._others.append(Part(kind or "unknown", given, path="stream"))

    def _content(self, index: Any, message: dict[str, Any]) -> None:
        content = as_dict(message.get("content"))
        self._add(f"message.content[{index}]", "text", content.get("text"))
        self._add(f"message.content[{index}].thinking", "reasoning", content.get("thinking"))
        self._add("message.tool_plan", "reasoning", message.get("tool_plan"))

    def _add(self, path: str, kind: str, value: Any) -> None:
        if text := text_or_none(value):
            if path not in self._texts:
                self._texts[path] = (kind, self._invocation.streamed(path))
            self._texts[path][1].add(text)

    def _call(self, index: Any, call: dict[str, Any]) -> None:
        begun, pieces = self._calls.setdefault(index, (call, []))
        function = as_dict(call.get("function"))
        if not as_dict(begun.get("function")).get("name") and function.get("name"):
            self._calls[index] = (call, pieces)
        if (piece := text_or_none(function.get("arguments"))) is not None:
            pieces.append(piece)

    def _part(self, index: Any) -> Part:
        call, pieces = self._calls[index]
        (part,) = tool_call(call, f"message.tool_calls[{index}]")
        part.content = arguments("".join(pieces))
        return part

    def _judge(self, indexes: list[Any]) -> None:
        if self._judges:
            self.complete += [self._part(index) for index in indexes if index in self._calls]

    def result(self) -> Result:
        """Returns the answer as far as it has come."""
        parts = [Part(kind, "".join(text.pieces), path=path) for path, (kind, text) in self._texts.items()]
        parts += [self._part(index) for index in self._calls] + self._older + self._others
        out = _result(parts, self._end)
        out.response_id = out.response_id or self._id
        return out


_CHAT = Endpoint(_chat, _answer, CohereEventFold)
_EMBED = Endpoint(functools.partial(_texts, operation="embeddings"), _embedded, CohereEventFold)
_RERANK = Endpoint(functools.partial(_texts, operation="rerank"), _embedded, CohereEventFold)
ENDPOINTS = (
    (re.compile(r"/v2/chat$"), "messages", _CHAT),
    (re.compile(r"/v1/chat$"), "message", _CHAT),
    (re.compile(r"/v1/generate$"), "prompt", Endpoint(_generate, _answer, CohereEventFold)),
    (re.compile(r"/v[12]/embed$"), "model", _EMBED),
    (re.compile(r"/v[12]/rerank$"), "query", _RERANK),
)
"""The form of the path, a field that the body has, and the readers."""
