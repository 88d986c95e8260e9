"""OpenAI chat completions, completions and embeddings as `Call` and `Result`.

A request is the JSON that goes over the wire. An answer is an object of the SDK, or the same as parsed JSON with
attributes. Paths name places in that JSON: ``messages[2].content[0]``, ``choices[0].message.content``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.fields import (
    arguments,
    as_dict,
    as_list,
    data_url_type,
    members,
    number,
    numbers_and_texts,
    text_or_none,
    texts,
)
from cylestio_monitor.model import Message, Part, Result, ToolDefinition, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.model import AttributeValue, Call
    from cylestio_monitor.pipeline import Invocation

_PARAMETERS = {
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "max_completion_tokens": semconv.REQUEST_MAX_TOKENS,
    "max_output_tokens": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "top_p": semconv.REQUEST_TOP_P,
    "frequency_penalty": semconv.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": semconv.REQUEST_PRESENCE_PENALTY,
    "seed": semconv.REQUEST_SEED,
    "reasoning_effort": semconv.REQUEST_REASONING_LEVEL,
    "dimensions": semconv.EMBEDDINGS_DIMENSION_COUNT,
    "service_tier": semconv.OPENAI_REQUEST_SERVICE_TIER,
}


_PLAIN = frozenset({"role", "content", "name"})
"""The fields of a message that says something, and nothing else."""


def parameters(body: dict[str, Any]) -> dict[str, AttributeValue]:
    """What a request asks of the model, as span attributes."""
    out = numbers_and_texts(body, _PARAMETERS)
    if "stop" in body and (stop := texts(body["stop"])):
        out[semconv.REQUEST_STOP_SEQUENCES] = stop
    if isinstance(choices := body.get("n"), int) and choices != 1:
        out[semconv.REQUEST_CHOICE_COUNT] = choices
    if "response_format" in body or "text" in body:
        form = as_dict(body.get("response_format")) or as_dict(as_dict(body.get("text")).get("format"))
        if isinstance(kind := form.get("type"), str):
            out[semconv.OUTPUT_TYPE] = "json" if kind.startswith("json") else kind
    return out


def messages(body: dict[str, Any]) -> list[Message]:
    """The conversation; system and developer messages keep their place in it."""
    out: list[Message] = []
    for turn, item in enumerate(as_list(body.get("messages"))):
        entry = item if type(item) is dict else as_dict(item)
        path, role = f"messages[{turn}]", entry.get("role") or "user"
        content, call_id = entry.get("content"), entry.get("tool_call_id")
        if type(content) is str and entry.keys() <= _PLAIN and role not in {"tool", "function"}:
            out.append(Message(role, [Part("text", content, path=f"{path}.content")]))
            continue
        parts = _content(content, f"{path}.content")
        if role in {"tool", "function"}:
            whole = content if isinstance(content, str) or len(parts) != 1 else parts[0].content
            parts = [Part("tool_call_response", whole, entry.get("name"), call_id, f"{path}.content")]
        if reasoning := text_or_none(entry.get("reasoning_content")):
            parts.insert(0, Part("reasoning", reasoning, path=f"{path}.reasoning_content"))
        if refusal := text_or_none(entry.get("refusal")):
            parts.append(Part("text", refusal, path=f"{path}.refusal"))
        calls = as_list(entry.get("tool_calls"))
        parts += [_tool_call(as_dict(call), f"{path}.tool_calls[{place}]") for place, call in enumerate(calls)]
        if function := as_dict(entry.get("function_call")):
            parts.append(_function(function, None, f"{path}.function_call"))
        out.append(Message(role, parts))
    return out


def _content(content: Any, path: str) -> list[Part]:
    if isinstance(content, str):
        return [Part("text", content, path=path)]
    return [block(item, f"{path}[{place}]") for place, item in enumerate(as_list(content))]


def block(item: Any, path: str) -> Part:
    """One content part, of a chat message or of an item of the responses API; content bytes are left out."""
    if isinstance(item, str):
        return Part("text", item, path=path)
    entry = as_dict(item)
    kind = entry.get("type")
    if kind in {"text", "input_text", "output_text", "summary_text", "reasoning_text"}:
        return Part("text", entry.get("text"), path=path)
    if kind == "refusal":
        return Part("text", entry.get("refusal"), path=path)
    if kind in {"image_url", "input_image", "computer_screenshot"}:
        given = entry.get("image_url")
        return _linked(given.get("url") if isinstance(given, dict) else given, entry.get("file_id"), path)
    if kind in {"file", "input_file"}:
        given = as_dict(entry.get("file")) or entry
        return _linked(given.get("file_url"), given.get("file_id"), path)
    if kind == "input_audio":
        form = as_dict(entry.get("input_audio")).get("format")
        return Part("blob", None, path=path, mime_type=f"audio/{form}" if form else None)
    rest = {name: value for name, value in entry.items() if name != "type"}
    return Part(str(kind or "unknown"), rest, path=path)


def _linked(url: Any, file_id: Any, path: str) -> Part:
    if file_id:
        return Part("file", file_id, path=path)
    if isinstance(url, str) and not url.startswith("data:"):
        return Part("uri", url, path=path)
    return Part("blob", None, path=path, mime_type=data_url_type(url) if isinstance(url, str) else None)


def _tool_call(call: dict[str, Any], path: str) -> Part:
    kind = call.get("type") or "function"
    return _function(as_dict(call.get(kind)), call.get("id"), f"{path}.{kind}")


def _function(function: dict[str, Any], call_id: Any, path: str) -> Part:
    if "input" in function:  # a custom tool takes plain text
        return Part("tool_call", function["input"], function.get("name"), call_id, f"{path}.input")
    return Part("tool_call", arguments(function.get("arguments")), function.get("name"), call_id, f"{path}.arguments")


def tools(body: dict[str, Any]) -> list[ToolDefinition]:
    """The tools on offer, in the form of chat completions, of responses, and the older ``functions``."""
    out: list[ToolDefinition] = []
    for field in ("tools", "functions"):
        for place, item in enumerate(as_list(body.get(field))):
            tool = as_dict(item)
            kind = tool.get("type") or "function"
            inner = tool.get(kind)
            given = inner if isinstance(inner, dict) else tool
            out.append(
                ToolDefinition(
                    name=str(given.get("name") or given.get("server_label") or kind),
                    description=text_or_none(given.get("description") or given.get("server_description")),
                    parameters=given.get("parameters"),
                    type=str(kind),
                    path=f"{field}[{place}]",
                )
            )
    return out


def prompts(given: Any, field: str) -> list[Message]:
    """The texts of a completion's prompt or an embedding's input; lists of token numbers say nothing."""
    if isinstance(given, str):
        return [Message("user", [Part("text", given, path=field)])]
    found = [
        Part("text", item, path=f"{field}[{place}]")
        for place, item in enumerate(as_list(given))
        if isinstance(item, str)
    ]
    return [Message("user", found)] if found else []


def usage(given: Any) -> Usage | None:
    """Token counts of chat completions, completions and embeddings."""
    if given is None:
        return None
    get = members(given)
    prompt, completion = members(get("prompt_tokens_details")), members(get("completion_tokens_details"))
    return Usage(
        input_tokens=number(get("prompt_tokens")),
        output_tokens=number(get("completion_tokens")),
        cache_read=number(prompt("cached_tokens")),
        cache_write=number(prompt("cache_write_tokens")),
        reasoning=number(completion("reasoning_tokens")),
    )


def answer(completion: Any, _: Call) -> Result:
    """A whole chat completion or completion."""
    get = members(completion)
    out = _result(get)
    for choice in as_list(get("choices")):
        of = members(choice)
        path, message = f"choices[{of('index')}]", of("message")
        parts = (
            [Part("text", of("text"), path=f"{path}.text")] if message is None else _said(message, f"{path}.message")
        )
        _add(out, parts, of("finish_reason"))
    out.usage = usage(get("usage"))
    return out


def _said(message: Any, path: str) -> list[Part]:
    parts: list[Part] = []
    get = members(message)
    if text := get("reasoning_content"):
        parts.append(Part("reasoning", text, path=f"{path}.reasoning_content"))
    if text := get("content"):
        parts.append(Part("text", text, path=f"{path}.content"))
    if text := get("refusal"):
        parts.append(Part("text", text, path=f"{path}.refusal"))
    for place, call in enumerate(get("tool_calls") or ()):
        asked, there = members(call), f"{path}.tool_calls[{place}]"
        if (function := asked("function")) is not None:
            given = members(function)
            there += ".function.arguments"
            parts.append(Part("tool_call", arguments(given("arguments")), given("name"), asked("id"), there))
        else:
            parts.append(_tool_call(as_dict(call), there))
    if (function := get("function_call")) is not None:
        parts.append(_function(as_dict(function), None, f"{path}.function_call"))
    return parts


def embedded(answer_: Any, _: Call) -> Result:
    """An answer with embeddings: the vectors themselves are not kept."""
    out = Result(model=text_or_none(getattr(answer_, "model", None)), usage=usage(getattr(answer_, "usage", None)))
    data = getattr(answer_, "data", None)
    vector = getattr(data[0], "embedding", None) if isinstance(data, list) and data else None
    if isinstance(vector, list):
        out.attributes[semconv.EMBEDDINGS_DIMENSION_COUNT] = len(vector)
    return out


def _result(get: Callable[[str], Any]) -> Result:
    out = Result(response_id=text_or_none(get("id")), model=text_or_none(get("model")))
    if tier := text_or_none(get("service_tier")):
        out.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] = tier
    if fingerprint := text_or_none(get("system_fingerprint")):
        out.attributes[semconv.OPENAI_RESPONSE_SYSTEM_FINGERPRINT] = fingerprint
    return out


def _add(out: Result, parts: list[Part], finish: Any) -> None:
    reason = text_or_none(finish)
    if reason:
        out.finish_reasons.append(reason)
    if parts:
        out.messages.append(Message("assistant", parts, reason))


class _Choice:
    """One choice of a streamed answer."""

    __slots__ = ("_invocation", "calls", "content", "finish", "path", "texts")

    def __init__(self, path: str, invocation: Invocation) -> None:
        self.path = path
        self.texts: dict[str, StreamedText] = {}
        self.calls: dict[int, tuple[Any, list[str]]] = {}
        self.finish: Any = None
        self.content: Callable[[str], None] | None = None
        self._invocation = invocation

    def text(self, field: str) -> Callable[[str], None]:
        """What takes the pieces of one of its texts."""
        found = self.texts.get(field)
        if found is None:
            found = self.texts[field] = self._invocation.streamed(f"{self.path}.{field}")
        return found.add

    def parts(self) -> list[Part]:
        out = [
            Part(
                "reasoning" if field == "reasoning_content" else "text",
                "".join(text.pieces),
                path=f"{self.path}.{field}",
            )
            for field, text in self.texts.items()
        ]
        for place, (call, pieces) in self.calls.items():
            path = f"{self.path}.tool_calls[{place}].function.arguments"
            name = getattr(call.function, "name", None)
            out.append(Part("tool_call", arguments("".join(pieces)), name, call.id, path))
        return out


class ChunkFold:
    """Collects the chunks of a streamed chat completion or completion."""

    __slots__ = ("_choices", "_error", "_invocation", "_last", "_usage")

    def __init__(self, invocation: Invocation) -> None:
        """Feeds the texts to the invocation as they come."""
        self._invocation = invocation
        self._choices: dict[int, _Choice] = {}
        self._last: Any = None
        self._usage: Any = None
        self._error: str | None = None

    def event(self, chunk: Any) -> None:
        """Takes the next chunk."""
        choices = chunk.choices
        if not choices and (error := getattr(chunk, "error", None)) is not None:
            self._error = str(getattr(error, "code", None) or "error")
            return
        self._last = chunk
        for choice in choices or ():
            delta = getattr(choice, "delta", None)
            found = self._choices.get(choice.index)
            if found is None:
                path = f"choices[{choice.index}]"
                path = path if delta is None else f"{path}.message"
                found = self._choices[choice.index] = _Choice(path, self._invocation)
            if choice.finish_reason is not None:
                found.finish = choice.finish_reason
            if delta is None:
                found.text("text")(choice.text)
            elif content := delta.content:
                if found.content is None:
                    found.content = found.text("content")
                found.content(content)
            else:
                _rest(found, delta)
        if (usage_ := getattr(chunk, "usage", None)) is not None:
            self._usage = usage_

    def result(self) -> Result:
        """The answer, as far as it has come."""
        out = _result(members(self._last))
        for index in sorted(self._choices):
            choice = self._choices[index]
            _add(out, choice.parts(), choice.finish)
        out.usage = usage(self._usage)
        out.error_type = self._error
        return out


def _rest(choice: _Choice, delta: Any) -> None:
    """What a piece of a choice holds where it has no content."""
    for field in ("reasoning_content", "refusal"):
        if text := getattr(delta, field, None):
            choice.text(field)(text)
    for call in delta.tool_calls or ():
        _, pieces = choice.calls.setdefault(call.index, (call, []))
        if call.function is not None and call.function.arguments:
            pieces.append(call.function.arguments)
