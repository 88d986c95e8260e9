"""All matches of one text: candidates confirmed, disguises decoded, duplicates removed."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.scan.budget import Budget
from cylestio_monitor.scan.matching.confirm import Areas, Limits, Match, confirmed
from cylestio_monitor.scan.matching.excerpt import excerpt_of
from cylestio_monitor.scan.matching.searched_text import SearchedText
from cylestio_monitor.scan.normalisation.characters import NormalisedText, fold
from cylestio_monitor.scan.normalisation.disguises import LONGEST, variants
from cylestio_monitor.scan.normalisation.encodings import smuggled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cylestio_monitor.scan.matching.rule_set import RuleGroup, RuleSet

_GUESSED = frozenset({"leet", "spaced", "rot13"})
"""Disguises whose decoding may say what was never meant: a token with digits as letters is another token."""

_ALWAYS_UNFOLDED = frozenset({"secret", "sensitive_data", "keyword"})

_start = attrgetter("start")

_REST = 32
"""Code points behind a firm match from which on the generic match that overlaps it is kept."""


class _DecodedMatches(NamedTuple):
    """The matches in a text with a disguise taken off.

    Attributes:
        kind: The disguise.
        span: Gives the span of the original text for a span of the decoded one.
        found: The matches, in the decoded text.
    """

    kind: str
    span: Callable[[int, int], tuple[int, int]]
    found: list[Match]


class _Wanted(NamedTuple):
    """The rules of one group that apply to one side and surface.

    Attributes:
        group: The group.
        plain: For each rule whether it applies to the text itself.
        decoded: Whether it applies to the text with a disguise taken off.
        guessed: Whether it applies where the disguise may be none.
    """

    group: RuleGroup
    plain: list[bool]
    decoded: list[bool]
    guessed: list[bool]


class Search:
    """Searches texts with the rules in force."""

    def __init__(self, rule_set: RuleSet, *, max_length: int) -> None:
        """Takes the rules.

        Args:
            rule_set: The rules and the engines.
            max_length: Longest text searched whole, in code points. A longer one is searched at its two ends, and the
                budget notes it.
        """
        self._rule_set = rule_set
        self._max_length = max_length
        self._wanted: dict[tuple[str, str, bool], list[_Wanted]] = {}

    def matches(
        self, text: str, target: str, surface: str, *, limits: Limits | None = None, quiet: bool = False
    ) -> list[Match]:
        """Returns every match of a rule that applies to this side and surface, in no order.

        Args:
            text: The text.
            target: The side of the call.
            surface: The surface.
            limits: Bounds of the search.
            quiet: Whether the text is one of those for which `quiet` returned true.
        """
        limits = limits or Limits(Budget())
        if len(text) > self._max_length:
            limits.budget.stop("length")
            half = self._max_length // 2
            tail = len(text) - half
            ends = [
                Match(rule, start + tail, end + tail)
                for rule, start, end in self.matches(text[tail:], target, surface, limits=limits)
            ]
            return self.matches(text[:half], target, surface, limits=limits) + ends
        ascii_only = text.isascii()
        wanted = self._wanted.get((target, surface, ascii_only)) or self._select(target, surface, ascii_only=ascii_only)
        if quiet:
            return self._at_start(text, wanted, limits)
        found, signs = _direct(text, [(one.group, one.plain) for one in wanted], limits)
        if surface != "tool_name" and not (ascii_only and not signs):
            found += self._disguised(text, wanted, found, signs, limits)
        return without_doubles(found) if len(found) > 1 else found

    def quiet(self, texts: list[str], target: str, surface: str) -> bool:
        """Returns whether none of the texts has what a rule needs, apart from rules that match only at their start."""
        bundle = "\n".join(texts)
        if not bundle.isascii() or len(bundle) > self._max_length:
            return False
        wanted = self._wanted.get((target, surface, True)) or self._select(target, surface, ascii_only=True)
        searched = SearchedText(bundle)
        return all(one.group.group.engine.quiet(searched, one.plain) for one in wanted)

    def _at_start(self, text: str, wanted: list[_Wanted], limits: Limits) -> list[Match]:
        found: list[Match] = []
        searched = SearchedText(text)
        for one in wanted:
            places = one.group.group.always_places(searched, one.plain) if one.group.group.always else {}
            if places:
                found += confirmed(one.group.rules, places, searched, limits)
        return found

    def _select(self, target: str, surface: str, *, ascii_only: bool) -> list[_Wanted]:
        """Returns the rules that apply to this side and surface, and keeps them."""
        rule_set = self._rule_set
        groups = rule_set.names if surface == "tool_name" else rule_set.texts
        if surface == "tool_call":
            groups += rule_set.arguments
        if surface != "tool_name" and not ascii_only:
            groups += rule_set.foreign
        wanted = []
        for group in groups:
            plain = [
                active and rule.applies(target, surface) for rule, active in zip(group.rules, group.active, strict=True)
            ]
            reported = [applies and rule.alert != "none" for applies, rule in zip(plain, group.rules, strict=True)]
            decoded = [
                applies and (rule.unfold or rule.category in _ALWAYS_UNFOLDED)
                for applies, rule in zip(reported, group.rules, strict=True)
            ]
            guessed = [applies and rule.unfold for applies, rule in zip(reported, group.rules, strict=True)]
            wanted.append(_Wanted(group, plain, decoded, guessed))
        self._wanted[target, surface, ascii_only] = wanted
        return wanted

    def _disguised(
        self, text: str, wanted: list[_Wanted], plain: list[Match], signs: set[str], limits: Limits
    ) -> list[Match]:
        """Returns what the text says under a disguise and not openly, and the disguise itself."""
        known: dict[str, list[tuple[int, int]]] = {}
        for match in plain:
            known.setdefault(match.rule.rule_id, []).append((match.start, match.end))
        found: list[Match] = []
        for decoded in self._decoded(text, wanted, signs, limits):
            disguise = self._rule_set.evasions.get(decoded.kind)
            for rule, first, last in decoded.found:
                start, end = decoded.span(first, last)
                reported = known.setdefault(rule.rule_id, [])
                if any(start < other_end and other_start < end for other_start, other_end in reported):
                    continue
                reported.append((start, end))
                found.append(Match(rule, start, end))
                if disguise is not None:
                    found.append(Match(disguise, start, end))
        return found

    def _decoded(self, text: str, wanted: list[_Wanted], signs: set[str], limits: Limits) -> Iterator[_DecodedMatches]:
        """Gives every decoded form of the text with its matches."""
        base = NormalisedText(text)
        folded = fold(text)
        if folded is not None:
            base = folded
            found, more = _direct(folded.text, [(one.group, one.decoded) for one in wanted], limits, folded.areas)
            signs = signs | more  # the second search may be of the parts with look-alikes alone
            yield _DecodedMatches("look-alike", folded.span, found)
        if len(text) > LONGEST:
            return
        for piece in smuggled(text) if not text.isascii() else ():
            found, _ = _direct(piece.text, [(one.group, one.decoded) for one in wanted], limits)
            yield _DecodedMatches(piece.kind, _constant_span(piece.start, piece.end), found)
        for variant in variants(base, signs, self._rule_set.beginnings):
            if limits.budget.spent():
                return
            chosen = [(one.group, one.guessed if variant.kind in _GUESSED else one.decoded) for one in wanted]
            found, _ = _direct(variant.decoded.text, chosen, limits, variant.decoded.areas)
            yield _DecodedMatches(variant.kind, variant.span, found)


def _constant_span(start: int, end: int) -> Callable[[int, int], tuple[int, int]]:
    return lambda _start, _end: (start, end)


def _direct(
    text: str,
    groups: list[tuple[RuleGroup, list[bool]]],
    limits: Limits,
    areas: Callable[[], Areas] = lambda: None,
) -> tuple[list[Match], set[str]]:
    """Returns the matches in the text as it stands, and the disguises of which it has a sign.

    Args:
        text: The text.
        groups: Groups of rules, and for each rule whether it applies.
        limits: Bounds of the search.
        areas: Gives the only places of interest; see `confirmed`.
    """
    searched = SearchedText(text)
    found: list[Match] = []
    signs: set[str] = set()
    near = areas()
    excerpt = excerpt_of(text, near) if near is not None else None
    for group, wanted in groups:
        candidates = group.group.engine.find(excerpt.searched if excerpt is not None else searched, wanted)
        signs |= candidates.signs
        if candidates.places:
            places = candidates.places
            if excerpt is not None:
                places = {number: excerpt.places(group.rules[number], at) for number, at in places.items()}
            found += confirmed(group.rules, places, searched, limits, near)
    if searched.is_partial or (excerpt is not None and excerpt.searched.is_partial):
        limits.budget.stop("places")
    return found, signs


def without_doubles(found: list[Match]) -> list[Match]:
    """Returns the matches without a second one of a rule at the same place, and without generic ones beside firm ones.

    A rule of several patterns may find one place twice: the match that begins first is kept, as in a search for the
    patterns as alternatives of one. A generic match gives way to a match of another rule of its category, unless it
    goes on far beyond that: the end of a long private key must be masked, too.
    """
    firm: dict[str, list[Match]] = {}
    for match in found:
        if not match.rule.generic:
            firm.setdefault(match.rule.category, []).append(match)
    kept: list[Match] = []
    ends: dict[str, int] = {}
    for match in sorted(found, key=_start):
        rule = match.rule
        if rule.regex and match.start < ends.get(rule.rule_id, 0):
            continue
        others = firm.get(rule.category, ()) if rule.generic else ()
        if any(other.start < match.end < other.end + _REST and match.start < other.end for other in others):
            continue
        ends[rule.rule_id] = match.end
        kept.append(match)
    return list({(match.rule.rule_id, match.start, match.end): match for match in kept}.values())
