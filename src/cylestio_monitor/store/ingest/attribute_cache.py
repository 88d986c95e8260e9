"""A cache of encoded attributes that repeat from span to span.

Spans of one kind carry the same attributes in the same order, and three quarters of these attributes have few distinct
values. The cache maps a set of values to its JSON and to the columns derived from it.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cylestio_monitor import semconv
from cylestio_monitor.store.sqlite import content
from cylestio_monitor.store.sqlite.rows import encode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NAMES: Final = frozenset(
    {
        semconv.OPERATION_NAME,
        semconv.PROVIDER_NAME,
        semconv.REQUEST_MODEL,
        semconv.RESPONSE_MODEL,
        semconv.REQUEST_MAX_TOKENS,
        semconv.REQUEST_TEMPERATURE,
        semconv.REQUEST_TOP_P,
        semconv.REQUEST_TOP_K,
        semconv.REQUEST_STREAM,
        semconv.REQUEST_FREQUENCY_PENALTY,
        semconv.REQUEST_PRESENCE_PENALTY,
        semconv.REQUEST_STOP_SEQUENCES,
        semconv.REQUEST_CHOICE_COUNT,
        semconv.REQUEST_REASONING_LEVEL,
        semconv.RESPONSE_FINISH_REASONS,
        semconv.OUTPUT_TYPE,
        semconv.AGENT_NAME,
        semconv.AGENT_ID,
        semconv.SERVER_ADDRESS,
        semconv.SERVER_PORT,
        semconv.NETWORK_TRANSPORT,
        semconv.HTTP_STATUS_CODE,
        semconv.TOOL_NAME,
        semconv.TOOL_TYPE,
        semconv.MCP_METHOD,
        semconv.MCP_PROTOCOL_VERSION,
        semconv.CYLESTIO_AGENT_ID,
        semconv.TOOLS_OFFERED,
        semconv.SCANNED,
        semconv.ALERT,
        semconv.SEVERITY,
        semconv.SEVERITY_NUMBER,
        semconv.FINDING_COUNT,
        semconv.CATEGORY,
        semconv.VERDICT,
        semconv.ACTION,
        semconv.TARGET_TYPE,
        semconv.TARGET_SUBTYPE,
        semconv.OWASP_LLM,
        semconv.OWASP_ASI,
        semconv.ATLAS_TECHNIQUE,
        semconv.SECURITY_RULE_UUID,
        semconv.SECURITY_RULE_NAME,
        semconv.SECURITY_RULE_CATEGORY,
        semconv.SECURITY_RULE_RULESET,
        semconv.SECURITY_RULE_VERSION,
        "http.request.method",
        "http.route",
        "url.scheme",
        "network.protocol.version",
        "db.system.name",
    }
)
"""Attributes that repeat from span to span; `shared` stores each set of them once."""

_MOST_NAMES: Final = 64
_MOST_BYTES: Final = 4096
_MOST_KNOWN: Final = 2048


class Common(NamedTuple):
    """One set of values.

    Attributes:
        json: The attributes as JSON.
        agent_id: `cylestio.agent.id`.
        severity_number: 0 to 4.
        alert: ``none``, ``suspicious`` or ``dangerous``.
        event_type: What such a span is in the events view; `None` for one that is not monitored.
        channel: The same.
        operation: `gen_ai.operation.name`.
        provider: `gen_ai.provider.name`.
        model: `gen_ai.request.model`.
        tool: `gen_ai.tool.name`.
        action: `cylestio.security.action`.
    """

    json: bytes
    agent_id: str | None
    severity_number: int
    alert: str
    event_type: str | None
    channel: str | None
    operation: str | None
    provider: str | None
    model: str | None
    tool: str | None
    action: str | None


class OwnName(NamedTuple):
    """The name of an attribute that spans do not share.

    Attributes:
        name: The name.
        is_content: Whether it is content whatever its length.
        column: The type of the values that have their own column instead; `None` for none.
    """

    name: str
    is_content: bool
    column: type | None


class _NameOrder(NamedTuple):
    """One order of attribute names; `values` takes the common ones out of a span's attributes."""

    common: tuple[str, ...]
    others: tuple[OwnName, ...]
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    known: dict[tuple[tuple[Any, ...], tuple[type, ...]], Common]


class AttributeCache:
    """Splits attributes; remembers what it has seen, within bounds."""

    def __init__(
        self, check: Callable[[Any], None], check_name: Callable[[str], None], columns: Mapping[str, type]
    ) -> None:
        """Starts with nothing remembered.

        Args:
            check: Raises for a value that cannot be stored as it is.
            check_name: Raises for a name that cannot be stored as it is.
            columns: The attributes that have a column of their own, with the type of its values.
        """
        self._check = check
        self._check_name = check_name
        self._columns = columns
        self._shapes: dict[tuple[str, ...], _NameOrder] = {}
        self._known = 0

    def split(self, attributes: Mapping[str, Any], *, careful: bool) -> tuple[Common, Sequence[OwnName]]:
        """Returns the attributes the span shares with others, and the names of its other attributes.

        Args:
            attributes: By name.
            careful: The attributes are cleaned already; they are not checked again.

        Raises:
            Exception: What `check` or `check_name` raises, or the encoder.
        """
        names = tuple(attributes)
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._learn(names, careful=careful)
        values = shape.values(attributes)
        key = (values, tuple(map(type, values)))  # 1, 1.0 and True are equal, and are not the same
        try:
            known = shape.known.get(key)
        except TypeError:  # a list has no hash
            return self._made(shape, values, careful=careful), shape.others
        if known is None:
            known = self._made(shape, values, careful=careful)
            if len(known.json) <= _MOST_BYTES and len(names) <= _MOST_NAMES and all(map(_is_told_apart, values)):
                self._known += 1
                shape.known[key] = known
        return known, shape.others

    def _learn(self, names: tuple[str, ...], *, careful: bool) -> _NameOrder:
        if not careful:
            for name in names:
                self._check_name(name)
        common = tuple(name for name in names if name in NAMES)
        others = tuple(
            OwnName(name, name in content.KEYS, self._columns.get(name)) for name in names if name not in NAMES
        )
        values = itemgetter(*common) if len(common) > 1 else lambda of: tuple(of[name] for name in common)
        shape = _NameOrder(common, others, values, {})
        if self._known + len(self._shapes) >= _MOST_KNOWN:
            self._shapes.clear()
            self._known = 0
        if len(names) <= _MOST_NAMES:
            self._shapes[names] = shape
        return shape

    def _made(self, shape: _NameOrder, values: tuple[Any, ...], *, careful: bool) -> Common:
        if not careful:
            for value in values:
                self._check(value)
        attributes = dict(zip(shape.common, values, strict=True))
        get = attributes.get
        operation = _text(get(semconv.OPERATION_NAME))
        kind, channel = semconv.event_type(operation, get(semconv.MCP_METHOD), scanned=bool(get(semconv.SCANNED)))
        number = get(semconv.SEVERITY_NUMBER)
        return Common(
            encode_json(attributes),
            _text(get(semconv.CYLESTIO_AGENT_ID)),
            number if type(number) is int and 0 <= number <= 4 else 0,
            _text(get(semconv.ALERT)) or "none",
            kind,
            channel,
            operation,
            _text(get(semconv.PROVIDER_NAME)),
            _text(get(semconv.REQUEST_MODEL)),
            _text(get(semconv.TOOL_NAME)),
            _text(get(semconv.ACTION)),
        )


def _is_told_apart(value: object) -> bool:
    """Returns whether a key of value and type identifies the value; the key omits the types of the items of a list."""
    return type(value) is not tuple or all(type(item) is str for item in value)


def _text(value: object) -> str | None:
    return value if type(value) is str else None
