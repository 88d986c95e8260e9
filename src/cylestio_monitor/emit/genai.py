"""A call and its result as `gen_ai.*` span attributes, from one table of fields."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from cylestio_monitor import sanitize, semconv
from cylestio_monitor.emit import conventions
from cylestio_monitor.inspection import last_turn
from cylestio_monitor.model import TOOL_CALLS, TOOL_RESULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cylestio_monitor.identity import Identity
    from cylestio_monitor.model import AttributeValue, Call, Message, Result, Scalar

MAX_NAMES = 64
"""Most tool names listed on one span."""

_INT64 = 1 << 63

ERROR_OTHER = "_OTHER"
"""The value of ``error.type`` that the conventions prescribe where an error has no better name."""


class Field(NamedTuple):
    """One row of the table; `conventions.ATTRIBUTES` gives the type of the attribute.

    Attributes:
        attribute: Name of the span attribute.
        read: Reads the value; a false value other than 0 is left out.
    """

    attribute: str
    read: Callable[[Any], Any]


def _offered(call: Call) -> list[str]:
    return [tool.name for tool in call.tools[:MAX_NAMES]]


def _hidden(call: Call) -> list[str]:
    return call.withheld[:MAX_NAMES]


def _answered(call: Call) -> list[str]:
    return _tool_names(last_turn(call.messages), TOOL_RESULTS, call.messages) if call.messages else []


def _requested(result: Result) -> list[str]:
    return _tool_names(result.messages, TOOL_CALLS, ())


CALL_FIELDS = (
    Field(semconv.OPERATION_NAME, attrgetter("operation")),
    Field(semconv.PROVIDER_NAME, attrgetter("provider")),
    Field(semconv.REQUEST_MODEL, attrgetter("model")),
    Field(semconv.TOOL_NAME, attrgetter("tool_name")),
    Field(semconv.SERVER_ADDRESS, attrgetter("server_address")),
    Field(semconv.SERVER_PORT, attrgetter("server_port")),
    Field(semconv.CONVERSATION_ID, attrgetter("conversation_id")),
    Field(semconv.ENDUSER_ID, attrgetter("user_id")),
    Field(semconv.TOOLS_OFFERED, _offered),
    Field(semconv.TOOLS_HIDDEN, _hidden),
    Field(semconv.TOOLS_ANSWERED, _answered),
)
"""Known before the call, so that a sampler can decide on it."""

IDENTITY_FIELDS = (
    Field(semconv.CONVERSATION_ID, attrgetter("conversation_id")),
    Field(semconv.ENDUSER_ID, attrgetter("user_id")),
    Field(semconv.CYLESTIO_AGENT_ID, attrgetter("agent_id")),
    Field(semconv.CYLESTIO_SESSION_ID, attrgetter("session_id")),
)
"""Known of the actor; a value of the call itself takes precedence."""

RESULT_FIELDS = (
    Field(semconv.RESPONSE_ID, attrgetter("response_id")),
    Field(semconv.RESPONSE_MODEL, attrgetter("model")),
    Field(semconv.RESPONSE_FINISH_REASONS, attrgetter("finish_reasons")),
    Field(semconv.TOOLS_REQUESTED, _requested),
)

USAGE_FIELDS = (
    Field(semconv.USAGE_INPUT_TOKENS, attrgetter("input_tokens")),
    Field(semconv.USAGE_OUTPUT_TOKENS, attrgetter("output_tokens")),
    Field(semconv.USAGE_CACHE_READ, attrgetter("cache_read")),
    Field(semconv.USAGE_CACHE_WRITE, attrgetter("cache_write")),
    Field(semconv.USAGE_REASONING, attrgetter("reasoning")),
)


def at_start(call: Call, actor: Identity) -> dict[str, object]:
    """Returns the attributes that are known before the call."""
    out = _read(IDENTITY_FIELDS, actor)
    out.update(_read(CALL_FIELDS, call))
    out.update(call.attributes)
    return out


def at_end(result: Result) -> dict[str, object]:
    """Returns the attributes that the answer adds."""
    out = _read(RESULT_FIELDS, result)
    if result.usage is not None:
        out.update(_read(USAGE_FIELDS, result.usage))
    out.update(result.attributes)
    return out


def error_type(error: BaseException | None) -> str:
    """Returns ``error.type`` of an exception: the name of its class, as the conventions prescribe."""
    return type(error).__qualname__ or ERROR_OTHER


def _read(fields: tuple[Field, ...], source: object) -> dict[str, object]:
    found = {}
    for attribute, read in fields:
        value = read(source)
        if value or value == 0:
            found[attribute] = value
    return found


def _tool_names(messages: Iterable[Message], types: tuple[str, ...], history: Iterable[Message]) -> list[str]:
    """Returns the names of the tools in parts of these types.

    A response often carries only the id of its call: the name is then looked up in the calls of `history`.
    """
    named = [(part.name, part.id) for message in messages for part in message.parts if part.type in types]
    if not named:
        return []
    known: dict[str | None, str] = {}
    if any(not name for name, _ in named):
        known = {
            part.id: part.name
            for message in history
            for part in message.parts
            if part.type == "tool_call" and part.name
        }
    return [found for name, call_id in named[:MAX_NAMES] if (found := name or known.get(call_id, ""))]


def attributes(raw: Mapping[str, object], redact: Callable[[str], str] | None = None) -> dict[str, AttributeValue]:
    """Span attributes that every exporter accepts: right types, text that encodes, integers of 64 bits.

    Args:
        raw: Full attribute names to values of any kind. `None` is left out; a list becomes one of a single type.
        redact: Applied to each text, except for names in `semconv.VERBATIM`.
    """
    out: dict[str, AttributeValue] = {}
    for name, value in raw.items():
        if value is None:
            continue
        change = None if name in semconv.VERBATIM else redact
        kind = type(value)
        if kind is str and change is not None:
            out[name] = change(value)  # type: ignore[arg-type] # most attributes end here, and `type` does not narrow
        elif kind is list or isinstance(value, (list, tuple)):
            items = [_scalar(item, change) for item in value if item is not None]  # type: ignore[attr-defined]
            uniform = len({type(item) for item in items}) <= 1
            out[name] = items if uniform else [str(item) for item in items]  # type: ignore[assignment] # one type each
        elif kind is conventions.NUMBERS.get(name, bool) and (kind is not int or -_INT64 <= value < _INT64):  # type: ignore[operator]
            out[name] = value  # type: ignore[assignment]
        else:
            out[name] = _scalar(_number(value, conventions.NUMBERS.get(name)), change)
    return out


def _scalar(value: object, redact: Callable[[str], str] | None) -> Scalar:
    kind = type(value)
    if kind is bool or kind is float:
        return value  # type: ignore[return-value] # `type` does not narrow
    if kind is int and -_INT64 <= value < _INT64:  # type: ignore[operator] # `type` does not narrow
        return value  # type: ignore[return-value] # `type` does not narrow
    text = value if kind is str else sanitize.clean_text(value)
    if redact is not None:
        return redact(text)  # type: ignore[arg-type] # `type` does not narrow
    return text if len(text) <= sanitize.MAX_BYTES and text.isascii() else sanitize.clean_text(text)  # type: ignore[arg-type,return-value,attr-defined]


def _number(value: object, kind: type[int | float] | None) -> object:
    """A number as the type that the conventions prescribe; anything else, and what would lose digits, unchanged."""
    if kind is None or type(value) is kind or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    try:
        converted = kind(value)
    except (OverflowError, ValueError):  # beyond the range of a double, or not a finite number
        return value
    return converted if converted == value else value
