"""What a value's key says about it: a password needs no form of its own."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from cylestio_monitor.scan.matching.confirm import Match
from cylestio_monitor.scan.validators.checks import real

if TYPE_CHECKING:
    from cylestio_monitor.scan.matching.catalog import Catalog
    from cylestio_monitor.scan.walk import Leaf

RULE = "secret.named-field"
_NAME = re.compile(
    r"(?i)(?:^|[_.\s-])(?:password|passwd|passphrase|pwd|secret|client_?secret|api_?key|apikey|access_?key|private_?key"
    r"|auth_?token|access_?token|refresh_?token|bearer_?token|session_?token|secret_?key|signing_?key|credentials?)$"
)
_HUMP = re.compile(r"([a-z0-9])([A-Z])")
_SHORTEST, _LONGEST = 6, 512


@lru_cache(maxsize=4096)
def secret_name(key: str) -> bool:
    """Whether the key names a secret: ``password``, ``apiKey``, ``db_password``."""
    return bool(key) and _NAME.search(_HUMP.sub(r"\1_\2", key)) is not None


def matches(catalog: Catalog, leaf: Leaf, target: str, surface: str) -> list[Match]:
    """The whole leaf, where its key names a secret and it looks like one; else nothing."""
    plan = catalog.named_field
    if plan is None or not plan.applies(target, surface) or not secret_name(leaf.key):
        return []
    text = leaf.text
    if not _SHORTEST <= len(text) <= _LONGEST or " " in text.strip() or not real(text, 0, len(text)):
        return []
    return [Match(plan, 0, len(text))]
