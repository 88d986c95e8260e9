"""JSON Schema validation by the library `jsonschema`, imported when the first schema is used."""

from __future__ import annotations

from typing import Any, Protocol


class Validator(Protocol):
    """A compiled schema."""

    def is_valid(self, instance: object) -> bool:
        """Returns whether the value is valid."""

    def iter_errors(self, instance: object) -> Any:
        """The errors of a value, lazily."""


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
    return kind(schema, registry=referencing.Registry())  # type: ignore[no-any-return]


def problem(schema: dict[str, Any], value: object) -> str | None:
    """The first problem of a value as ``place: keyword``, without content; ``None`` where it is valid.

    Args:
        schema: The schema, such as a tool's own parameters.
        value: The value.
    """
    error = next(iter(validator(schema).iter_errors(value)), None)
    if error is None:
        return None
    return f"{error.json_path}: {error.validator}"
