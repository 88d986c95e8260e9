"""Redaction: secrets and personal data become typed tokens of one length, the same for the same value.

A token such as ``[secret:aws-access-key-id:3f9a2c]`` names the kind and shows nothing else: no length, no character.
Its last part is a keyed hash, so equal values stay equal within one deployment and cannot be compared outside it.

Neither silences nor the caps on findings apply: every match is replaced. A text that cannot be searched to its end is
left out as a whole.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor.model import MASKED_CATEGORIES
from cylestio_monitor.scan.budget import MASK_SECONDS, Budget
from cylestio_monitor.scan.matching import named_fields
from cylestio_monitor.scan.matching.confirm import Limits
from cylestio_monitor.scan.walk import MAX_DEPTH, MAX_NODES, Leaf, as_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule
    from cylestio_monitor.scan.matching.confirm import Match
    from cylestio_monitor.scan.matching.search import Search

_log = logging.getLogger(__name__)
UNMASKABLE = "[unmaskable]"
"""Stands for a text that could not be searched to its end."""

_KINDS = {"secret": "secret", "sensitive_data": "pii"}
TOKEN: Final = rf"\[(?:{'|'.join(_KINDS.values())}):([a-z0-9.-]+):([0-9a-f]{{6}})\]"
"""Pattern of a token, for those who read recorded texts; its groups are the part of the rule's id after its category,
and the first digits of the keyed hash."""

TOKEN_BEGINNINGS: Final = tuple(f"[{kind}:" for kind in _KINDS.values())
"""The forms in which a token begins, for those who read texts that may be cut inside of one."""

_CUT = "[cut]"
_LONGEST_NUMBER = 10**40


class UnsearchableError(ValueError):
    """A text could not be searched to its end."""


class MaskedText(NamedTuple):
    """A text with its secrets and personal data replaced.

    Attributes:
        text: The text with tokens.
        masks: Of each token the start and the end of what it replaces in the original, and its own length.
    """

    text: str
    masks: Sequence[tuple[int, int, int]] = ()


class PrivateSpan(NamedTuple):
    """A secret or a piece of personal data in a text; overlapping matches are one.

    Attributes:
        rule_id: Id of the rule that found it.
        category: Category of the rule.
        start: Its first code point.
        end: The code point after its last.
    """

    rule_id: str
    category: str
    start: int
    end: int


def token_of(rule_id: str, category: str, text_hash: str) -> str:
    """Returns the token that stands for a secret or a piece of personal data with this keyed hash."""
    return f"[{_KINDS[category]}:{rule_id.partition('.')[2]}:{text_hash[:6]}]"


class Redaction:
    """Redacts texts and values. Never raises, and never returns a text that it did not search whole."""

    def __init__(self, search: Search, named_field: CompiledRule | None, hashed: Callable[[str], str]) -> None:
        """Takes the search and the hash.

        Args:
            search: Searches a text.
            named_field: The rule of secrets by the key of a value.
            hashed: Gives the keyed hash of a matched text.
        """
        self._search = search
        self._named_field = named_field
        self._hashed = hashed

    def text(self, text: str, budget: Budget | None = None) -> str:
        """Returns the text with every secret and every piece of personal data replaced.

        Args:
            text: The text.
            budget: Its time; a text that is not searched to its end in it becomes `UNMASKABLE`.
        """
        return self.masked(text, "", budget).text

    def masked(self, text: str, key: str = "", budget: Budget | None = None) -> MaskedText:
        """Returns the text redacted, with the ranges that were replaced.

        Args:
            text: The text.
            key: The nearest key above it: one that names a secret has the whole text replaced.
            budget: As for `text`.
        """
        if not text:
            return MaskedText(text)
        try:
            return self._replace(text, self.spans(text, key, budget))
        except UnsearchableError as error:
            if error.__cause__ is not None:  # a fault of the scanner; without one, the time was up
                _log.exception("a text could not be redacted and is left out")
            return MaskedText(UNMASKABLE, ((0, len(text), len(UNMASKABLE)),))

    def value(self, value: object) -> object:
        """Returns the value as plain JSON types, every text and key redacted; what cannot be walked becomes a mark."""
        try:
            return _ValueRedaction(self).redacted(value, "", 0, ())
        except Exception as error:  # noqa: BLE001 -- code of the value: nothing of it may be recorded in clear
            _log.debug("a value cannot be redacted and is left out: %r", error)
            return UNMASKABLE

    def spans(self, text: str, key: str = "", budget: Budget | None = None) -> list[PrivateSpan]:
        """Returns the places of secrets and personal data in a text, in their order.

        Args:
            text: The text.
            key: The nearest key above it, which may name a secret.
            budget: The time of the search.

        Raises:
            UnsearchableError: The text could not be searched to its end.
        """
        budget = budget or Budget(MASK_SECONDS)
        try:
            found = named_fields.matches(self._named_field, Leaf("", key, text), "input", "llm") if key else []
            if not found:
                found = self._search.matches(text, "input", "llm", limits=Limits(budget, matches=None))
        except Exception as error:  # a fault of the scanner: the caller lets nothing of the text pass
            raise UnsearchableError(type(error).__name__) from error
        if budget.reason:
            raise UnsearchableError(budget.reason)
        return _private(found)

    def _replace(self, text: str, spans: list[PrivateSpan]) -> MaskedText:
        out: list[str] = []
        masks: list[tuple[int, int, int]] = []
        at = 0
        for rule_id, category, start, end in spans:
            token = token_of(rule_id, category, self._hashed(text[start:end]))
            out += [text[at:start], token]
            masks.append((start, end, len(token)))
            at = end
        out.append(text[at:])
        return MaskedText("".join(out), masks)


def _private(found: list[Match]) -> list[PrivateSpan]:
    spans = sorted(
        (match for match in found if match.rule.category in MASKED_CATEGORIES and match.rule.masks),
        key=lambda match: (match.start, -match.end),
    )
    return joined(PrivateSpan(rule.rule_id, rule.category, start, end) for rule, start, end in spans)


def joined(spans: Iterable[PrivateSpan]) -> list[PrivateSpan]:
    """Returns spans that come in the order of their starts with overlapping ones as one.

    No rest of a longer one then stays readable.
    """
    out: list[PrivateSpan] = []
    for span in spans:
        if out and span.start < out[-1].end:
            out[-1] = out[-1]._replace(end=max(span.end, out[-1].end))
        else:
            out.append(span)
    return out


class _ValueRedaction:
    """The redaction of one value: its bounds are shared by all its parts."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._left = MAX_NODES
        self._budget = Budget(MASK_SECONDS)

    def redacted(self, item: object, key: str, depth: int, above: tuple[int, ...]) -> object:
        """Returns a part of the value redacted.

        Args:
            item: The part.
            key: The nearest key above it.
            depth: Its depth.
            above: Identities of the parts that contain it.
        """
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH or id(item) in above or self._budget.spent():
            return _CUT
        if item is None or isinstance(item, bool):
            return item
        if isinstance(item, float):
            return (
                self._number(int(item), key, item) if item.is_integer() else item if math.isfinite(item) else str(item)
            )
        if isinstance(item, int):
            return self._number(item, key, item)
        if isinstance(item, (bytes, bytearray, memoryview)):
            item = bytes(item).decode("utf-8", "replace")
        if isinstance(item, str):
            return self._redaction.masked(item if type(item) is str else str.__str__(item), key, self._budget).text
        inside = (*above, id(item))
        mapping = as_mapping(item)
        if mapping is not None:
            return self._mapping(list(mapping.items()), depth, inside)
        if isinstance(item, (list, tuple, set, frozenset)):
            return [self.redacted(child, key, depth + 1, inside) for child in item]
        return self._redaction.masked(str(item), key, self._budget).text

    def _mapping(self, items: list[tuple[object, object]], depth: int, inside: tuple[int, ...]) -> dict[str, object]:
        out: dict[str, object] = {}
        for name, child in items:
            plain = str(name)
            out[self._redaction.text(plain, self._budget)] = self.redacted(child, plain, depth + 1, inside)
        return out

    def _number(self, item: int, key: str, written: object) -> object:
        if abs(item) >= _LONGEST_NUMBER:
            return "[number]"
        text = str(abs(item))
        hidden = self._redaction.masked(text, key, self._budget).text
        return written if hidden == text else hidden
