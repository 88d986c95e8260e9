"""The Llama API: requests as those of OpenAI, answers in a format of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.http_client.endpoint import Endpoint
from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    as_list,
    label,
    read_items,
    text_or_none,
    whole,
)
from cylestio_monitor.capture.sdks.openai import endpoints as openai
from cylestio_monitor.capture.sdks.openai.content_blocks import blocks, tool_call
from cylestio_monitor.model import Message, Part, Result, Usage

if TYPE_CHECKING:
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.model import Call
    from cylestio_monitor.pipeline import Invocation

PACKAGE = "llama_api_client"
_CHAT = openai.endpoint("post", "/chat/completions")


def _usage(metrics: Any) -> Usage | None:
    counts = {label(as_dict(item).get("metric")): as_dict(item).get("value") for item in as_list(metrics)}
    if not counts:
        return None
    return Usage(whole(counts.get("num_prompt_tokens")), whole(counts.get("num_completion_tokens")))


def _answer(completion: Any, _: Call) -> Result:
    given = as_dict(completion)
    message = as_dict(given.get("completion_message"))
    reason = text_or_none(message.get("stop_reason"))
    parts = read_items(blocks, message.get("content"), "completion_message.content")
    parts += read_items(tool_call, message.get("tool_calls"), "completion_message.tool_calls")
    return Result(
        messages=[Message("assistant", parts, reason or "error")] if parts else [],
        response_id=text_or_none(given.get("id")),
        finish_reasons=[reason] if reason else [],
        usage=_usage(given.get("metrics")),
    )


class LlamaEventFold:
    """Collects the events of a streamed answer.

    Attributes:
        complete: Tool calls whose arguments have all arrived; see `Fold`.
    """

    def __init__(self, invocation: Invocation) -> None:
        """Feeds the text to the invocation as it comes."""
        self.complete: list[Part] = []
        self._invocation = invocation
        self._text: StreamedText | None = None
        self._calls: list[tuple[dict[str, Any], list[str]]] = []
        self._reason: str | None = None
        self._usage: Usage | None = None

    def event(self, chunk: Any) -> None:
        """Takes the next event."""
        event = as_dict(as_dict(chunk).get("event"))
        delta = as_dict(event.get("delta"))
        if text := text_or_none(delta.get("text")):
            self._text = self._text or self._invocation.streamed("completion_message.content")
            self._text.add(text)
        if delta.get("type") == "tool_call" or "function" in delta:
            function = as_dict(delta.get("function"))
            if function.get("name") or not self._calls:
                self._calls.append((delta, []))
            if (piece := text_or_none(function.get("arguments"))) is not None:
                self._calls[-1][1].append(piece)
        self._reason = text_or_none(event.get("stop_reason")) or self._reason
        self._usage = _usage(event.get("metrics")) or self._usage
        if self._invocation.can_block and (self._reason or event.get("event_type") == "complete"):
            self.complete += self._tool_calls()

    def _tool_calls(self) -> list[Part]:
        out = []
        for place, (call, pieces) in enumerate(self._calls):
            function = as_dict(call.get("function"))
            path = f"completion_message.tool_calls[{place}].function.arguments"
            name, id_ = text_or_none(function.get("name")), text_or_none(call.get("id"))
            out.append(Part("tool_call", arguments("".join(pieces)), name, id_, path))
        return out

    def result(self) -> Result:
        """Returns the answer as far as it has come."""
        parts = [Part("text", "".join(self._text.pieces), path="completion_message.content")] if self._text else []
        parts += self._tool_calls()
        return Result(
            messages=[Message("assistant", parts, self._reason or "error")] if parts else [],
            finish_reasons=[self._reason] if self._reason else [],
            usage=self._usage,
        )


def endpoint(method: str, url: str) -> Endpoint | None:
    """Returns the endpoint of a chat completion."""
    if openai.endpoint(method, url) is not _CHAT or _CHAT is None:
        return None
    return Endpoint(_CHAT.call, _answer, LlamaEventFold)
