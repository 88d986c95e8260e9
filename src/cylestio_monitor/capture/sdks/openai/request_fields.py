"""The fields of an OpenAI request beside its messages: parameters, tool definitions, and other text for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.fields import (
    as_dict,
    label,
    numbers_and_texts,
    other_fields,
    plain_text,
    read_items,
    text_or_none,
    texts,
)
from cylestio_monitor.capture.parsing.reading import unread_tool
from cylestio_monitor.capture.sdks.openai.content_blocks import blocks
from cylestio_monitor.model import Message, Part, ToolDefinition

if TYPE_CHECKING:
    from cylestio_monitor.model import AttributeValue

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
_READ_ELSEWHERE = frozenset(
    {
        *_PARAMETERS,
        *("messages", "input", "instructions", "prompt", "tools", "functions", "prediction", "conversation"),
        *(
            "model",
            "stream",
            "stream_options",
            "stop",
            "n",
            "best_of",
            "echo",
            "logprobs",
            "top_logprobs",
            "logit_bias",
        ),
        *("tool_choice", "function_call", "parallel_tool_calls", "max_tool_calls", "modalities", "audio", "verbosity"),
        *("store", "metadata", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "background"),
        *(
            "logit_bias",
            "previous_response_id",
            "include",
            "truncation",
            "reasoning",
            "encoding_format",
            "questions",
            "endpoint",
        ),
        *("input_file_id", "completion_window", "output_expires_after", "extra_headers", "extra_query", "timeout"),
    }
)
"""Fields that other functions read, and fields without text for the model; every other field is scanned as it is."""

_TOOL_FIELDS = frozenset({"type", "name", "description", "parameters", "function", "custom", "strict"})
_ENUMERATED_FORMATS = frozenset({"text", "json_object"})


def parameters(body: dict[str, Any]) -> dict[str, AttributeValue]:
    """Returns the parameters of a request as span attributes."""
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


def other_text(body: dict[str, Any]) -> list[Message]:
    """Returns the text for the model outside messages and tools: schemas of the answer, a prediction, a suffix."""
    parts: list[Part] = []
    if "prediction" in body:
        parts += read_items(blocks, as_dict(body["prediction"]).get("content"), "prediction.content")
    if "prompt" in body and (variables := as_dict(as_dict(body["prompt"]).get("variables"))):
        for name, value in variables.items():
            parts += read_items(blocks, value, f"prompt.variables.{name}")
    if not body.keys() <= _READ_ELSEWHERE:
        rest = {name: value for name, value in body.items() if not _is_enumerated(value)}
        parts += other_fields(rest, _READ_ELSEWHERE, "")
    return [Message("user", parts)] if parts else []


def _is_enumerated(value: Any) -> bool:
    """Tells a flag, a number or the choice of a format, none of which holds text for the model."""
    if value is None or isinstance(value, (bool, int, float)):
        return True
    if type(value) is not dict:
        return False
    form = value.get("format", value)
    return isinstance(form, dict) and form.keys() == {"type"} and plain_text(form["type"]) in _ENUMERATED_FORMATS


def tools(body: dict[str, Any]) -> list[ToolDefinition]:
    """Returns the offered tools, in the form of chat completions, of responses, or of the older ``functions``."""
    out: list[ToolDefinition] = []
    for field in ("tools", "functions"):
        given = body.get(field)
        if given is None:
            continue
        for place, item in enumerate(given if isinstance(given, (list, tuple)) else [given]):
            out.append(tool(item, f"{field}[{place}]"))
    return out


def tool(item: Any, path: str) -> ToolDefinition:
    """Returns one tool definition; what its format, its examples and its server say is kept in `extra`."""
    try:
        entry = as_dict(item)
        kind = text_or_none(entry.get("type")) or "function"
        bodies = (entry.get(name) for name in (kind, "function", "custom"))
        given = next((body for body in bodies if isinstance(body, dict)), entry)
        for name in ("function", "custom"):
            as_dict(entry.get(name))  # notes a value of another type, which `_TOOL_FIELDS` keeps out of the rest
        rest = {name: value for name, value in {**entry, **given}.items() if name not in _TOOL_FIELDS}
        if given is not entry:
            rest.pop(kind, None)
        return ToolDefinition(
            name=label(given.get("name")) or label(given.get("server_label")) or kind,
            description=text_or_none(given.get("description") or given.get("server_description")),
            parameters=given.get("parameters", given.get("input_schema")),
            type=kind,
            path=path,
            extra=rest or (None if entry else item) or None,
        )
    except Exception as error:  # noqa: BLE001 -- the item's own code may raise anything; the other tools are still read
        return unread_tool(error, item, path)


def prompts(given: Any, field: str) -> list[Message]:
    """Returns the texts of a completion's prompt or an embedding's input; lists of token numbers hold no text."""
    if isinstance(given, (list, tuple)) and all(isinstance(item, int) for item in given):
        return []
    parts = [part for part in read_items(_prompt, given, field) if part.content is not None]
    return [Message("user", parts)] if parts else []


def _prompt(item: Any, path: str) -> list[Part]:
    if isinstance(item, int) or (isinstance(item, (list, tuple)) and all(isinstance(one, int) for one in item)):
        return []
    return blocks(item, path)
