"""Finds secrets by the key of a value: the value of ``password`` needs no form of its own."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from cylestio_monitor.scan.matching.confirm import Match
from cylestio_monitor.scan.validators.checks import real

if TYPE_CHECKING:
    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule
    from cylestio_monitor.scan.walk import Leaf

RULE = "secret.named-field"
_NAME = re.compile(
    r"(?i)(?:^|[_.\s-])(?:password|passwd|passphrase|pwd|secret|client_?secret|api_?key|apikey|access_?key|private_?key"
    r"|auth_?token|access_?token|refresh_?token|bearer_?token|session_?token|secret_?key|signing_?key|credentials?)$"
)
_CAMEL_HUMP = re.compile(r"([a-z0-9])([A-Z])")
_SHORTEST, _LONGEST = 6, 512


@lru_cache(maxsize=4096)
def is_secret_name(key: str) -> bool:
    """Returns whether the key names a secret: ``password``, ``apiKey``, ``db_password``."""
    return bool(key) and _NAME.search(_CAMEL_HUMP.sub(r"\1_\2", key)) is not None


def matches(rule: CompiledRule | None, leaf: Leaf, target: str, surface: str) -> list[Match]:
    """Returns the whole leaf as a match, where its key names a secret and it looks like one.

    Args:
        rule: The rule of secrets by key; ``None`` where it is not in force.
        leaf: The leaf.
        target: The side of the call.
        surface: The surface.
    """
    if rule is None or leaf.is_key or not is_secret_name(leaf.key[-_LONGEST:]) or not rule.applies(target, surface):
        return []
    text = leaf.text
    if not _SHORTEST <= len(text) <= _LONGEST or " " in text.strip() or not real(text, 0, len(text)):
        return []
    return [Match(rule, 0, len(text))]
