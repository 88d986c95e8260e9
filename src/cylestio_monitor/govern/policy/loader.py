"""Reads a policy from a file or from the settings; every problem names file, line and key."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cylestio_monitor import yamlfile
from cylestio_monitor.errors import ConfigError
from cylestio_monitor.govern.policy import checks
from cylestio_monitor.govern.policy.document import (
    AfterCondition,
    AgentPolicy,
    ArgumentCondition,
    BudgetCondition,
    FindingCondition,
    OriginCondition,
    PolicyDocument,
    PolicyRule,
    RateCondition,
)
from cylestio_monitor.govern.policy.engine import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor import config

_STRUCTS = (
    PolicyDocument,
    PolicyRule,
    AgentPolicy,
    ArgumentCondition,
    FindingCondition,
    OriginCondition,
    AfterCondition,
    RateCondition,
    BudgetCondition,
)
_KEYS = sorted({field.encode_name for struct in _STRUCTS for field in msgspec.structs.fields(struct)})


_MODE = re.compile(r"""^[ \t]*["']?mode["']?[ \t]*:[ \t]*["']?([\w-]+)""", re.MULTILINE)
"""The mode of a document that is no YAML."""


class LoadedPolicy(NamedTuple):
    """The result of reading a policy.

    Attributes:
        policy: The compiled policy; ``None`` where the document has an error.
        problems: Errors and warnings; with an error there is no policy.
        mode: The mode that a document with an error asks for: ``block`` where it names another one than ``monitor``,
            even a misspelt one; empty where it names none.
    """

    policy: Policy | None
    problems: list[ConfigError]
    mode: str = ""


def read(path: Path, key: bytes) -> LoadedPolicy:
    """Reads a policy file. Never raises for what it holds.

    Args:
        path: A YAML file whose top level is the policy, or a mapping with the one key ``policy``.
        key: Key of the digests.
    """
    try:
        text = yamlfile.read_text(path)
    except ConfigError as error:
        return _refused([error])
    return parse(text, str(path), key)


def parse(text: str, source: str, key: bytes) -> LoadedPolicy:
    """Reads the text of a policy. Never raises for what it holds.

    Args:
        text: YAML whose top level is the policy, or a mapping with the one key ``policy``.
        source: The file that the errors name.
        key: Key of the digests.
    """
    try:
        tree, lines = yamlfile.parse_mapping(text, source)
    except ConfigError as error:
        named = _MODE.search(text)
        return _refused([error], asked=named[1] if named else None)
    if set(tree) == {"policy"} and isinstance(tree["policy"], dict):
        tree = tree["policy"]
        lines = {name.removeprefix("policy."): line for name, line in lines.items()}
    return build(tree, lines, source, key)


def configured_file(loaded: config.Loaded) -> Path | None:
    """The policy file that the settings name; `None` where they name none."""
    return Path(loaded.settings.policy).expanduser() if loaded.settings.policy else None


def configured(loaded: config.Loaded, key: bytes) -> LoadedPolicy | None:
    """The policy that the settings name or hold; `None` where they have none.

    Args:
        loaded: The settings.
        key: Key of the digests.
    """
    if (path := configured_file(loaded)) is not None:
        return read(path, key)
    if loaded.policy is not None:
        return build(loaded.policy.tree, loaded.policy.lines, loaded.policy.source, key, prefix="policy.")
    return None


def build(tree: Any, lines: yamlfile.Lines, source: str, key: bytes, *, prefix: str = "") -> LoadedPolicy:
    """Compiles a policy from its parsed document. Never raises for what it holds.

    Args:
        tree: The document; anything but a mapping is an error.
        lines: The line of each dotted key, without the prefix.
        source: The file that the errors name.
        key: Key of the digests.
        prefix: Key of the document within its file, such as ``policy.``, for the errors.
    """

    def problem(reason: str, place: str) -> ConfigError:
        return ConfigError(reason, source=source, line=_line(lines, place), key=(prefix + place).rstrip("."))

    asked = tree.get("mode") if isinstance(tree, dict) else None
    if tree == {}:
        return _refused([problem("is empty: it would allow every call", "")])
    try:
        document = msgspec.convert(tree, PolicyDocument)
    except msgspec.ValidationError as error:
        reason, place = yamlfile.split_error(str(error))
        place = _with_map_key(place, tree)
        if reason == "is not a known key" and (near := difflib.get_close_matches(place.rpartition(".")[2], _KEYS, 1)):
            reason += f"; did you mean `{near[0]}`?"
        return _refused([problem(reason, place)], asked=asked)
    errors: list[ConfigError] = []
    warnings: list[ConfigError] = []
    for one in checks.check(document):
        (errors if one.is_error else warnings).append(problem(one.reason, one.key))
    if errors:
        return _refused(errors, warnings, asked)
    try:
        return LoadedPolicy(Policy(document, key), warnings)
    except ValueError as error:
        place, _, reason = str(error).partition(": ")
        return _refused([problem(reason, place)], warnings, asked)


def _refused(errors: Sequence[ConfigError], warnings: Sequence[ConfigError] = (), asked: object = None) -> LoadedPolicy:
    """The result for a document with errors: a policy with an error is not used in part.

    Args:
        errors: Its errors.
        warnings: Its warnings.
        asked: The value of its key `mode`.
    """
    problems = [*(error.but_used("Cylestio uses no part of this policy") for error in errors), *warnings]
    return LoadedPolicy(None, problems, "" if asked is None else "monitor" if asked == "monitor" else "block")


def _with_map_key(place: str, tree: dict[str, Any]) -> str:
    """A place in which msgspec names a key of a mapping as ``[...]``, with the only key that it can be."""
    head, found, rest = place.partition("[...]")
    if not found:
        return place
    node: Any = tree
    for step in yamlfile.steps(head):
        node = node[step]
    names = list(node) if isinstance(node, dict) else []
    return f"{head}.{names[0]}{rest}" if len(names) == 1 else head


def _line(lines: yamlfile.Lines, place: str) -> int | None:
    """The line of a place, or of the nearest part of the document around it."""
    while place:
        if place in lines:
            return lines[place]
        cut = max(place.rfind("."), place.rfind("["))
        place = place[:cut] if cut > 0 else ""
    return 1
