"""The content of a tool definition: its canonical form, its digest, what changed, and the tools that it refers to."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor import sanitize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from cylestio_monitor.model import ToolDefinition

MAX_BYTES: Final = 256 * 1024
"""Bytes of a definition's JSON that are kept; the digest covers all of it."""

_FIELDS: Final = ("name", "description", "parameters", "type", "extra")
_NAME: Final = re.compile(r"[^\W\d][\w./-]*[^\W_]|[^\W\d]")
_NAMED: Final = re.compile(
    r"[`'\"\u201c\u2018]([^\W\d][\w./-]*)(?:\(\))?[`'\"\u201d\u2019]|\b([^\W\d]\w*)\("
    r"|\b(?:tools?|functions?) ([^\W\d]\w*)\b|\b([^\W\d]\w*)(?= (?:tool|function)\b)"
)
_COMPOUND: Final = re.compile(r"[a-z0-9][_./-][a-z0-9]|[a-z][A-Z]|[_./-]\w")


class Definition(NamedTuple):
    """A tool definition as it is compared.

    Attributes:
        name: The tool's name.
        path: Where it stood in the request or the answer.
        content: ``name``, ``description``, ``parameters``, ``type`` and ``extra``, as far as they are given.
        digest: SHA-256 of the content in a canonical form, hexadecimal.
    """

    name: str
    path: str
    content: dict[str, Any]
    digest: str

    @classmethod
    def of(cls, tool: ToolDefinition) -> Definition:
        """The definition of a tool that was offered to a model or listed by a server."""
        content = content_of(tool)
        try:
            canonical = msgspec.json.encode(content, order="sorted")
        except Exception:  # noqa: BLE001 -- half a surrogate pair, or whatever an SDK holds: cleaned, it is compared as well
            content = sanitize.clean_value(content, max_bytes=MAX_BYTES)
            canonical = msgspec.json.encode(content, order="sorted")
        return cls(tool.name, tool.path, content, hashlib.sha256(canonical).hexdigest())


def content_of(tool: ToolDefinition) -> dict[str, Any]:
    """The fields of a definition that a model may read; those without a value are left out."""
    given = {name: getattr(tool, name) for name in _FIELDS}
    return {name: value for name, value in given.items() if value is not None and (name, value) != ("type", "function")}


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the fields that differ, such as ``description``; of `extra`, the names of its own fields."""
    found = []
    for name in _FIELDS:
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        if name == "extra" and isinstance(one or {}, dict) and isinstance(other or {}, dict):
            one, other = one or {}, other or {}
            found += sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
        else:
            found.append(name)
    return tuple(found)


def difference(before: str, after: str, from_name: str = "before", to_name: str = "after") -> list[str]:
    """The lines of a unified diff of two definitions, each given as JSON.

    Args:
        before: The older definition.
        after: The newer definition.
        from_name: The name of the older one in the head of the diff.
        to_name: The name of the newer one.
    """
    return list(difflib.unified_diff(_lines(before), _lines(after), from_name, to_name, lineterm=""))


def names_in(content: Mapping[str, Any]) -> frozenset[str]:
    """The words of a definition that may be names of other tools.

    A word that is put together, such as ``send_email``, counts wherever it stands. A plain one, such as ``search``,
    counts where the text says that it names a tool: quoted, called, or beside the word "tool".
    """
    found: set[str] = set()
    for text in _texts({name: value for name, value in content.items() if name != "name"}):
        found.update(word for word in _NAME.findall(text) if _COMPOUND.search(word))
        found.update(name for groups in _NAMED.findall(text) for name in groups if name)
    return frozenset(found)


def referred(names: Collection[str], known: Iterable[str]) -> list[str]:
    """Those of the known tools that a definition with these words refers to, sorted."""
    return sorted(name for name in known if name in names)


def _texts(value: object) -> Iterator[str]:
    """The texts of a JSON value below its keys."""
    open_values = [value]
    while open_values:
        one = open_values.pop()
        if isinstance(one, str):
            yield one[:MAX_BYTES]
        elif isinstance(one, dict):
            open_values += one.values()
        elif isinstance(one, (list, tuple)):
            open_values += one


def _lines(definition: str) -> list[str]:
    """A definition as indented JSON, its longer texts in lines of their own."""
    try:
        content = json.loads(definition)
    except (ValueError, RecursionError):
        return definition.splitlines()
    lines = []
    for line in json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True).splitlines():
        first, *more = line.split("\\n")
        lines += [first, *(f"    {one}" for one in more)]
    return lines
