"""Masking: secrets and personal data become typed tokens of one length, the same for the same value.

A token such as ``[secret:aws-access-key-id:3f9a2c]`` says what stood there and nothing of it: not its length, not a
character. The last part is a keyed hash, so equal values stay equal within one deployment and say nothing outside it.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from cylestio_monitor.scan.matching import named_fields
from cylestio_monitor.scan.walk import MAX_DEPTH, MAX_NODES, Leaf, as_mapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.scan.matching.catalog import Catalog
    from cylestio_monitor.scan.matching.confirm import Match
    from cylestio_monitor.scan.matching.search import Search

_log = logging.getLogger(__name__)
MASKED_CATEGORIES = frozenset({"secret", "sensitive_data"})
"""Categories whose matches are replaced in recorded content."""
_KINDS = {"secret": "secret", "sensitive_data": "pii"}
UNMASKABLE = "[unmaskable]"


def mask(search: Search, hashed: Callable[[str], str], text: str) -> str:
    """The text with every secret and every piece of personal data replaced; never raises, never returns it unmasked."""
    if not text:
        return text
    try:
        found = search.matches(text, "input", "llm")
    except Exception:  # noqa: BLE001 -- no fault of the scanner reaches the application
        _log.exception("a text could not be masked and is left out")
        return UNMASKABLE
    return _replace(text, found, hashed)


def _replace(text: str, found: list[Match], hashed: Callable[[str], str]) -> str:
    spans = sorted(
        (match for match in found if match.plan.category in MASKED_CATEGORIES and match.plan.masks),
        key=lambda match: (match.start, -match.end),
    )
    out: list[str] = []
    at = 0
    for number, (plan, start, first_end) in enumerate(spans):
        if start < at:
            continue
        end = first_end
        # Overlapping matches become one token: no rest of the longer one stays readable.
        for other in spans[number + 1 :]:
            if other.start >= end:
                break
            end = max(end, other.end)
        name = plan.rule_id.partition(".")[2]
        out += [text[at:start], f"[{_KINDS[plan.category]}:{name}:{hashed(text[start:end])[:6]}]"]
        at = end
    out.append(text[at:])
    return "".join(out)


def mask_value(catalog: Catalog, search: Search, hashed: Callable[[str], str], value: object) -> object:
    """The value as plain JSON types, every text masked; what cannot be walked becomes a mark."""
    budget = [MAX_NODES]

    def masked(item: object, key: str, depth: int, above: tuple[int, ...]) -> object:
        budget[0] -= 1
        if budget[0] < 0 or depth > MAX_DEPTH or id(item) in above:
            return "[cut]"
        if item is None or isinstance(item, bool):
            return item
        if isinstance(item, float):
            return item if math.isfinite(item) else str(item)
        if isinstance(item, int):
            text = str(item)
            hidden = mask(search, hashed, text) if abs(item) < 10**40 else "[number]"
            return item if hidden == text else hidden
        if isinstance(item, (bytes, bytearray, memoryview)):
            item = bytes(item).decode("utf-8", "replace")
        if isinstance(item, str):
            named = named_fields.matches(catalog, Leaf("", key, item), "input", "llm")
            return _replace(item, named, hashed) if named else mask(search, hashed, item)
        inside = (*above, id(item))
        mapping = as_mapping(item)
        if mapping is not None:
            return {
                mask(search, hashed, str(name)): masked(child, str(name), depth + 1, inside)
                for name, child in list(mapping.items())
            }
        if isinstance(item, (list, tuple, set, frozenset)):
            return [masked(child, key, depth + 1, inside) for child in item]
        return mask(search, hashed, str(item))

    try:
        return masked(value, "", 0, ())
    except Exception as error:  # noqa: BLE001 -- the value's own code: nothing of it may leave unmasked
        _log.debug("a value cannot be masked and is left out: %r", error)
        return UNMASKABLE
