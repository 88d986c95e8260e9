"""The leaves of a message part: a structured text is parsed, so that a value of its own differs from one inside prose.

A tool often returns JSON, a Python literal or YAML as text. Judged by line, an attacker who writes ``value: X`` into a
comment would look like a field; judged by parsed leaf, the comment stays one prose leaf.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from cylestio_monitor.scan.walk import as_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PARSED: Final = 100_000
"""Code points up to which a text is parsed; a longer one is one prose leaf."""

MAX_LEAVES: Final = 5000
"""Leaves read from one part."""

MAX_DEPTH: Final = 40
"""Depth to which values are walked."""

TOO_DEEP: Final = object()
"""Stands in a walk for a part that lies deeper than `MAX_DEPTH`."""

_YAML_LINE: Final = re.compile(r"^(?: *- )*[\w.-]{1,60}:(?: |$)|^ *- ", re.MULTILINE)


class ValueLeaf(NamedTuple):
    """One text of a value.

    Attributes:
        path: Its place in the value, such as ``[0].body``; empty for a text that is the whole value.
        text: The text.
    """

    path: str
    text: str


def leaves(content: object) -> Iterator[ValueLeaf]:
    """The leaves of a part's content, numbers as text, at most `MAX_LEAVES`.

    Args:
        content: A text, parsed where it holds JSON, a Python literal or YAML, or any JSON-like value.
    """
    value = parse(content) if isinstance(content, str) else content
    for number, (path, item) in enumerate(walk(value, keys=True)):
        if number == MAX_LEAVES:
            return
        if isinstance(item, str):
            yield ValueLeaf(path, item)
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield ValueLeaf(path, str(item))


def walk(value: object, path: str = "", *, keys: bool = False, depth: int = 0) -> Iterator[tuple[str, object]]:
    """The scalars of a JSON-like value, each with its place; `TOO_DEEP` for what lies deeper than `MAX_DEPTH`.

    Args:
        value: The value.
        path: The place of the value.
        keys: Whether a key that holds blanks, text that a model reads, is given too, under the place ``{key}``.
        depth: The depth of the value.
    """
    if depth > MAX_DEPTH:
        yield path, TOO_DEEP
    elif isinstance(value, Mapping):
        for key, item in value.items():
            place = f"{path}.{key}" if path else str(key)
            if keys and isinstance(key, str) and " " in key:
                yield f"{path}.{{key}}" if path else "{key}", key
            yield from walk(item, place, keys=keys, depth=depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for number, item in enumerate(value):
            yield from walk(item, f"{path}[{number}]", keys=keys, depth=depth + 1)
    elif value is None or isinstance(value, str | bool | int | float | bytes):
        yield path, value
    elif (fields := as_mapping(value)) is not None:
        yield from walk(fields, path, keys=keys, depth=depth + 1)
    else:
        yield path, value


def parse(text: str) -> object:
    """The value that a text spells as JSON, Python literal or YAML; the text itself where it spells none."""
    stripped = text.strip()
    if not stripped or len(text) > MAX_PARSED:
        return text
    if stripped[0] in "{[":
        try:
            return msgspec.json.decode(stripped)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            pass
        try:
            return ast.literal_eval(stripped)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return text
    if "\n" in stripped and _YAML_LINE.match(stripped):
        return _yaml(text)
    return text


def _yaml(text: str) -> object:
    import yaml  # noqa: PLC0415 -- few results are YAML, and the import is slow

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        # The base loader builds text alone and shares what an alias names; the walk over it is bounded.
        value = yaml.load(text, Loader=loader)  # noqa: S506 -- it builds no objects
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return text
    return value if isinstance(value, dict | list) else text
