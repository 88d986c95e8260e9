"""Reads YAML files and records the line of every value, so that an error can name file, line and key.

The reader builds plain values from the parser's events. Size, number of values, nesting and key length are bounded
while it reads, so the time is bounded too. Scalars follow YAML 1.1 with three exceptions: dates, sexagesimal numbers
(``1:30``) and ``=`` are text.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Lines: TypeAlias = dict[str, int]
"""The line, from 1, of every dotted key: ``rules.silence[0].until`` to 12."""

MAX_BYTES: Final = 2_000_000
MAX_DEPTH: Final = 40
MAX_VALUES: Final = 50_000
"""Values in one file; an alias counts as the values behind it, because nested aliases grow without end."""
MAX_KEY: Final = 200
"""Longest key, in code points."""

_MAX_DIGITS: Final = 300
_TAG: Final = "tag:yaml.org,2002:"
_COLLECTIONS: Final = {None, "!", f"{_TAG}map", f"{_TAG}seq"}


def read_mapping(path: Path) -> tuple[dict[str, Any], Lines]:
    """Reads a YAML file whose top level is a mapping.

    Args:
        path: The file, UTF-8.

    Returns:
        The values, and the line of every key.

    Raises:
        ConfigError: The file cannot be read, is no regular file, is no YAML, exceeds a limit, names a key twice, or
            holds no mapping.
    """
    return parse_mapping(read_text(path), str(path))


def read_text(path: Path, check: Callable[[os.stat_result], None] | None = None) -> str:
    """Reads a regular file of at most `MAX_BYTES` bytes; a FIFO or a device is refused and does not block.

    Args:
        path: The file, UTF-8.
        check: Receives the status of the opened file and raises `ConfigError` to refuse it. With it, a symbolic link
            is refused too.

    Raises:
        ConfigError: The file cannot be read, is no regular file, is too large, or is not UTF-8.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    if check is not None:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError("is not a regular file", source=str(path))
            if check is not None:
                check(status)
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", source=str(path)) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES} bytes", source=str(path))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8", source=str(path), line=line) from error


def parse_mapping(text: str, source: str) -> tuple[dict[str, Any], Lines]:
    """Parses YAML text whose top level is a mapping.

    Args:
        text: The text.
        source: The name of the file, for errors.

    Raises:
        ConfigError: As `read_mapping`, for everything that concerns the text.
    """
    import yaml  # noqa: PLC0415 -- only a process with a settings file pays for the import, the largest part of a start

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        value, lines = _Builder(loader, source).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(error.problem or "is no YAML", source=source, line=mark.line + 1 if mark else None) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"is no YAML: {' '.join(str(error).split())}", source=source) from error
    finally:
        loader.dispose()
    if value is None:
        return {}, {}
    if not isinstance(value, dict):
        raise ConfigError("must be a mapping of keys to values", source=source, line=1)
    return value, lines


class _Anchor(NamedTuple):
    """The value of an anchor, and how much it adds wherever it is used."""

    value: Any
    size: int
    depth: int


class _Builder:
    """Builds the values of one document from the events of the parser."""

    def __init__(self, loader: Any, source: str) -> None:
        import yaml  # noqa: PLC0415 -- imported by the caller already

        self._yaml = yaml
        self._loader = loader
        self._source = source
        self._lines: Lines = {}
        self._anchors: dict[str, _Anchor] = {}
        self._size = 0
        self._deepest = 0

    def document(self) -> tuple[Any, Lines]:
        """Returns the value of the only document, ``None`` for an empty file, and the lines of its keys."""
        yaml, loader = self._yaml, self._loader
        loader.get_event()  # the start of the stream
        if loader.check_event(yaml.StreamEndEvent):
            return None, {}
        loader.get_event()  # the start of the document
        value = self._value(loader.get_event(), "", 0)
        loader.get_event()  # its end
        if not loader.check_event(yaml.StreamEndEvent):
            raise self._error("holds more than one document", loader.peek_event())
        return value, self._lines

    def _value(self, event: Any, key: str, depth: int) -> Any:
        yaml = self._yaml
        if key:
            self._lines.setdefault(key, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._size += 1
        self._deepest = max(self._deepest, depth)
        self._check(event, key, depth)
        size, deepest = self._size, self._deepest
        self._deepest = depth
        if not isinstance(event, yaml.ScalarEvent) and event.tag not in _COLLECTIONS:
            raise self._error(f"the tag {event.tag[:MAX_KEY]} is not supported", event, key)
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self._mapping(key, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(key, depth)
        else:
            value = self._scalar(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(value, self._size - size + 1, self._deepest - depth)
        self._deepest = max(self._deepest, deepest)
        return value

    def _alias(self, event: Any, depth: int) -> Any:
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            raise self._error(f"found undefined alias {event.anchor[:MAX_KEY]!r}", event)
        self._size += anchor.size
        self._deepest = max(self._deepest, depth + anchor.depth)
        self._check(event, "", depth + anchor.depth)
        return anchor.value

    def _check(self, event: Any, key: str, depth: int) -> None:
        if self._size > MAX_VALUES:
            raise self._error("holds too many values", event)
        if depth > MAX_DEPTH:
            raise self._error("is nested too deep", event, key)

    def _mapping(self, key: str, depth: int) -> dict[str, Any]:
        yaml, loader = self._yaml, self._loader
        mapping: dict[str, Any] = {}
        while not isinstance(event := loader.get_event(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error("a key must be text", event, key)
            name = self._scalar(event)
            if not isinstance(name, str):
                # YAML 1.1 reads a bare `on`, `off` or `no` as a truth value.
                raise self._error(f"the key {event.value[:MAX_KEY]!r} must be text: quote it", event, key)
            if len(name) > MAX_KEY:
                raise self._error(f"a key is longer than {MAX_KEY} characters", event, key)
            place = f"{key}.{name}" if key else name
            if name in mapping:
                raise self._error("stands here a second time", event, place)
            self._lines[place] = event.start_mark.line + 1
            mapping[name] = self._value(loader.get_event(), place, depth + 1)
        return mapping

    def _sequence(self, key: str, depth: int) -> list[Any]:
        yaml, loader = self._yaml, self._loader
        items: list[Any] = []
        while not isinstance(event := loader.get_event(), yaml.SequenceEndEvent):
            items.append(self._value(event, f"{key}[{len(items)}]", depth + 1))
        return items

    def _scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(self._yaml.ScalarNode, event.value, event.implicit)
        if not tag.startswith(_TAG) or tag[len(_TAG) :] not in _SCALARS:
            raise self._error(f"the tag {tag[:MAX_KEY]} is not supported", event)
        try:
            return _SCALARS[tag[len(_TAG) :]](event.value)
        except ValueError as error:
            raise self._error(f"{event.value[:MAX_KEY]!r} is not a value of this type", event) from error

    def _error(self, reason: str, event: Any, key: str = "") -> ConfigError:
        return ConfigError(reason, source=self._source, line=event.start_mark.line + 1, key=key)


_BOOLEANS: Final = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]


def _integer(text: str) -> int | str:
    if ":" in text:
        return text  # sexagesimal in YAML 1.1: a time of day for everybody, and quadratic to compute
    if len(text) > _MAX_DIGITS:
        raise ValueError(text)
    digits = text.replace("_", "").lower()
    bare = digits.lstrip("+-")
    if bare.startswith(("0x", "0b")):
        return int(digits, 0)
    return int(digits, 8 if bare.startswith("0") and bare != "0" else 10)


def _float(text: str) -> float | str:
    if ":" in text:
        return text
    return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    "null": lambda _: None,
    "bool": _boolean,
    "int": _integer,
    "float": _float,
    "str": str,
    "timestamp": str,
    "value": str,
    "merge": str,
}
"""Type of each scalar tag to its constructor."""

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")


def steps(key: str) -> list[str | int]:
    """Splits a dotted key into the steps of the tree: ``a.b[2]`` into ``["a", "b", 2]``."""
    return [int(number) if number else name for number, name in _STEP.findall(key)]


def split_error(message: str) -> tuple[str, str]:
    """Splits a validation message of msgspec into the reason and the dotted key."""
    reason, _, place = message.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    unknown = _UNKNOWN.match(reason)
    if unknown:
        name = unknown[1]
        return "is not a known key", f"{key}.{name}" if key else name
    missing = re.match(r"Object missing required field `([^`]*)`", reason)
    if missing:
        return f"lacks `{missing[1]}`", key
    return reason[:1].lower() + reason[1:], key
