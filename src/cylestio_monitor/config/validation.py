"""Validates one layer of settings, value by value, and never lets a wrong value weaken protection.

A wrong value of an ordered setting, such as a misspelt mode, becomes the stricter of the value in force and the nearest
valid one. A silence or an override with any mistake is dropped whole, because half of its criteria would match more.
"""

from __future__ import annotations

import difflib
import re
from datetime import date
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

import msgspec

from cylestio_monitor import yamlfile
from cylestio_monitor.config import alerts, names
from cylestio_monitor.config.section import Section
from cylestio_monitor.config.settings import Settings, SilenceSettings, options
from cylestio_monitor.config.trees import get, put
from cylestio_monitor.errors import ConfigError, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cylestio_monitor.config.settings import Option

_MAX_PROBLEMS: Final = 200
_MAX_HINTS: Final = 20
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_BLOCK = re.compile(r"[A-Za-z_][\w.-]{0,60}\s*:(?:\s|$)")


class Layer(NamedTuple):
    """The values of one file, or the arguments of one call.

    Attributes:
        tree: The nested values.
        lines: The line of every dotted key; empty for arguments.
        source: The file, or ``argument``.
    """

    tree: dict[str, Any]
    lines: yamlfile.Lines
    source: str

    def written(self, key: str) -> str:
        """Returns a key as the layer spells it: an earlier name where that one is used."""
        alias = next((old for old, new in names.ALIASES.items() if is_below(key, new)), None)
        if alias is None or key in self.lines or alias not in self.lines:
            return key
        return alias + key[len(names.ALIASES[alias]) :]

    def problem(self, reason: str, key: str, used: str = "") -> ConfigError:
        """Builds the error of one key."""
        written = self.written(key)
        return ConfigError(reason, source=self.source, line=self.lines.get(written), key=written, used=used)


def is_below(key: str, parent: str) -> bool:
    """Tells if a dotted key is `parent` or a part of it."""
    return key == parent or key.startswith((f"{parent}.", f"{parent}["))


def validate(
    layer: Layer, before: Settings, problems: list[ConfigError], *, kept: Settings | None = None
) -> dict[str, Any]:
    """Returns the valid values of a layer, nested.

    Args:
        layer: The values as they were read.
        before: The settings of the layers below.
        problems: Receives the values that cannot be used; of very many, the first.
        kept: Settings whose value replaces a wrong one that has no stricter reading.
    """
    found: list[ConfigError] = []
    known = _known(names.canonical(layer.tree), Settings, "", layer, found)
    valid: dict[str, Any] = {}
    for option in options():
        if option.key not in known:
            continue
        value = _value(option, known[option.key], get(before, option.key), layer, found)
        if value is not None:
            put(valid, option.key, value)
        elif kept is not None and known[option.key] is not None:
            put(valid, option.key, msgspec.to_builtins(get(kept, option.key)))
    _check_alerts(valid, before, layer, found)
    found.sort(key=lambda problem: problem.line or 0)
    problems += found[:_MAX_PROBLEMS]
    if len(found) > _MAX_PROBLEMS:
        problems.append(ConfigError(f"has {counted(len(found) - _MAX_PROBLEMS, 'more problem')}", source=layer.source))
    return valid


def _check_alerts(valid: dict[str, Any], before: Settings, layer: Layer, found: list[ConfigError]) -> None:
    """Reports the targets that conditions name and that neither this layer nor those below have."""
    known = {one.name for one in before.alerts.targets} | {one["name"] for one in get(valid, "alerts.targets") or ()}
    written = layer.tree.get("alerts")
    conditions = written.get("conditions") if isinstance(written, dict) else None
    for key, reason in alerts.unknown_targets(conditions, known):
        used = "Cylestio sends the alert to the other targets that the condition names, or else to all"
        found.append(layer.problem(reason, key, used))


def from_environment(
    environ: Mapping[str, str], before: Settings, problems: list[ConfigError]
) -> Iterator[tuple[Option, Any]]:
    """Yields the settings that variables hold, with their values; a list is separated by commas.

    Args:
        environ: The environment.
        before: The settings of the layers below.
        problems: Receives the variables that cannot be used.
    """
    for option in options():
        raw = environ.get(option.env, "").strip()
        if not raw or not option.from_text:
            continue
        found: list[ConfigError] = []
        layer = Layer({}, {}, option.env)
        value = _value(option, _from_text(raw, option), get(before, option.key), layer, found)
        problems += (ConfigError(one.reason, source=option.env, key=option.key, used=one.used) for one in found)
        if value is not None:
            yield option, value


def salvage(text: str, source: str) -> tuple[dict[str, Any], yamlfile.Lines]:
    """Reads what is left of a file that is no valid YAML: each top-level block by itself.

    Of a block that cannot be parsed, the text after the colon stands for the value, so that a broken `mode` is judged
    as a misspelt one. Of a key that stands twice, the last value counts if it is the stricter one, else the first.
    """
    tree: dict[str, Any] = {}
    lines: yamlfile.Lines = {}
    for start, block in _blocks(text):
        name, _, rest = block.partition(":")
        try:
            values, places = yamlfile.parse_mapping(block, source)
        except ConfigError:
            key = name.strip()
            if key == "policy":
                tree[key], lines[key] = [rest], start + 1  # no policy: whoever reads it denies what it would decide
                continue
            if _ordered(key) is None:
                continue
            values, places = {key: rest.strip().strip("'\"")[: yamlfile.MAX_KEY]}, {key: 1}
        for key, value in values.items():
            if key in tree:
                value = _stricter_of_two(key, tree[key], value)  # noqa: PLW2901 -- the value that counts
            tree[key] = value
        lines.update((key, line + start) for key, line in places.items())
    return tree, lines


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yields the number of lines before each top-level block, and the block."""
    block: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines()):
        if _BLOCK.match(line):
            if block:
                yield start, "\n".join(block)
            block, start = [line], number
        elif block:
            block.append(line)
    if block:
        yield start, "\n".join(block)


def _known(
    tree: Mapping[Any, Any], section: type[Section], prefix: str, layer: Layer, found: list[ConfigError]
) -> dict[str, Any]:
    """Returns the values of known keys by dotted key; reports the unknown ones."""
    known: dict[str, Any] = {}
    hints = section.__annotations__
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if name not in hints:
            # The comparison with every key costs more than the rest of the check: it is made for the first mistakes.
            hint = names.did_you_mean(key) if len(found) < _MAX_HINTS else ""
            found.append(layer.problem(f"is not a known key{hint}", key, "Cylestio ignores it"))
            continue
        kind = hints[name]
        if not (isinstance(kind, type) and issubclass(kind, Section)):
            known[key] = value
        elif isinstance(value, dict):
            known.update(_known(value, kind, f"{key}.", layer, found))
        elif value is not None:  # a section without values, all of them commented out, says nothing
            found.append(layer.problem(f"expected `object`, got `{type(value).__name__}`", key, "Cylestio ignores it"))
    return known


def _value(option: Option, value: Any, before: Any, layer: Layer, found: list[ConfigError]) -> Any:
    """Returns a valid value for an option, in the form of the file; ``None`` keeps the value of the layers below."""
    if value is None and option.default is not None:
        found.append(layer.problem("has no value", option.key))
        return None
    items = _item_type(option)
    if items is not None and isinstance(value, (list, tuple)):
        return _list(option, items, value, before, layer, found)
    try:
        _converted(option, option.annotation, value)
    except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as error:
        nearest = _nearest(option, value)
        hint = f"; did you mean {_text(nearest)}?" if nearest is not None else ""
        found.append(layer.problem(yamlfile.split_error(str(error))[0] + hint, option.key))
        return _replacement(option, value, nearest, before)
    return value


def _converted(option: Option, kind: Any, value: Any) -> Any:
    """Returns a value in the form of its type; raises what `msgspec.convert` and the check of the setting raise."""
    converted = msgspec.convert(value, kind)
    if option.check is not None:
        option.check(converted)
    return converted


def _replacement(option: Option, value: Any, nearest: Any, before: Any) -> Any:
    """Returns the value that replaces a wrong one; ``None`` keeps the value of the layers below."""
    if _item_type(option) is not None:
        if not isinstance(value, str) or option.local not in {"add", "paths"}:
            return None
        return _union(before, [nearest] if nearest else [] if option.choices else [value])
    if option.choices and option.local in {"greater", "less"}:
        strictest = option.choices[-1 if option.local == "greater" else 0]
        return strictest if nearest is None else stricter(option, before, nearest)
    if option.type is bool and nearest is not None and option.local == "greater":
        return before or nearest
    return None


def _list(
    option: Option, items: Any, values: list[Any] | tuple[Any, ...], before: Any, layer: Layer, found: list[ConfigError]
) -> list[Any]:
    """Returns the valid items of a list; a wrong item of a list of choices keeps what is in force."""
    valid: list[Any] = []
    is_wrong = False
    for number, value in enumerate(values):
        key = f"{option.key}[{number}]"
        try:
            converted = _converted(option, items, value)
            if isinstance(converted, SilenceSettings):
                _check_silence(converted, value)
        except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as error:
            reason, place = yamlfile.split_error(str(error))
            nearest = _nearest(option, value) if len(found) < _MAX_HINTS else None
            hint = f"; did you mean {_text(nearest)}?" if nearest is not None else ""
            if place and reason == "is not a known key":
                hint = names.did_you_mean(place, tuple(items.__struct_fields__))
            is_entry = isinstance(items, type) and issubclass(items, Section)
            used = "Cylestio ignores the whole entry" if is_entry else "" if option.choices else "Cylestio ignores it"
            found.append(layer.problem(reason + hint, f"{key}.{place}" if place else key, used))
            is_wrong = True
            if nearest is not None:
                valid.append(nearest)
        else:
            valid.append(value)
    return _union(before, valid) if is_wrong and option.choices else valid


def _check_silence(silence: SilenceSettings, written: Any) -> None:
    """Raises `msgspec.ValidationError` for a silence that would hold longer, or match more, than its author wants."""
    if not (silence.rule or silence.path or silence.match_hash):
        raise msgspec.ValidationError(
            "needs a `rule`, a `path` or a `match_hash`: without one it would silence every finding"
        )
    if silence.until is None:
        if "until" in written:
            raise msgspec.ValidationError("has no date; omit the key for a silence without end - at `$.until`")
        return
    try:
        if not _DAY.fullmatch(silence.until):
            raise ValueError  # noqa: TRY301 -- one message for the form and for the calendar
        date.fromisoformat(silence.until)
    except ValueError:
        reason = f"must be a day, YYYY-MM-DD (got {silence.until[:40]!r}) - at `$.until`"
        raise msgspec.ValidationError(reason) from None


def stricter(option: Option, one: Any, other: Any) -> Any:
    """Returns the value of an ordered setting that protects better; an unset one counts as not known."""
    order = option.choices or (False, True)
    if one is None or other is None:
        return order[0] if option.local == "less" else one or other
    pick = max if option.local == "greater" else min
    return pick((one, other), key=order.index)


def _stricter_of_two(key: str, first: Any, second: Any) -> Any:
    """Returns the value that counts of a key that stands twice."""
    option = _ordered(key)
    if option is None or first not in option.choices or second not in option.choices:
        return first if option is None or second not in option.choices else second
    return stricter(option, first, second)


def _ordered(key: str) -> Option | None:
    """Returns the setting with this key if its values are words."""
    return next((one for one in options() if one.key == key and one.choices), None)


def _item_type(option: Option) -> Any:
    """Returns the type of the items of a list setting; ``None`` for other settings."""
    return get_args(option.type)[0] if getattr(option.type, "__origin__", None) is tuple else None


def _nearest(option: Option, value: Any) -> Any:
    """Returns the choice that a misspelt word comes close to; ``None`` where there is none."""
    if not isinstance(value, str):
        return None
    text = value.strip().lower()[:60]
    if option.type is bool:
        word = next(iter(difflib.get_close_matches(text, (*_TRUE, *_FALSE), 1, 0.6)), None)
        return None if word is None else word in _TRUE
    return next(iter(difflib.get_close_matches(text, option.choices, 1, 0.6)), None)


def _union(before: Any, more: list[Any]) -> list[Any]:
    return list(dict.fromkeys((*(before or ()), *more)))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _from_text(raw: str, option: Option) -> Any:
    """Converts the text of a variable into the form that a file would hold; a wrong text stays as it is."""
    if _item_type(option) is not None:
        return [item.strip() for item in raw.split(",") if item.strip()]
    text = raw.lower() if option.choices else raw
    if option.type is bool:
        word = raw.lower()
        return True if word in _TRUE else False if word in _FALSE else raw
    try:
        return msgspec.convert(text, option.type, strict=False)
    except msgspec.ValidationError:
        return text
