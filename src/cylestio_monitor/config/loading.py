"""Loads the settings: reads every layer, validates each by itself, merges them.

The layers, the later winning: the defaults, the file of the user's configuration folder, `cylestio.yaml` in the working
directory (which can only tighten), the environment, the arguments of `start_monitoring`. A file that `CYLESTIO_CONFIG`
names replaces the two files. `load` never raises for the content of a layer: a wrong value is reported and replaced by
one that protects at least as well.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cylestio_monitor import yamlfile
from cylestio_monitor.config import local_file, names, validation
from cylestio_monitor.config.locations import CONFIG_VARIABLE, settings_files
from cylestio_monitor.config.settings import Settings, options
from cylestio_monitor.config.trees import flatten, get, merge, put
from cylestio_monitor.config.validation import Layer
from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cylestio_monitor.config.locations import SettingsFile

_NAMES = ("agent_id", "session_id")
_MOST_LINES = 20
"""Most problems that `Loaded.report` writes out."""


class InlinePolicy(NamedTuple):
    """A policy that stands in a settings file.

    Attributes:
        tree: Its document; anything but a mapping is an error that its reader reports.
        lines: The line of each of its dotted keys.
        source: The settings file.
    """

    tree: Any
    lines: yamlfile.Lines
    source: str


class Loaded(NamedTuple):
    """The result of `load`.

    Attributes:
        settings: The settings in force.
        problems: The values that could not be used, each with its file, line and key.
        sources: The settings files that were read, the weakest first.
        origin: The place that set each key that differs from its default: a file with line, a variable, ``argument``.
        policy: The policy that stands in the settings file itself, where one does.
    """

    settings: Settings
    problems: list[ConfigError]
    sources: tuple[Path, ...]
    origin: dict[str, str]
    policy: InlinePolicy | None = None

    @property
    def source(self) -> Path | None:
        """The settings file with the highest priority."""
        return self.sources[-1] if self.sources else None

    def report(self, log: logging.Logger) -> None:
        """Writes one warning per problem; of very many, a number."""
        for problem in self.problems[:_MOST_LINES]:
            log.warning("%s", problem)
        if len(self.problems) > _MOST_LINES:
            more = len(self.problems) - _MOST_LINES
            log.warning("cylestio: %d more problems in the settings; `cylestio config check` lists them", more)


def load(
    environ: Mapping[str, str] | None = None,
    *,
    path: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    in_force: Settings | None = None,
) -> Loaded:
    """Reads the settings from files, environment and arguments. It never raises for their content.

    Args:
        environ: The environment; `os.environ` without it.
        path: A settings file that replaces those of the usual places.
        overrides: Nested values with the highest priority, in the form of the YAML file.
        in_force: The settings of a running set-up that `overrides` changes; a wrong value keeps the one there.
    """
    environ = os.environ if environ is None else environ
    problems: list[ConfigError] = []
    origin: dict[str, str] = {}
    tree: dict[str, Any] = {}
    files = settings_files(environ, path, problems)
    policy: InlinePolicy | None = None
    for file in files:
        policy = _add_file(file, tree, origin, problems) or policy
    for variable, value in validation.from_environment(environ, _convert(tree), problems):
        put(tree, variable.key, value)
        origin[variable.key] = variable.env
    if overrides:
        given = dict(overrides)
        if not isinstance(given.get("policy"), str | os.PathLike | None):
            policy = InlinePolicy(msgspec.to_builtins(given.pop("policy"), enc_hook=repr), {}, "argument")
            put(tree, "policy", None)
        layer = Layer(given, {}, "argument")
        before = _convert(tree) if in_force is None else in_force
        valid = validation.validate(layer, before, problems, kept=in_force)
        merge(tree, valid)
        origin.update(dict.fromkeys((key for key, _ in flatten(valid)), "argument"))
    problems += names.unknown_variables(environ)
    settings = _convert(tree)
    if settings.policy or policy is not None:
        _drop_local_names(files, tree, origin, problems)
        settings = _convert(tree)
    shown = [_with_value(one, settings) for one in problems]
    return Loaded(settings, shown, tuple(file.path for file in files), origin, policy)


def _add_file(
    file: SettingsFile, tree: dict[str, Any], origin: dict[str, str], problems: list[ConfigError]
) -> InlinePolicy | None:
    source = str(file.path)
    try:
        values, lines = yamlfile.parse_mapping(file.text, source)
    except ConfigError as error:
        problems.append(error.but_used("Cylestio uses the parts that it can read"))
        values, lines = validation.salvage(file.text, source)
    policy = _inline_policy(file, values, lines, problems)
    if policy is not None:
        put(tree, "policy", None)  # this one replaces a file that a layer below names
    layer = Layer(values, lines, source)
    before = _convert(tree)
    valid = validation.validate(layer, before, problems)
    if not file.trusted:
        valid = local_file.restrict(valid, layer, before, file.path.absolute().parent, problems)
    packs = get(valid, "rules.packs")
    if packs:
        folder = file.path.absolute().parent
        put(valid, "rules.packs", [pack if pack.startswith("~") else str(folder / pack) for pack in packs])
    merge(tree, valid)
    for key, _ in flatten(valid):
        origin[key] = f"{source}:{lines[layer.written(key)]}" if layer.written(key) in lines else source
    if get(valid, "policy"):
        put(tree, "policy", str(file.path.absolute().parent / valid["policy"]))
    return policy


def _inline_policy(
    file: SettingsFile, values: dict[str, Any], lines: yamlfile.Lines, problems: list[ConfigError]
) -> InlinePolicy | None:
    """Takes the policy out of the values of a file; only a trusted file can hold one."""
    if values.get("policy") is None or isinstance(values["policy"], str):
        return None
    tree = values.pop("policy")
    if not file.trusted:
        reason = f"is not applied: only a settings file that {CONFIG_VARIABLE} names can hold a policy"
        problems.append(
            ConfigError(
                reason, source=str(file.path), line=lines.get("policy"), key="policy", used="Cylestio ignores it"
            )
        )
        return None
    own = {name.removeprefix("policy."): line for name, line in lines.items() if name.startswith("policy.")}
    return InlinePolicy(tree, own, str(file.path))


def _drop_local_names(
    files: Iterable[SettingsFile], tree: dict[str, Any], origin: dict[str, str], problems: list[ConfigError]
) -> None:
    """Takes back the names that a file in the working directory gave: it does not choose whom a policy is about."""
    for file in files:
        source = str(file.path)
        for key in () if file.trusted else _NAMES:
            place = origin.get(key, "")
            if place != source and not place.startswith(f"{source}:"):
                continue
            put(tree, key, None)
            del origin[key]
            line = int(place.removeprefix(f"{source}:")) if place != source else None
            reason = "is not applied: a settings file in the working directory cannot name whom the policy is about"
            problems.append(ConfigError(reason, source=source, line=line, key=key, used="Cylestio ignores it"))


def _convert(tree: dict[str, Any]) -> Settings:
    """Converts a tree of which every part is valid."""
    return msgspec.convert(tree, Settings)


def _with_value(problem: ConfigError, settings: Settings) -> ConfigError:
    """Adds the value in force to a problem that concerns one setting."""
    if problem.used or not problem.key:
        return problem
    option = next((one for one in options() if validation.is_below(problem.key, one.key)), None)
    if option is None:
        return problem
    value = msgspec.to_builtins(get(settings, option.key))
    text = json.dumps(value, ensure_ascii=False)
    used = "Cylestio uses " + ("no value" if value is None else text if len(text) <= 60 else "the other values")
    return ConfigError(problem.reason, source=problem.source, line=problem.line, key=problem.key, used=used)
