"""All matches of one text: literals seen, rules confirmed, evasions undone, doubles removed."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.scan.matching.confirm import Areas, Match, confirm, together
from cylestio_monitor.scan.matching.engine import DOUBLE, searchable, single_blanks
from cylestio_monitor.scan.matching.locate import Text
from cylestio_monitor.scan.normalisation.characters import Undone, fold
from cylestio_monitor.scan.normalisation.disguises import LONGEST, readings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from cylestio_monitor.scan.matching.catalog import Catalog, Group
    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule
    from cylestio_monitor.scan.matching.engine import Index


_GUESSED = frozenset({"leet", "spaced", "rot13"})
"""Readings that may say what was never meant: a token with digits turned to letters is another token."""

_ALWAYS_UNFOLDED = frozenset({"secret", "sensitive_data", "keyword"})


_start = attrgetter("start")


class _Read(NamedTuple):
    """What is found in a text with a disguise taken off."""

    kind: str
    span: Callable[[int, int], tuple[int, int]]
    found: list[Match]


class _Wanted(NamedTuple):
    """What looks at a side and surface.

    Attributes:
        plain: Of every plan whether it looks at the text.
        undone: Whether it looks at one with a disguise taken off.
        guessed: Whether it looks at one with a disguise taken off that may be none.
        groups: The groups the plans are in.
    """

    plain: list[bool]
    undone: list[bool]
    guessed: list[bool]
    groups: tuple[Group, ...]


class Search:
    """Searches texts with the rules of a catalog."""

    def __init__(self, catalog: Catalog, *, max_length: int) -> None:
        """Keeps the catalog.

        Args:
            catalog: The plans and the engines.
            max_length: Longest text searched whole, in code points; of a longer one the two ends are.
        """
        self._catalog = catalog
        self._max_length = max_length
        self._applies: dict[tuple[str, str, bool], _Wanted] = {}

    def matches(self, text: str, target: str, surface: str, *, quiet: bool = False) -> list[Match]:
        """Every match of a rule that looks at this side and surface, in no order.

        Args:
            text: The text.
            target: The side of the call.
            surface: The surface.
            quiet: Whether the text is one of those that are known to be `quiet`.
        """
        if len(text) > self._max_length:
            half = self._max_length // 2
            tail = len(text) - half
            ends = [
                Match(plan, start + tail, end + tail) for plan, start, end in self.matches(text[tail:], target, surface)
            ]
            return self.matches(text[:half], target, surface) + ends
        ascii_only = text.isascii()
        wanted = self._applies.get((target, surface, ascii_only)) or self._looking(
            target, surface, ascii_only=ascii_only
        )
        if quiet:
            return self._at_start(text, wanted)
        found, present = self._plain(text, wanted.plain, wanted.groups)
        if surface != "tool_name" and not (ascii_only and self._catalog.gates.isdisjoint(present)):
            found += self._disguised(text, wanted, found, present)
        return without_doubles(found) if len(found) > 1 else found

    def quiet(self, texts: list[str], target: str, surface: str) -> bool:
        """Whether none of the texts holds what a rule needs, but for rules that look at a text's start only."""
        bundle = "\n".join(texts)
        if not bundle.isascii() or len(bundle) > self._max_length:
            return False
        wanted = self._applies.get((target, surface, True)) or self._looking(target, surface, ascii_only=True)
        data = single_blanks(searchable(bundle))
        for group in wanted.groups:
            present = group.engine.present(data)
            if group is self._catalog.texts and not self._catalog.gates.isdisjoint(present):
                return False
            if not set(group.index.candidates(present, wanted.plain)).issubset(group.index.always):
                return False
        return True

    def _at_start(self, text: str, wanted: _Wanted) -> list[Match]:
        found: list[Match] = []
        for group in wanted.groups:
            always = [place for place in group.index.always if wanted.plain[place]]
            if always:
                found += confirmed(self._catalog.plans, always, Text(text), group.index, set())
        return found

    def _looking(self, target: str, surface: str, *, ascii_only: bool) -> _Wanted:
        """What looks at this side and surface, kept from then on."""
        plans = self._catalog.plans
        plain = [plan.applies(target, surface) for plan in plans]
        told = [looks and plan.alert != "none" for looks, plan in zip(plain, plans, strict=True)]
        guessed = [tells and plan.unfold for tells, plan in zip(told, plans, strict=True)]
        undone = [
            tells and (plan.unfold or plan.category in _ALWAYS_UNFOLDED)
            for tells, plan in zip(told, plans, strict=True)
        ]
        groups: tuple[Group, ...] = (self._catalog.names if surface == "tool_name" else self._catalog.texts,)
        if surface == "tool_call":
            groups += (self._catalog.arguments,)
        if surface != "tool_name" and not ascii_only:
            groups += (self._catalog.foreign,)
        wanted = self._applies[target, surface, ascii_only] = _Wanted(plain, undone, guessed, groups)
        return wanted

    def _disguised(self, text: str, wanted: _Wanted, plain: list[Match], present: set[int]) -> list[Match]:
        """What the text says under a disguise and not openly, and the disguise itself."""
        known: dict[str, list[tuple[int, int]]] = {}
        for match in plain:
            known.setdefault(match.plan.rule_id, []).append((match.start, match.end))
        found: list[Match] = []
        for reading in self._readings(text, wanted, present):
            disguise = self._catalog.evasions.get(reading.kind)
            for plan, first, last in reading.found:
                start, end = reading.span(first, last)
                told = known.setdefault(plan.rule_id, [])
                if any(start < there and here < end for here, there in told):
                    continue
                told.append((start, end))
                found.append(Match(plan, start, end))
                if disguise is not None:
                    found.append(Match(disguise, start, end))
        return found

    def _readings(self, text: str, wanted: _Wanted, present: set[int]) -> Iterator[_Read]:
        """Every other reading of the text, with what is found in it."""
        base = Undone(text)
        folded = fold(text)
        if folded is not None:
            base = folded
            found, present = self._plain(folded.text, wanted.undone, wanted.groups, folded.areas)
            yield _Read("look-alike", folded.span, found)
        if len(text) > LONGEST:
            return
        for reading in readings(base, self._catalog.signs(present)):
            looking = wanted.guessed if reading.kind in _GUESSED else wanted.undone
            yield _Read(
                reading.kind,
                reading.span,
                self._plain(reading.undone.text, looking, wanted.groups, reading.undone.areas)[0],
            )

    def _plain(
        self, text: str, wanted: list[bool], groups: tuple[Group, ...], areas: Callable[[], Areas] = lambda: None
    ) -> tuple[list[Match], set[int]]:
        """The matches in the text as it stands, and what the first group's engine saw in it.

        Args:
            text: The text.
            wanted: Of every plan whether it looks.
            groups: The groups of plans.
            areas: Gives the only places of interest; see `confirm`.
        """
        first = groups[0]
        data = searchable(text)
        seen = present = first.engine.present(data)
        if DOUBLE in present:
            data = single_blanks(data)
            seen = present = first.engine.present(data)
        found: list[Match] = []
        looked: Text | None = None
        for group in groups:
            if group is not first:
                present = group.engine.present(data)
            candidates = group.index.candidates(present, wanted)
            if candidates:
                looked = looked or Text(text)
                found += confirmed(self._catalog.plans, candidates, looked, group.index, present, areas())
        return found, seen


def confirmed(
    plans: Sequence[CompiledRule],
    candidates: Iterable[int],
    text: Text,
    index: Index,
    present: AbstractSet[int],
    areas: Areas = None,
) -> Iterator[Match]:
    """The matches of the candidates.

    Args:
        plans: All plans.
        candidates: Places of those that may match.
        text: The text.
        index: The candidates' index.
        present: Numbers of the index's literals that stand in the text.
        areas: Places of which every match has one within reach; ``None`` for any.
    """

    def look(place: int) -> Iterator[Match]:
        plan = plans[place]
        places = text.groups(plan.groups) if plan.groups else text.places(index.leads[place], present)
        return confirm(plan, text, places, None if plan.least else areas) if places else iter(())

    signs: dict[str, list[int]] = {}
    for place in candidates:
        plan = plans[place]
        if plan.least:
            signs.setdefault(plan.rule_id, []).append(place)
        else:
            yield from look(place)
    for group in signs.values():
        least = plans[group[0]].least
        if len(group) >= least:
            yield from together(group, least, look)


def without_doubles(found: list[Match]) -> list[Match]:
    """The matches without a second one of a rule at the same place, and without generic ones beside firm ones.

    A rule of several patterns may find one place twice: the match that begins first is kept, as in a search for the
    patterns as alternatives of one. A generic match gives way to a match of another rule of its category.
    """
    firm: dict[str, list[Match]] = {}
    for match in found:
        if not match.plan.generic:
            firm.setdefault(match.plan.category, []).append(match)
    kept: list[Match] = []
    ends: dict[str, int] = {}
    for match in sorted(found, key=_start):
        plan = match.plan
        if plan.regex and match.start < ends.get(plan.rule_id, 0):
            continue
        others = firm.get(plan.category, ()) if plan.generic else ()
        if any(other.start < match.end and match.start < other.end for other in others):
            continue
        ends[plan.rule_id] = match.end
        kept.append(match)
    return list({(match.plan.rule_id, match.start, match.end): match for match in kept}.values())
