"""YAML files whose every value knows its line, so that an error can name file, line and key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Lines: TypeAlias = dict[str, int]
"""The line, from 1, of every dotted key: ``rules.silence[0].until`` to 12."""

MAX_BYTES = 4_000_000
MAX_DEPTH = 40
MAX_VALUES = 100_000
"""Values in one file, aliases counted each time they are used: nested aliases grow without end."""


def read_mapping(path: Path) -> tuple[dict[str, Any], Lines]:
    """Reads a YAML file whose top level is a mapping.

    Args:
        path: The file, UTF-8.

    Returns:
        The values, and the line of every key.

    Raises:
        ConfigError: The file cannot be read, is no YAML, is too large or too deep, uses an alias, names a key twice,
            or is no mapping.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"larger than {MAX_BYTES} bytes", source=str(path))
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", source=str(path)) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8", source=str(path), line=line) from error
    return parse_mapping(text, str(path))


def parse_mapping(text: str, source: str) -> tuple[dict[str, Any], Lines]:
    """Parses YAML text whose top level is a mapping; raises what `read_mapping` raises."""
    import yaml  # noqa: PLC0415 -- only where there is a file: the import costs more than the rest of a start

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        lines: Lines = {}
        value = _build(loader, node, "", lines, source, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(error.problem or "is no YAML", source=source, line=mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"is no YAML: {error}", source=source) from error
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise ConfigError("must be a mapping of keys to values", source=source, line=1)
    return value, lines


def _build(loader: Any, node: Any, key: str, lines: Lines, source: str, depth: int) -> Any:
    import yaml  # noqa: PLC0415

    line = node.start_mark.line + 1
    if key:
        lines.setdefault(key, line)
    if len(lines) > MAX_VALUES:
        raise ConfigError("holds too many values", source=source, line=line)
    if depth > MAX_DEPTH:
        raise ConfigError("nested too deep", source=source, line=line, key=key)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = loader.construct_object(key_node, deep=True)
            place = f"{key}.{name}" if key else str(name)
            where = key_node.start_mark.line + 1
            if not isinstance(name, str):
                # YAML 1.1 reads a bare `on`, `off` or `no` as a truth value.
                raise ConfigError(f"the key {name!r} must be text: quote it", source=source, line=where, key=key)
            if name in mapping:
                raise ConfigError("stands here a second time", source=source, line=where, key=place)
            lines[place] = where
            mapping[name] = _build(loader, value_node, place, lines, source, depth + 1)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, f"{key}[{i}]", lines, source, depth + 1) for i, item in enumerate(node.value)]
    return loader.construct_object(node, deep=True)


_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")


def steps(key: str) -> list[str | int]:
    """A dotted key as the steps into the tree: ``a.b[2]`` to ``["a", "b", 2]``."""
    return [int(number) if number else name for number, name in _STEP.findall(key)]


def split_error(message: str) -> tuple[str, str]:
    """A validation message of msgspec as what is wrong and the dotted key it is about."""
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
