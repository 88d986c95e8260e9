"""JSON Schema validation by the library `jsonschema`, imported when the first schema is used.

The schema of a tool comes from a server or an application and may be hostile: nothing is fetched, references are
followed within the schema and a bounded number of times, and a pattern that may not end is not tested.
"""

from __future__ import annotations

import functools
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from cylestio_monitor import sanitize
from cylestio_monitor.rules import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_SCHEMA: Final = 64 * 1024
"""Bytes of a tool's schema, as JSON; a longer one is not used."""

MAX_VALUE: Final = 1024 * 1024
"""Bytes of the arguments that are validated, as JSON."""

MAX_VIOLATIONS: Final = 5
"""Violations that are reported of one call."""

_MAX_REFERENCES: Final = 10_000  # a chain of doubled references would otherwise be followed 2**n times
_MAX_DEPTH: Final = 60
_DETAIL_CHARS: Final = 80
_VALUES: Final = frozenset({"enum", "const", "default", "examples", "required"})
"""Keywords whose value is data and no schema."""

_references: ContextVar[list[int]] = ContextVar("cylestio_schema_references")


class Validator(Protocol):
    """A compiled schema."""

    def is_valid(self, instance: object) -> bool:
        """Returns whether the value is valid."""

    def iter_errors(self, instance: object) -> Any:
        """The errors of a value, lazily."""


class Violation(NamedTuple):
    """A place where a value breaks a schema; it holds words of the schema and none of the value but its keys.

    Attributes:
        place: The place in the value, such as ``.recipients[0]``; empty for the value as a whole.
        reason: The keyword, and what it asks for where that is a word: ``type: integer``, ``required: to``.
    """

    place: str
    reason: str


def validator(schema: dict[str, Any]) -> Validator:
    """A validator of a schema, by the draft that its ``$schema`` names, else by 2020-12. References stay inside it.

    Raises:
        ValueError: The schema is not valid, or the package is not installed.
    """
    try:
        import jsonschema  # noqa: PLC0415 -- few programs validate, and the import takes 60 ms
        import referencing  # noqa: PLC0415 -- comes with it
    except ImportError as error:
        raise ValueError("JSON Schema needs: pip install 'cylestio-monitor[control]'") from error
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"json_schema: {error.message}") from error
    return _bounded(kind)(schema, registry=referencing.Registry())  # type: ignore[no-any-return]


def violations(schema: dict[str, Any], value: object) -> list[Violation]:
    """The violations of a tool's schema by arguments, at most `MAX_VIOLATIONS`.

    Args:
        schema: The schema of the tool's arguments.
        value: The arguments; ``None`` and an empty text stand for none.

    Raises:
        ValueError: The schema cannot be used, the value is too large, or the package is not installed.
    """
    given = {} if value is None or value == "" else value
    try:
        encoded, plain = msgspec.json.encode(schema), msgspec.json.encode(given)
    except Exception as error:  # an object of any kind in either of them
        raise ValueError(f"schema or arguments are no JSON: {type(error).__name__}") from error
    if len(encoded) > MAX_SCHEMA or len(plain) > MAX_VALUE:
        raise ValueError("schema or arguments are too large")
    token = _references.set([_MAX_REFERENCES])
    try:
        return list(_found(_compiled(encoded), msgspec.json.decode(plain)))
    except ValueError:
        raise
    except Exception as error:  # a reference to nothing or without end, and whatever else a schema can cause
        raise ValueError(f"the schema cannot be followed: {type(error).__name__}") from error
    finally:
        _references.reset(token)


def _found(compiled: Validator, value: object) -> Iterator[Violation]:
    seen: set[Violation] = set()
    for error in compiled.iter_errors(value):
        place, keyword, wanted = error.json_path.removeprefix("$"), str(error.validator), error.validator_value
        if keyword == "required":
            wanted = ", ".join(str(name) for name in wanted if name not in error.instance)
        elif keyword != "type":
            wanted = None
        detail = ", ".join(map(str, wanted)) if isinstance(wanted, list) else wanted
        reason = f"{keyword}: {detail}" if detail else keyword
        violation = Violation(place, sanitize.clean_text(sanitize.one_line(reason, _DETAIL_CHARS), _DETAIL_CHARS))
        if violation not in seen:
            seen.add(violation)
            yield violation
        if len(seen) == MAX_VIOLATIONS:
            return


@functools.lru_cache(maxsize=256)
def _compiled(schema: bytes) -> Validator:
    return validator(_usable(msgspec.json.decode(schema), 0))


def _usable(schema: Any, depth: int) -> Any:
    """A schema without what must not be followed: references out of it, and patterns that may not end."""
    if depth > _MAX_DEPTH:
        raise ValueError("the schema is too deep")
    if isinstance(schema, list):
        return [_usable(item, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {name: one if name in _VALUES else _usable(one, depth + 1) for name, one in schema.items()}
    for name in ("$ref", "$dynamicRef"):
        if isinstance(out.get(name), str) and not out[name].startswith("#"):
            del out[name]
    if isinstance(out.get("pattern"), str) and not _ends(out["pattern"]):
        del out["pattern"]
    named = out.get("patternProperties")
    if isinstance(named, dict) and not all(map(_ends, named)):
        for name in ("patternProperties", "additionalProperties", "unevaluatedProperties"):
            out.pop(name, None)
    if isinstance(kind := out.get("type"), str) and kind.isupper():  # the spelling of Google's API
        out["type"] = [kind.lower(), "null"] if out.get("nullable") is True else kind.lower()
    return out


@functools.lru_cache(maxsize=1024)
def _ends(expression: str) -> bool:
    try:
        pattern.shape(expression, ignore_case=False)
    except (ValueError, re.error, OverflowError, RecursionError):
        return False
    return True


@functools.lru_cache(maxsize=16)
def _bounded(kind: Any) -> Any:
    """The class of validators of a draft, with a bound on the references that one validation follows."""
    from jsonschema.validators import extend  # noqa: PLC0415 -- imported by the caller

    names = [name for name in ("$ref", "$dynamicRef", "$recursiveRef") if name in kind.VALIDATORS]
    return extend(kind, {name: _counted(kind.VALIDATORS[name]) for name in names})


def _counted(follow: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        left = _references.get(None)
        if left is not None:
            left[0] -= 1
            if left[0] < 0:
                raise ValueError("the schema follows too many references")
        yield from follow(*args) or ()

    return counted
