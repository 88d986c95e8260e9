"""The native API of Ollama: chat, generate and embeddings, whole and as JSON lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.http_client.endpoint import Endpoint
from cylestio_monitor.capture.http_client.provider_names import server
from cylestio_monitor.capture.parsing.fields import (
    as_dict,
    as_list,
    numbers_and_texts,
    other_fields,
    read_items,
    text_or_none,
    texts,
)
from cylestio_monitor.capture.parsing.reading import pass_over
from cylestio_monitor.capture.sdks.openai import chat, request_fields
from cylestio_monitor.capture.sdks.openai.content_blocks import blocks, tool_call
from cylestio_monitor.model import Call, Message, Part, Result, Usage

if TYPE_CHECKING:
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.pipeline import Invocation

_OPTIONS = {
    "num_predict": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "top_p": semconv.REQUEST_TOP_P,
    "top_k": semconv.REQUEST_TOP_K,
    "seed": semconv.REQUEST_SEED,
    "presence_penalty": semconv.REQUEST_PRESENCE_PENALTY,
    "frequency_penalty": semconv.REQUEST_FREQUENCY_PENALTY,
}
_READ = frozenset(
    {
        *("model", "messages", "tools", "stream", "options", "keep_alive", "think", "images", "raw", "context"),
        *("prompt", "system", "input", "truncate", "dimensions", "logprobs", "top_logprobs"),
    }
)
_TEXTS = {"thinking": "reasoning", "content": "text", "response": "text"}


def _call(client: Any, body: Any, operation: str) -> Call:
    given = as_dict(body)
    model, there = text_or_none(given.get("model")), server(client.base_url, client.__class__, None, "ollama")
    options = as_dict(given.get("options"))
    call = Call(operation, f"{operation} {model}" if model else operation, provider=there.provider, model=model)
    call.server_address, call.server_port = there.address, there.port
    call.attributes = numbers_and_texts(options, _OPTIONS)
    if stop := texts(options.get("stop")):
        call.attributes[semconv.REQUEST_STOP_SEQUENCES] = stop
    if form := given.get("format"):
        call.attributes[semconv.OUTPUT_TYPE] = "json"
        if not isinstance(form, dict):
            given = {**given, "format": None}
            if form != "json":
                pass_over(form)
    if operation != "embeddings" and given.get("stream", True):
        call.attributes[semconv.REQUEST_STREAM] = True
    call.system = read_items(blocks, given.get("system"), "system")
    if rest := other_fields(given, _READ, ""):
        call.messages.append(Message("user", rest))
    return call


def _chat(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "chat")
    given = as_dict(body)
    plain = [_without_images(item) for item in as_list(given.get("messages"))]
    call.messages += chat.messages({"messages": plain})
    call.tools = request_fields.tools(given)
    return call


def _without_images(message: Any) -> Any:
    entry = message if isinstance(message, dict) else {}
    return {name: value for name, value in entry.items() if name != "images"} if "images" in entry else message


def _generate(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "text_completion")
    call.messages += request_fields.prompts(as_dict(body).get("prompt"), "prompt")
    return call


def _embed(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "embeddings")
    given = as_dict(body)
    field = "input" if "input" in given else "prompt"
    call.messages += request_fields.prompts(given.get(field), field)
    return call


class LinesFold:
    """Collects the lines of a streamed answer; a whole answer is one line.

    Attributes:
        complete: Tool calls whose arguments have all arrived; see `Fold`.
    """

    def __init__(self, invocation: Invocation | None = None) -> None:
        """Feeds the texts to the invocation as they come, where one is given."""
        self.complete: list[Part] = []
        self._invocation = invocation
        self._judges = invocation is not None and invocation.can_block
        self._pieces: dict[str, list[str]] = {}
        self._streamed: dict[str, StreamedText] = {}
        self._calls: list[Part] = []
        self._last: dict[str, Any] = {}
        self._error: str | None = None

    def event(self, line: Any) -> None:
        """Takes the next line."""
        given = as_dict(line)
        self._last = given
        if given.get("error"):
            self._error = "error"
        message = as_dict(given.get("message"))
        prefix = "message." if message else ""
        for field in _TEXTS:
            text = text_or_none((message or given).get(field))
            if text:
                path = f"{prefix}{field}"
                self._pieces.setdefault(path, []).append(text)
                if self._invocation is not None:
                    if path not in self._streamed:
                        self._streamed[path] = self._invocation.streamed(path)
                    self._streamed[path].add(text)
        for call in as_list(message.get("tool_calls")):
            found = tool_call(call, f"message.tool_calls[{len(self._calls)}]")
            self._calls += found
            if self._judges:
                self.complete += found

    def result(self) -> Result:
        """Returns the answer as far as it has come."""
        last = self._last
        parts = [
            Part(_TEXTS[path.rpartition(".")[2]], "".join(pieces), path=path) for path, pieces in self._pieces.items()
        ]
        parts += self._calls
        reason = text_or_none(last.get("done_reason"))
        return Result(
            messages=[Message("assistant", parts, reason or "error")] if parts else [],
            model=text_or_none(last.get("model")),
            finish_reasons=[reason] if reason else [],
            usage=Usage(last.get("prompt_eval_count"), last.get("eval_count")),
            error_type=self._error,
        )


def _answer(given: Any, _: Call) -> Result:
    fold = LinesFold()
    fold.event(given)
    return fold.result()


def _embedded(given: Any, _: Call) -> Result:
    entry = as_dict(given)
    vectors = entry.get("embeddings") or [entry.get("embedding")]
    out = Result(model=text_or_none(entry.get("model")), usage=Usage(entry.get("prompt_eval_count")))
    if isinstance(vectors, list) and vectors and isinstance(vectors[0], list):
        out.attributes[semconv.EMBEDDINGS_DIMENSION_COUNT] = len(vectors[0])
    return out


ENDPOINTS = (
    (re.compile(r"/api/chat$"), "messages", Endpoint(_chat, _answer, LinesFold)),
    (re.compile(r"/api/generate$"), "model", Endpoint(_generate, _answer, LinesFold)),
    (re.compile(r"/api/embed$"), "input", Endpoint(_embed, _embedded, LinesFold)),
    (re.compile(r"/api/embeddings$"), "prompt", Endpoint(_embed, _embedded, LinesFold)),
)
"""The form of the path, a field that the body has, and the readers."""
