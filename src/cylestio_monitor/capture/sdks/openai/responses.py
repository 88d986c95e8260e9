"""The OpenAI responses API as `Call` and `Result`: requests, answers, and the events of a stream.

Paths name places in the JSON: ``input``, ``input[3].content[0]``, ``instructions``, ``output[0].content[0]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.conversations import Conversations
from cylestio_monitor.capture.parsing.fields import arguments, as_dict, as_list, members, number, text_or_none
from cylestio_monitor.capture.sdks.openai.chat import block
from cylestio_monitor.model import Message, Part, Result, Usage

if TYPE_CHECKING:
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.model import Call
    from cylestio_monitor.pipeline import Invocation

_UNFINISHED = frozenset({"in_progress", "queued"})


conversations = Conversations()


def conversation(body: dict[str, Any]) -> str | None:
    """The conversation that a request names: its own, or the one of the response before."""
    given = body.get("conversation")
    if found := text_or_none(given.get("id") if isinstance(given, dict) else given):
        return found
    return conversations.of(text_or_none(body.get("previous_response_id")))


def system(body: dict[str, Any]) -> list[Part]:
    """The instructions."""
    given = body.get("instructions")
    return [Part("text", given, path="instructions")] if isinstance(given, str) else []


def messages(body: dict[str, Any]) -> list[Message]:
    """The input: one text, or items of many kinds."""
    given = body.get("input")
    if isinstance(given, str):
        return [Message("user", [Part("text", given, path="input")])]
    return [_item(as_dict(item), f"input[{place}]") for place, item in enumerate(as_list(given))]


def _item(item: dict[str, Any], path: str) -> Message:
    """One item, of an input or an output: a message, a tool call, its result, or what the model thought."""
    kind = item.get("type") or "message"
    call_id = item.get("call_id") or item.get("id")
    if kind == "message":
        content = item.get("content")
        if isinstance(content, str):
            return Message(item.get("role") or "user", [Part("text", content, path=f"{path}.content")])
        parts = [block(piece, f"{path}.content[{place}]") for place, piece in enumerate(as_list(content))]
        return Message(item.get("role") or "user", parts)
    if kind == "reasoning":
        found = [
            Part("reasoning", as_dict(piece).get("text"), path=f"{path}.{field}[{place}]")
            for field in ("summary", "content")
            for place, piece in enumerate(as_list(item.get(field)))
        ]
        return Message("assistant", found or [Part("reasoning", None, path=path)])
    if kind == "function_call":
        content = arguments(item.get("arguments"))
        return Message("assistant", [Part("tool_call", content, item.get("name"), call_id, f"{path}.arguments")])
    if kind == "custom_tool_call":
        return Message("assistant", [Part("tool_call", item.get("input"), item.get("name"), call_id, f"{path}.input")])
    if kind.endswith("_output"):
        output = item.get("output")
        response = Part("tool_call_response", _without_images(output), item.get("name"), call_id, f"{path}.output")
        return Message("tool", [response])
    if kind == "mcp_call":
        content = arguments(item.get("arguments"))
        call = Part("server_tool_call", content, item.get("name"), call_id, f"{path}.arguments")
        response = Part("server_tool_call_response", item.get("output"), item.get("name"), call_id, f"{path}.output")
        return Message("assistant", [call, response] if item.get("output") is not None else [call])
    if kind.endswith("_call"):
        rest = {
            name: value for name, value in item.items() if name not in {"type", "id", "call_id", "status", "result"}
        }
        on_the_server = kind in {
            "web_search_call",
            "file_search_call",
            "code_interpreter_call",
            "image_generation_call",
        }
        part = "server_tool_call" if on_the_server else "tool_call"
        return Message("assistant", [Part(part, rest, kind.removesuffix("_call"), call_id, path)])
    rest = {name: value for name, value in item.items() if name not in {"type", "id", "encrypted_content"}}
    return Message("assistant", [Part(kind, rest, path=path)])


def _without_images(output: Any) -> Any:
    """The output of a tool, without the bytes of images and files in it."""
    if isinstance(output, list):
        return [_without_images(item) for item in output]
    if not isinstance(output, dict):
        return output
    return {
        name: value
        for name, value in output.items()
        if name != "file_data" and not (name == "image_url" and str(value).startswith("data:"))
    }


def answer(response: Any, call: Call) -> Result:
    """A whole response."""
    parts: list[Part] = []
    for place, item in enumerate(as_list(members(response)("output"))):
        parts += _answer_item(item, f"output[{place}]")
    return _result(response, parts, call)


def _answer_item(item: Any, path: str) -> list[Part]:
    if item.type == "message":  # the usual item, read without making a mapping of it first
        return [
            Part("text", piece.text, path=f"{path}.content[{place}]")
            if piece.type == "output_text"
            else block(piece, f"{path}.content[{place}]")
            for place, piece in enumerate(item.content)
        ]
    return _item(as_dict(item), path).parts


def _result(response: Any, parts: list[Part], call: Call) -> Result:
    get = members(response)
    status = text_or_none(get("status"))
    reason = text_or_none(members(get("incomplete_details"))("reason")) or (
        status if status not in _UNFINISHED else None
    )
    out = Result(
        messages=[Message("assistant", parts, reason)] if parts else [],
        response_id=text_or_none(get("id")),
        model=text_or_none(get("model")),
        finish_reasons=[reason] if reason else [],
        usage=usage(get("usage")),
    )
    if tier := text_or_none(get("service_tier")):
        out.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] = tier
    if status == "failed":
        out.error_type = text_or_none(members(get("error"))("code")) or "failed"
    if response is not None and get("conversation") is None:
        conversations.add(out, call)
    return out


def usage(given: Any) -> Usage | None:
    """Token counts of a response."""
    if given is None:
        return None
    get = members(given)
    read, written = members(get("input_tokens_details")), members(get("output_tokens_details"))
    return Usage(
        input_tokens=number(get("input_tokens")),
        output_tokens=number(get("output_tokens")),
        cache_read=number(read("cached_tokens")),
        cache_write=number(read("cache_write_tokens")),
        reasoning=number(written("reasoning_tokens")),
    )


_TEXT_DELTAS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING_DELTAS = {
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.reasoning_text.delta": ("content", "content_index"),
}
_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})


class EventFold:
    """Collects the events of a streamed response. The last one holds the whole; the others count if it is missing."""

    __slots__ = ("_begun", "_done", "_error", "_invocation", "_items", "_texts", "_whole")

    def __init__(self, invocation: Invocation) -> None:
        """Feeds the texts to the invocation as they come."""
        self._invocation = invocation
        self._begun: Any = None
        self._whole: Any = None
        self._error: str | None = None
        self._texts: dict[str, tuple[str, StreamedText]] = {}
        self._items: dict[int, Any] = {}
        self._done: set[int] = set()

    def event(self, event: Any) -> None:
        """Takes the next event. The branches stand in the order of how often they come."""
        kind = event.type
        if kind in _TEXT_DELTAS:
            self._text("text", f"output[{event.output_index}].content[{event.content_index}]", event.delta)
        elif kind in _REASONING_DELTAS:
            field, place = _REASONING_DELTAS[kind]
            self._text("reasoning", f"output[{event.output_index}].{field}[{getattr(event, place)}]", event.delta)
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            self._items[event.output_index] = event.item
            if kind.endswith("done"):
                self._done.add(event.output_index)
        elif kind == "response.created":
            self._begun = event.response
        elif kind in _LAST:
            self._whole = event.response
        elif kind == "error":
            self._error = str(getattr(event, "code", None) or "error")

    def _text(self, kind: str, path: str, text: str) -> None:
        found = self._texts.get(path)
        if found is None:
            found = self._texts[path] = (kind, self._invocation.streamed(path))
        found[1].add(text)

    def result(self) -> Result:
        """The response, as far as it has come."""
        if self._whole is not None:
            return answer(self._whole, self._invocation.call)
        parts = [Part(kind, "".join(text.pieces), path=path) for path, (kind, text) in self._texts.items()]
        for index in sorted(self._done):
            item = self._items[index]
            if item.type not in {"message", "reasoning"}:
                parts += _answer_item(item, f"output[{index}]")
        out = _result(self._begun, parts, self._invocation.call)
        out.error_type = self._error or out.error_type
        return out
