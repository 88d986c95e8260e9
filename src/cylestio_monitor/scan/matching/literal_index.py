"""The index from literals to the rules that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor.rules.literals import MARK
from cylestio_monitor.rules.prefilter import DIGITS, SHORTEST_DIGITS, START

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule

NO_LITERAL = -1
"""Number of what stands in place of a literal for a rule that may match any text."""


class LiteralIndex(msgspec.Struct, frozen=True, array_like=True):
    """The literals of a group of rules.

    Attributes:
        literals: The literals and expressions to search for. The place of a literal is its number.
        leads: For each rule, the literals of its first clause by their number; `NO_LITERAL` for a rule without one.
        others: For each rule that has further clauses, the numbers of their literals.
        led: For each literal, the rules that have it in their first clause.
        always: The rules that may match any text.
        signs: For each disguise, the numbers of the literals that are signs of it.
    """

    literals: list[str]
    leads: dict[int, dict[int, str]]
    others: dict[int, list[frozenset[int]]]
    led: dict[int, list[int]]
    always: list[int]
    signs: dict[str, frozenset[int]]

    @classmethod
    def of(cls, rules: Sequence[CompiledRule], signs: Mapping[str, Sequence[str]]) -> LiteralIndex:
        """Numbers the literals.

        Args:
            rules: The rules of the group; those without a pattern are passed over.
            signs: The literals that are signs of a disguise, by its name.
        """
        numbers: dict[str, int] = {}

        def numbered(literal: str) -> int:
            return numbers.setdefault(SHORTEST_DIGITS if literal in DIGITS else literal, len(numbers))

        signs_numbered = {name: frozenset(map(numbered, literals)) for name, literals in signs.items()}
        made = cls([], {}, {}, {}, [], signs_numbered)
        for number, rule in enumerate(rules):
            if not rule.regex:
                continue
            lead, *others = rule.clauses
            if lead[0] in {MARK, START}:
                made.always.append(number)
                made.leads[number] = {NO_LITERAL: lead[0]}
                continue
            made.leads[number] = {numbered(literal): literal for literal in lead}
            for literal_number in made.leads[number]:
                made.led.setdefault(literal_number, []).append(number)
            if others:
                made.others[number] = [frozenset(map(numbered, clause)) for clause in others]
        made.literals.extend(numbers)
        return made

    def candidates(self, present: AbstractSet[int], wanted: Sequence[bool]) -> list[int]:
        """Returns the rules of whose every clause a literal is present, ascending.

        Args:
            present: Numbers of the literals that the text has.
            wanted: For each rule whether it applies.
        """
        found = {number for number in self.always if wanted[number]}
        for literal in present:
            for number in self.led.get(literal, ()):
                if wanted[number]:
                    others = self.others.get(number)
                    if others is None or not any(map(present.isdisjoint, others)):
                        found.add(number)
        return sorted(found)

    def signs_in(self, present: AbstractSet[int]) -> set[str]:
        """Returns the disguises of which a sign is present."""
        return {name for name, numbers in self.signs.items() if not numbers.isdisjoint(present)}

    def sign_literals(self) -> dict[str, list[str]]:
        """Returns the literals that are signs of a disguise, by its name."""
        return {name: [self.literals[number] for number in sorted(numbers)] for name, numbers in self.signs.items()}
