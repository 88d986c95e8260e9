"""Contents of the Gemini API as JSON, in camel case as on the wire or in snake case as the SDK writes them."""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.binary import blob
from cylestio_monitor.capture.parsing.fields import (
    Fields,
    as_dict,
    as_list,
    contained,
    count,
    is_empty,
    label,
    other_fields,
    place_of,
    plain_text,
    read_items,
    text_or_none,
    texts,
)
from cylestio_monitor.capture.parsing.reading import unread, unread_tool
from cylestio_monitor.model import Message, Part, Result, ToolDefinition, Usage

if TYPE_CHECKING:
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.model import AttributeValue
    from cylestio_monitor.pipeline import Invocation

_PARAMETERS = {
    "maxOutputTokens": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "topP": semconv.REQUEST_TOP_P,
    "topK": semconv.REQUEST_TOP_K,
    "seed": semconv.REQUEST_SEED,
    "presencePenalty": semconv.REQUEST_PRESENCE_PENALTY,
    "frequencyPenalty": semconv.REQUEST_FREQUENCY_PENALTY,
    "outputDimensionality": semconv.EMBEDDINGS_DIMENSION_COUNT,
}
_OUTPUT_TYPES = {"image": "image", "audio": "speech", "video": "video"}
_ROLES = {"model": "assistant", "function": "tool"}
_PART = frozenset(
    {
        *("text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData", "fileData"),
        *("executableCode", "codeExecutionResult", "videoMetadata", "mediaResolution", "partMetadata"),
    }
)
_DECLARATION = frozenset({"name", "description", "parameters", "parametersJsonSchema"})
_FILE = frozenset({"name", "uri"})


@functools.lru_cache(maxsize=512)
def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found.group(1).upper(), name)


def fields(value: Any) -> dict[str, Any]:
    """Returns the fields of an object under their names on the wire, without those that are ``None``."""
    dump = None if isinstance(value, dict) else getattr(value, "model_dump", None)
    found = as_dict(value) if dump is None else dump(exclude_none=True)
    return {_camel(name) if isinstance(name, str) else name: item for name, item in found.items() if item is not None}


def parameters(config: dict[str, Any]) -> dict[str, AttributeValue]:
    """Returns the parameters of a generation as span attributes."""
    out: dict[str, AttributeValue] = {
        attribute: config[name]
        for name, attribute in _PARAMETERS.items()
        if isinstance(config.get(name), (int, float)) and not isinstance(config[name], bool)
    }
    if stop := texts(config.get("stopSequences")):
        out[semconv.REQUEST_STOP_SEQUENCES] = stop
    if isinstance(choices := config.get("candidateCount"), int) and choices != 1:
        out[semconv.REQUEST_CHOICE_COUNT] = choices
    if kind := text_or_none(config.get("responseMimeType")):
        out[semconv.OUTPUT_TYPE] = "json" if kind.endswith("json") else "text" if kind.startswith("text/") else kind
    modalities = as_list(config.get("responseModalities"))
    for modality in texts([getattr(item, "value", item) for item in modalities]):
        if modality.lower() in _OUTPUT_TYPES:
            out[semconv.OUTPUT_TYPE] = _OUTPUT_TYPES[modality.lower()]
    return out


def messages(given: Any, path: str, role: str = "user") -> list[Message]:
    """Returns a conversation: a text, a part, a content, or a list of these."""
    if given is None:
        return []
    items = given if isinstance(given, (list, tuple)) else [given]
    out: list[Message] = []
    for place, item in enumerate(items):
        where = f"{path}[{place}]" if items is given else path
        try:
            out.append(_message(item, where, role))
        except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; other contents are still read
            out.append(Message(role, unread(error, item, where)))
    return out


def _message(item: Any, path: str, role: str) -> Message:
    if isinstance(item, (list, tuple)):
        return Message(role, read_items(parts, item, path))
    entry = fields(item)
    if "parts" not in entry:
        return Message(role, contained(parts, item, path))
    named = text_or_none(entry.get("role")) or role
    rest = other_fields(entry, frozenset({"role", "parts"}), path)
    return Message(_ROLES.get(named, named), read_items(parts, entry["parts"], f"{path}.parts") + rest)


def parts(item: Any, path: str) -> list[Part]:
    """Returns the parts of one part of a content; bytes of media are left out."""
    if (text := plain_text(item)) is not None:
        return [Part("text", text, path=path)]
    entry = fields(item)
    if not entry:
        return [] if is_empty(item) else [Part("json", _described(item), path=path)]
    out: list[Part] = []
    if "text" in entry:
        text = plain_text(entry["text"])
        kind = "reasoning" if entry.get("thought") is True else "text"
        out.append(Part(kind, entry["text"] if text is None else text, path=f"{path}.text"))
    if call := fields(entry.get("functionCall")):
        name, id_ = text_or_none(call.get("name")), text_or_none(call.get("id"))
        out.append(Part("tool_call", call.get("args"), name, id_, f"{path}.functionCall.args"))
    if response := fields(entry.get("functionResponse")):
        name, id_ = text_or_none(response.get("name")), text_or_none(response.get("id"))
        given = response.get("response")
        out.append(Part("tool_call_response", given, name, id_, f"{path}.functionResponse.response"))
        out += read_items(parts, response.get("parts"), f"{path}.functionResponse.parts")
    if data := fields(entry.get("inlineData")):
        out.append(blob(data.get("data"), f"{path}.inlineData", mime_type=text_or_none(data.get("mimeType"))))
    if file := fields(entry.get("fileData")):
        mime = text_or_none(file.get("mimeType"))
        out.append(Part("uri", file.get("fileUri"), path=f"{path}.fileData.fileUri", mime_type=mime))
    if code := fields(entry.get("executableCode")):
        out.append(Part("server_tool_call", code, "code_execution", None, f"{path}.executableCode"))
    if ran := fields(entry.get("codeExecutionResult")):
        out.append(Part("server_tool_call_response", ran, "code_execution", None, f"{path}.codeExecutionResult"))
    if "uri" in entry and entry.keys() >= _FILE:
        return [Part("uri", entry["uri"], path=f"{path}.uri", mime_type=text_or_none(entry.get("mimeType")))]
    return out + other_fields(entry, _PART, path)


def _described(item: Any) -> Any:
    """An image or another object of the application, of which only the kind is kept."""
    return item if isinstance(item, (dict, list, tuple, int, float, bytes)) else type(item).__name__


def tools(given: Any, path: str) -> list[ToolDefinition]:
    """Returns declared functions, the provider's tools, and Python functions that the SDK calls by itself."""
    out: list[ToolDefinition] = []
    for place, item in enumerate(given if isinstance(given, (list, tuple)) else [given] if given else []):
        where = f"{path}[{place}]"
        try:
            out += _tools(item, where)
        except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; the other tools are still read
            out.append(unread_tool(error, item, where))
    return out


def _tools(item: Any, path: str) -> list[ToolDefinition]:
    if callable(item):
        return [ToolDefinition(getattr(item, "__name__", "tool"), inspect.getdoc(item), path=path)]
    entry = fields(item)
    out: list[ToolDefinition] = []
    declared = entry.pop("functionDeclarations", None)
    for place, one in enumerate(as_list(declared)):
        tool = fields(one)
        schema = tool.get("parameters", tool.get("parametersJsonSchema"))
        rest = {name: value for name, value in tool.items() if name not in _DECLARATION}
        where = f"{path}.functionDeclarations[{place}]"
        name, description = label(tool.get("name")), text_or_none(tool.get("description"))
        out.append(ToolDefinition(name, description, schema, path=where, extra=rest or None))
    for name, value in entry.items():
        kind = label(name)
        out.append(ToolDefinition(kind, type=kind, path=path, extra=None if is_empty(value) else value))
    return out


def usage(given: Any) -> Usage | None:
    """Returns the token counts: input includes the results of tools, output includes thoughts."""
    used = fields(given)
    if not used:
        return None
    prompt, tool_use = used.get("promptTokenCount"), used.get("toolUsePromptTokenCount")
    answered, thoughts = used.get("candidatesTokenCount"), used.get("thoughtsTokenCount")
    return Usage(
        count(prompt, tool_use),
        count(answered, thoughts),
        used.get("cachedContentTokenCount"),
        None,
        thoughts,
    )


class _Candidate:
    """One candidate of an answer; texts of one kind that follow each other are one part."""

    def __init__(self, path: str, invocation: Invocation | None) -> None:
        self.path = path
        self.finish: str | None = None
        self.parts: list[Part] = []
        self._invocation = invocation
        self._streamed: dict[str, StreamedText] = {}

    def add(self, new: Part) -> None:
        last = self.parts[-1] if self.parts else None
        if new.type not in {"text", "reasoning"} or not isinstance(new.content, str):
            self.parts.append(new)
            return
        if last is None or last.type != new.type or not isinstance(last.content, str):
            last = Part(new.type, "", path=f"{self.path}.parts[{len(self.parts)}].text")
            self.parts.append(last)
        last.content = f"{last.content}{new.content}"
        if self._invocation is not None:
            if last.path not in self._streamed:
                self._streamed[last.path] = self._invocation.streamed(last.path)
            self._streamed[last.path].add(new.content)

    def message(self) -> Message:
        return Message("assistant", self.parts, self.finish or "error")


class AnswerFold:
    """Collects the pieces of a streamed answer; a whole answer is one piece.

    Attributes:
        complete: Tool calls whose arguments have all arrived; see `Fold`.
    """

    def __init__(self, invocation: Invocation | None = None) -> None:
        """Feeds the texts to the invocation as they come, where one is given."""
        self.complete: list[Part] = []
        self._judges = invocation is not None and invocation.can_block
        self._invocation = invocation
        self._candidates: dict[int | str, _Candidate] = {}
        self._result = Result()

    def event(self, chunk: Any) -> None:
        """Takes the next piece."""
        entry = _answer_fields(chunk) if hasattr(chunk, "candidates") and not isinstance(chunk, dict) else fields(chunk)
        for place, item in enumerate(as_list(entry.get("candidates"))):
            candidate = fields(item)
            index = place_of(candidate.get("index", place))
            found = self._candidates.setdefault(index, _Candidate(f"candidates[{index}].content", self._invocation))
            for piece in as_list(fields(candidate.get("content")).get("parts")):
                for part in contained(parts, piece, f"{found.path}.parts[{len(found.parts)}]"):
                    found.add(part)
                    if self._judges and part.type in {"tool_call", "server_tool_call", "unreadable"}:
                        self.complete.append(part)
            reason = candidate.get("finishReason")
            found.finish = text_or_none(getattr(reason, "value", reason)) or found.finish
            grounding = fields(candidate.get("groundingMetadata"))
            if grounding:
                found.add(Part("annotations", grounding, path=f"candidates[{index}].groundingMetadata"))
        result = self._result
        result.response_id = text_or_none(entry.get("responseId")) or result.response_id
        result.model = text_or_none(entry.get("modelVersion")) or result.model
        result.usage = usage(entry.get("usageMetadata")) or result.usage
        if reason := fields(entry.get("promptFeedback")).get("blockReason"):
            result.finish_reasons = [label(getattr(reason, "value", reason))]

    def result(self) -> Result:
        """Returns the answer as far as it has come."""
        result = self._result
        said = [candidate.message() for candidate in self._candidates.values()]
        result.messages = [message for message in said if message.parts]
        reasons = [candidate.finish for candidate in self._candidates.values() if candidate.finish]
        result.finish_reasons = reasons or result.finish_reasons
        return result


def _answer_fields(chunk: Any) -> dict[str, Any]:
    """The fields of an answer of the SDK that are read, without what it keeps of the exchange."""
    names = ("candidates", "response_id", "model_version", "usage_metadata", "prompt_feedback")
    return {_camel(name): value for name in names if (value := getattr(chunk, name, None)) is not None}


def answer(given: Any, _: Any = None) -> Result:
    """Reads a whole answer, an object of the SDK or parsed JSON."""
    fold = AnswerFold()
    fold.event(given)
    return fold.result()


def embedded(given: Any, _: Any = None) -> Result:
    """Reads an answer with embeddings; the vectors themselves are not kept."""
    entry = fields(given) if isinstance(given, (dict, Fields)) else {"embeddings": getattr(given, "embeddings", None)}
    found = as_list(entry.get("embeddings")) or ([entry["embedding"]] if entry.get("embedding") else [])
    out = Result()
    values = fields(found[0]).get("values") if found else None
    if isinstance(values, list):
        out.attributes[semconv.EMBEDDINGS_DIMENSION_COUNT] = len(values)
    return out
