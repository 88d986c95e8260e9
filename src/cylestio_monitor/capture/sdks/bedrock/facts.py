"""Parameters, token counts and finish reasons under the names of each model family on Amazon Bedrock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.parsing.fields import as_dict, as_list, number, text_or_none, texts
from cylestio_monitor.model import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cylestio_monitor.model import AttributeValue

_NUMBERS = {
    **dict.fromkeys(
        (
            *("maxTokens", "max_tokens", "max_new_tokens", "maxTokenCount", "max_gen_len", "max_tokens_to_sample"),
            *("max_completion_tokens", "max_output_tokens", "maxOutputTokens"),
        ),
        semconv.REQUEST_MAX_TOKENS,
    ),
    "temperature": semconv.REQUEST_TEMPERATURE,
    **dict.fromkeys(("topP", "top_p", "p"), semconv.REQUEST_TOP_P),
    **dict.fromkeys(("topK", "top_k", "k"), semconv.REQUEST_TOP_K),
    "seed": semconv.REQUEST_SEED,
    **dict.fromkeys(("presence_penalty", "presencePenalty"), semconv.REQUEST_PRESENCE_PENALTY),
    **dict.fromkeys(("frequency_penalty", "frequencyPenalty"), semconv.REQUEST_FREQUENCY_PENALTY),
    **dict.fromkeys(("dimensions", "output_dimension"), semconv.EMBEDDINGS_DIMENSION_COUNT),
}
_STOPS = ("stopSequences", "stop_sequences", "stop")
_CONTAINERS = ("inferenceConfig", "inference_config", "textGenerationConfig", "additionalModelRequestFields")
PARAMETERS = frozenset({*_NUMBERS, *_STOPS, *_CONTAINERS})
"""Fields of a request that hold parameters."""

_REASONS = ("stop_reason", "stopReason", "finish_reason", "finishReason", "completionReason")
_LISTS = ("results", "generations", "completions", "outputs", "choices", "candidates")

_INPUT = (
    "input_tokens",
    "inputTokens",
    "prompt_tokens",
    "prompt_token_count",
    "inputTextTokenCount",
    "inputTokenCount",
)
_OUTPUT = (
    *("output_tokens", "outputTokens", "completion_tokens", "generation_token_count", "outputTokenCount"),
    "tokenCount",
)
_CACHE_READ = ("cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount")
_CACHE_WRITE = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount")
_HEADER = "x-amzn-bedrock-{}-token-count"
_DIGITS = 19
"""Characters from which on a number may need more than 64 bits."""

METRICS = "amazon-bedrock-invocationMetrics"
"""The field of the last event of a stream that holds the counts of Bedrock itself."""


def parameters(body: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Returns the parameters of a request as span attributes, whichever family's names they have."""
    out: dict[str, AttributeValue] = {}
    for fields in (body, *(as_dict(body.get(name)) for name in _CONTAINERS)):
        for name, value in fields.items():
            if name in _NUMBERS:
                value = value.get("scale") if isinstance(value, dict) else value  # noqa: PLW2901 -- AI21 nests penalties
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    out[_NUMBERS[name]] = value
            elif name in _STOPS and (stop := texts(value)):
                out[semconv.REQUEST_STOP_SEQUENCES] = stop
    return out


def finish_reasons(answer: Mapping[str, Any]) -> list[str]:
    """Returns the reasons for which the model stopped, of each choice."""
    found = [reason for entry in _entries(answer) if (reason := _reason(entry))]
    return found or ([reason] if (reason := _reason(answer)) else [])


def _reason(entry: Mapping[str, Any]) -> str | None:
    value = next((entry[name] for name in _REASONS if entry.get(name)), None)
    return text_or_none(value.get("reason") if isinstance(value, dict) else value)


def _entries(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in _LISTS:
        yield from (as_dict(item) for item in as_list(answer.get(name)))


def usage(answer: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> Usage:
    """Returns the token counts by the conventions: Bedrock counts reads and writes of the cache separately.

    Args:
        answer: The answer, a usage object, or the metrics of a stream.
        headers: The HTTP headers of the answer, which hold the same counts for every family.
    """
    headers = headers or {}
    metrics = as_dict(answer.get(METRICS))
    body = as_dict(answer.get("usage"))
    results = next(_entries(answer), {})
    sources = (metrics, body, answer, results)

    def count(names: tuple[str, ...], header: str) -> int | None:
        found = _count(headers.get(_HEADER.format(header)))
        for source in sources:
            if found is None:
                found = next((value for name in names if (value := _count(source.get(name))) is not None), None)
        return found

    read, write = count(_CACHE_READ, "cache-read-input"), count(_CACHE_WRITE, "cache-write-input")
    given = count(_INPUT, "input")
    cached = _count(as_dict(body.get("prompt_tokens_details")).get("cached_tokens"))
    whole = None if given is None else given + (read or 0) + (write or 0)
    return Usage(whole, count(_OUTPUT, "output"), read if cached is None else cached, write)


def merged(earlier: Usage, later: Usage) -> Usage:
    """Returns the later counts, and the earlier ones where a later one is missing."""
    pairs = (
        (earlier.input_tokens, later.input_tokens),
        (earlier.output_tokens, later.output_tokens),
        (earlier.cache_read, later.cache_read),
        (earlier.cache_write, later.cache_write),
    )
    return Usage(*(before if after is None else after for before, after in pairs))


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
        return int(value)
    return number(value)
