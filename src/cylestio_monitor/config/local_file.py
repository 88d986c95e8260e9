"""Restricts the settings file of a working directory, which may come from a stranger's repository.

Such a file can tighten settings, set labels that nobody else sets, and name paths inside its own folder. Everything
else is not applied and reported. `section.Local` names the change that each setting allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.config.locations import CONFIG_VARIABLE, is_inside
from cylestio_monitor.config.settings import options
from cylestio_monitor.config.trees import flatten, get, put
from cylestio_monitor.config.validation import stricter

if TYPE_CHECKING:
    from pathlib import Path

    from cylestio_monitor.config.section import Local
    from cylestio_monitor.config.settings import Option, Settings
    from cylestio_monitor.config.validation import Layer
    from cylestio_monitor.errors import ConfigError

_LIMITS: Final[dict[Local, str]] = {
    "no": "cannot change it",
    "greater": "cannot weaken it",
    "less": "cannot weaken it",
    "add": "cannot remove anything from it",
    "label": "cannot replace a value from a trusted source",
    "path": "cannot name a path outside its folder, or replace one from a trusted source",
    "paths": "cannot name paths outside its folder",
    "critical": "cannot set another severity than `critical`",
}


class _AllowedChange(NamedTuple):
    """The part of a change that is allowed.

    Attributes:
        value: The new value; ``None`` changes nothing.
        is_whole: Nothing that the file asks for is left out.
    """

    value: Any
    is_whole: bool


def restrict(
    valid: dict[str, Any], layer: Layer, before: Settings, folder: Path, problems: list[ConfigError]
) -> dict[str, Any]:
    """Returns the part of a layer that a file in the working directory may set.

    Args:
        valid: The valid values of the layer.
        layer: The layer, for the places of its keys.
        before: The settings without it.
        folder: The folder of the file.
        problems: Receives what is not applied.
    """
    allowed: dict[str, Any] = {}
    known = {option.key: option for option in options()}
    for key, value in flatten(valid):
        option, current = known[key], msgspec.to_builtins(get(before, key))
        change = _change(option, value, list(current) if isinstance(current, tuple) else current, folder)
        if change.value is not None:
            put(allowed, key, change.value)
        if not change.is_whole:
            reason = (
                f"is not applied: a settings file in the working directory {_LIMITS[option.local]}, only one that "
                f"{CONFIG_VARIABLE} names can"
            )
            problems.append(layer.problem(reason, key))
    return allowed


def _change(option: Option, value: Any, current: Any, folder: Path) -> _AllowedChange:
    if value == current:
        return _AllowedChange(None, is_whole=True)
    match option.local:
        case "greater" | "less":
            return _tightened(option, value, current)
        case "label":
            return _AllowedChange(value, is_whole=True) if current is None else _AllowedChange(None, is_whole=False)
        case "path":
            fits = current is None and is_inside(value, folder)
            return _AllowedChange(str(folder / value) if fits else None, is_whole=fits)
        case "add":
            return _AllowedChange(list(dict.fromkeys([*current, *value])), is_whole=True)
        case "paths":
            inside = [str(folder / path) for path in value if is_inside(path, folder)]
            return _AllowedChange([*current, *inside] if inside else None, is_whole=len(inside) == len(value))
        case "critical":
            raised = [entry for entry in value if entry["severity"] == "critical"]
            return _AllowedChange([*current, *raised] if raised else None, is_whole=len(raised) == len(value))
        case "no":
            return _AllowedChange(None, is_whole=False)


def _tightened(option: Option, value: Any, current: Any) -> _AllowedChange:
    """Applies an ordered value if it is the stricter one; an unset one gives way to the strictest value alone."""
    if option.choices or option.type is bool:
        order = option.choices or (False, True)
        strictest = order[-1 if option.local == "greater" else 0]
        is_stricter = value == strictest if current is None else stricter(option, current, value) == value
    else:
        is_stricter = value > current if option.local == "greater" else value < current
    return _AllowedChange(value if is_stricter else None, is_whole=is_stricter)
