"""Encodes spans, findings and events into the values of their rows, on the writer's thread.

A span is first encoded unchanged, and the JSON encoder rejects values it cannot encode. A span that does not encode or
would not survive the OTLP exporters (half a surrogate pair, NaN, nesting, integers beyond 64 bits, megabytes of text)
is sanitised within limits, marked with `cylestio.sanitized` and stored.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor import semconv
from cylestio_monitor.sanitize import clean_text, clean_value
from cylestio_monitor.store.ingest.attribute_cache import AttributeCache, OwnName
from cylestio_monitor.store.sqlite import content
from cylestio_monitor.store.sqlite.rows import (
    MAX_NAME,
    EncodedSpan,
    FindingRecord,
    Labels,
    SpanRecord,
    encode_json,
    finding_of_event,
    identity_of_event,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from cylestio_monitor.store.sqlite.keys import Cipher

_logger = logging.getLogger(__name__)

MAX_SPAN_BYTES: Final = 4_000_000
"""The largest text on one span, in code points, that is encoded without cleaning its attributes first."""

_MAX_ATTRIBUTES: Final = 512
_MAX_EVENTS: Final = 256
_MAX_ITEMS: Final = 4096
_MAX_LINKS: Final = 128
_MAX_VALUE: Final = 1_000_000
_MAX_EVENT_BYTES: Final = 256_000
_INT64: Final = 1 << 63

HOT: Final = {
    semconv.CYLESTIO_SESSION_ID: str,
    semconv.USAGE_INPUT_TOKENS: int,
    semconv.USAGE_OUTPUT_TOKENS: int,
}
"""Attributes that are stored only in their own column, each with the type it must have."""


class UnfitError(Exception):
    """The attributes of the span must be cleaned before they are encoded."""


class SpanEncoder:
    """Encodes spans; remembers the resources and scopes it has seen."""

    def __init__(self, cipher: Cipher | None) -> None:
        """Creates an encoder with empty caches.

        Args:
            cipher: Encrypts content; `None` if content is not encrypted at rest.
        """
        self._cipher = cipher
        self._commons = AttributeCache(_check, _check_name, HOT)
        self._stored: Mapping[tuple[str, str], Collection[tuple[Any, ...]]] = {}
        # The objects stay referenced, because Python may reuse the id of an object that was freed.
        self._sources: dict[tuple[int, int], tuple[bytes, str | None, object, object]] = {}

    def encode(
        self,
        spans: Iterable[tuple[ReadableSpan, int]],
        stored: Mapping[tuple[str, str], Collection[tuple[Any, ...]]],
    ) -> list[EncodedSpan]:
        """Encodes spans; never raises for what they hold.

        Args:
            spans: Ended spans, each with the number of code points of text on it.
            stored: The identities of findings that are stored already, by trace id and span id.
        """
        self._stored = stored
        made = [self._one(span, size) for span, size in spans]
        for (row, _), packed in zip(made, content.pack([bulk for _, bulk in made], self._cipher), strict=True):
            row.record.content = packed
        return [row for row, _ in made]

    def _one(self, span: ReadableSpan, size: int) -> tuple[EncodedSpan, bytes | None]:
        """The row without the content, which is packed for all of a group in one call, and the content."""
        if size <= MAX_SPAN_BYTES:
            try:
                return self._row(span, attributes_of(span), _plain_events(span), careful=False)
            except Exception as error:  # noqa: BLE001 -- the span is cleaned and encoded again, whatever the error is
                _logger.debug("a span goes the careful road: %s", type(error).__name__)
        attributes = _cleaned(span.attributes)
        attributes[semconv.SANITIZED] = True
        return self._row(span, attributes, _cleaned_events(span), careful=True)

    def source(self, resource: Any, scope: Any) -> tuple[bytes, str | None]:
        """JSON of resource and scope, and the service's name."""
        key = (id(resource), id(scope))
        known = self._sources.get(key)
        if known is None:
            if len(self._sources) > 1024:
                self._sources.clear()
            attributes = _cleaned(resource.attributes if resource is not None else {})
            body: dict[str, Any] = {"resource": attributes}
            if getattr(resource, "schema_url", None):
                body["resource_schema_url"] = clean_text(resource.schema_url, MAX_NAME)
            if scope is not None:
                body["scope"] = {"name": clean_text(scope.name, MAX_NAME)}
                for name in ("version", "schema_url"):
                    if getattr(scope, name, None):
                        body["scope"][name] = clean_text(getattr(scope, name), MAX_NAME)
                if getattr(scope, "attributes", None):
                    body["scope"]["attributes"] = _cleaned(scope.attributes)
            service = attributes.get("service.name")
            known = (encode_json(body), service if isinstance(service, str) else None, resource, scope)
            self._sources[key] = known
        return known[0], known[1]

    def _row(
        self, span: ReadableSpan, attributes: Mapping[str, Any], events: list[dict[str, Any]], *, careful: bool
    ) -> tuple[EncodedSpan, bytes | None]:
        source, service = self.source(span.resource, span.instrumentation_scope)
        if not careful and len(attributes) > _MAX_ATTRIBUTES:
            raise UnfitError
        common, others = self._commons.split(attributes, careful=careful)
        own, bulk = _sorted_out(attributes, others, careful=careful)
        get = attributes.get
        session_id = _text(get(semconv.CYLESTIO_SESSION_ID))
        context, parent, status = span.context, span.parent, span.status
        trace_id, span_id = "%032x" % context.trace_id, "%016x" % context.span_id  # noqa: UP031 -- a third faster here
        extra = _extra(span, careful=careful)
        own_json = encode_json(own)
        events_json = encode_json(events) if events else None
        if not careful and not (_is_fit(own_json) and _is_fit(common.json) and _is_fit(events_json)):
            raise UnfitError
        record = SpanRecord(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=None if parent is None else "%016x" % parent.span_id,  # noqa: UP031 -- as above
            name=clean_text(span.name, MAX_NAME),
            kind=span.kind.value,
            start_ns=span.start_time or 0,
            end_ns=span.end_time or span.start_time or 0,
            status=status.status_code.value,
            agent_id=common.agent_id,
            session_id=session_id,
            severity_number=common.severity_number,
            alert=common.alert,
            event_type=common.event_type,
            channel=common.channel,
            operation=common.operation,
            provider=common.provider,
            model=common.model,
            tool=common.tool,
            action=common.action,
            input_tokens=_int(get(semconv.USAGE_INPUT_TOKENS)),
            output_tokens=_int(get(semconv.USAGE_OUTPUT_TOKENS)),
            attributes=own_json.decode(),
            events=None if events_json is None else events_json.decode(),
            extra=encode_json(extra).decode() if extra else None,
        )
        user_id, cost = _text(get(semconv.ENDUSER_ID)), get(semconv.USAGE_COST)
        findings: list[FindingRecord] = []
        if events:
            labels = Labels(
                common.agent_id,
                session_id,
                service,
                common.action,
                common.operation,
                common.model,
                common.tool,
                user_id,
            )
            stored = self._stored.get((trace_id, span_id), frozenset())
            findings = [
                finding_of_event(trace_id, span_id, event, labels)
                for event in events
                if event["name"] == semconv.EVENT_FINDING and identity_of_event(event) not in stored
            ]
        price = float(cost) if isinstance(cost, (int, float)) else 0.0
        scope = span.instrumentation_scope
        is_local = scope is not None and scope.name == semconv.SCOPE and not context.trace_flags.sampled
        encoded = EncodedSpan(source, common.json, record, findings, service, user_id, price, not is_local)
        return encoded, encode_json(bulk) if bulk else None


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """The attributes of an ended span; without the lock and the copies of the SDK's own view where it can be had."""
    attributes: Any = getattr(span, "_attributes", None)
    return getattr(attributes, "_dict", None) or span.attributes or {}


def _is_fit(text: bytes | None) -> bool:
    """Returns whether the JSON is short enough and has no NUL, at which SQLite's JSON functions stop."""
    return text is None or (len(text) <= _MAX_VALUE and b"\\u0000" not in text)


def _text(value: object) -> str | None:
    return value if type(value) is str else None


def _int(value: object) -> int | None:
    return value if type(value) is int else None


def _sorted_out(
    attributes: Mapping[str, Any], names: Sequence[OwnName], *, careful: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the attributes that only this span has, and its content.

    Raises:
        UnfitError: One of them would not survive storage or export; never for attributes that are cleaned already.
    """
    own: dict[str, Any] = {}
    bulk: dict[str, Any] = {}
    for name, is_content, column in names:
        value = attributes[name]
        kind = type(value)
        if kind is not str and not careful:
            _check(value)
        if is_content or (kind is str and len(value) > content.LONG):
            bulk[name] = value
        elif column is not kind:
            own[name] = value
    return own, bulk


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The attributes as a dict, or `UnfitError` where one of them would not survive storage or export."""
    if not attributes:
        return {}
    plain = dict(getattr(attributes, "_dict", attributes))
    if len(plain) > _MAX_ATTRIBUTES or max(map(len, plain)) > MAX_NAME:
        raise UnfitError
    for value in plain.values():
        _check(value)
    return plain


def _check(value: Any) -> None:
    """Raises `UnfitError` for what neither storage nor an exporter takes; text is for the JSON encoder to judge."""
    kind = type(value)
    if kind is str or kind is bool:
        return
    if kind is int:
        if not -_INT64 <= value < _INT64:
            raise UnfitError
    elif kind is float:
        if not math.isfinite(value):
            raise UnfitError
    elif kind is tuple or kind is list:
        _check_sequence(value)
    else:
        raise UnfitError


def _check_name(name: str) -> None:
    """Raises `UnfitError` for a name that is too long."""
    if len(name) > MAX_NAME:
        raise UnfitError


def _check_sequence(values: Sequence[Any]) -> None:
    if len(values) > _MAX_ITEMS:
        raise UnfitError
    for value in values:
        kind = type(value)
        if kind is str or kind is bool:
            continue
        if (kind is int and -_INT64 <= value < _INT64) or (kind is float and math.isfinite(value)):
            continue
        raise UnfitError


def _plain_events(span: ReadableSpan) -> list[dict[str, Any]]:
    events = getattr(getattr(span, "_events", None), "_dq", None)  # without the lock and the copy of the SDK's view
    if events is not None and not events:
        return []
    events = span.events
    if len(events) > _MAX_EVENTS:
        raise UnfitError
    return [{"name": one.name, "time_ns": one.timestamp, "attributes": _plain(one.attributes)} for one in events]


def _cleaned(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    budget = MAX_SPAN_BYTES
    try:
        for number, (key, value) in enumerate((attributes or {}).items()):
            if number >= _MAX_ATTRIBUTES or budget <= 0:
                break
            name = clean_text(key, MAX_NAME)
            cleaned[name] = clean_value(value, max_bytes=min(budget, _MAX_VALUE))
            budget -= len(cleaned[name]) if isinstance(cleaned[name], str) else 64
    except Exception:  # noqa: BLE001 -- a mapping whose own code raises: what was read of it stays
        cleaned[semconv.SANITIZED] = True
    return cleaned


def _cleaned_events(span: ReadableSpan) -> list[dict[str, Any]]:
    return [
        {
            "name": clean_text(event.name, MAX_NAME),
            "time_ns": event.timestamp,
            "attributes": clean_value(_cleaned(event.attributes), max_bytes=_MAX_EVENT_BYTES),
        }
        for event in span.events[:_MAX_EVENTS]
    ]


def _extra(span: ReadableSpan, *, careful: bool) -> dict[str, Any]:
    parts: Any = span
    try:  # without the lock and the copies of the SDK's own views
        is_bare = not (
            parts._links._dq or parts._links.dropped or parts._events.dropped or parts._attributes.dropped  # noqa: SLF001 -- see above
        )
    except AttributeError:
        is_bare = False
    if is_bare and not span.status.description and not span.context.trace_state and not _has_remote_parent(span):
        return {}
    return _uncommon(span, careful=careful)


def _has_remote_parent(span: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.is_remote


def _uncommon(span: ReadableSpan, *, careful: bool) -> dict[str, Any]:
    """Returns what few spans have: a status message, links, trace state, a remote parent, what was dropped."""
    extra: dict[str, Any] = {}
    links = span.links
    if span.status.description:
        extra["status_message"] = clean_text(span.status.description, 16 * MAX_NAME)
    if links:
        clean = _cleaned if careful else _plain
        extra["links"] = [
            {
                "trace_id": f"{link.context.trace_id:032x}",
                "span_id": f"{link.context.span_id:016x}",
                "trace_state": link.context.trace_state.to_header(),
                "remote": link.context.is_remote,
                "attributes": clean(link.attributes),
            }
            for link in links[:_MAX_LINKS]
        ]
    if span.context.trace_state:
        extra["trace_state"] = span.context.trace_state.to_header()
    if _has_remote_parent(span):
        extra["remote_parent"] = True
    dropped = [span.dropped_attributes, span.dropped_events, span.dropped_links]
    if any(dropped):
        extra["dropped"] = dropped
    return extra
