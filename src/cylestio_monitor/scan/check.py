"""Tests a rule with its own examples."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.rules.examples import expand
from cylestio_monitor.scan import learned
from cylestio_monitor.scan.budget import Budget
from cylestio_monitor.scan.matching.compiled_rule import compile_rule
from cylestio_monitor.scan.matching.confirm import Limits, confirmed
from cylestio_monitor.scan.matching.literal_index import LiteralIndex
from cylestio_monitor.scan.matching.python_engine import PythonEngine
from cylestio_monitor.scan.matching.rule_set import read_rules
from cylestio_monitor.scan.matching.searched_text import SearchedText
from cylestio_monitor.scan.normalisation.characters import BEGINNING, NormalisedText, fold
from cylestio_monitor.scan.normalisation.disguises import SIGNS, variants
from cylestio_monitor.scan.prompt_leak import Prompt

if TYPE_CHECKING:
    from pathlib import Path

    from cylestio_monitor.config import Settings
    from cylestio_monitor.errors import ConfigError
    from cylestio_monitor.rules import Rule


_ATTACK = "previous instructions"
"""The attack that the examples of evasions hide."""


class Failure(NamedTuple):
    """An example that a rule gets wrong.

    Attributes:
        rule_id: The rule.
        kind: ``hit`` for one it must find and does not, ``miss`` for one it must pass and does not.
        example: The text, as the rule file has it.
    """

    rule_id: str
    kind: str
    example: str


def check(rule: Rule) -> list[Failure]:
    """Returns the examples that the rule gets wrong; none for a rule that holds."""
    failures = []
    for kind, examples in (("hit", rule.examples.hit), ("miss", rule.examples.miss)):
        for number, example in enumerate(examples):
            if finds(rule, expand(example, f"{rule.id}{number}")) != (kind == "hit"):
                failures.append(Failure(rule.id, kind, example))
    return failures


def finds(rule: Rule, text: str) -> bool:
    """Returns whether the rule alone finds something in the text.

    A rule that an evasion raises finds a text that decodes to something else by that evasion.
    """
    if rule.detector == "learned":
        return learned.classifier().judge(text, rule.surfaces[0]) is not None
    if rule.detector is not None:
        prompt, _, answer = text.partition("\n---\n")
        known = Prompt([prompt])
        return (known.repeated_in(answer) or known.mostly_in(answer)) is not None
    if rule.evasion is not None:
        base = fold(text) or NormalisedText(text)
        beginnings = {word[:BEGINNING] for word in _ATTACK.split()}
        decoded = variants(base, SIGNS.keys(), beginnings)
        kinds = {variant.kind for variant in decoded if _ATTACK in variant.decoded.text.lower()}
        if _ATTACK in base.text.lower() and base.text != text:
            kinds.add("look-alike")
        return rule.evasion in kinds
    rules = compile_rule(rule)
    searched = SearchedText(text)
    candidates = PythonEngine(rules, LiteralIndex.of(rules, {})).find(searched, [True] * len(rules))
    return next(confirmed(rules, candidates.places, searched, Limits(Budget())), None) is not None


def chosen(settings: Settings, base_dir: Path | None) -> tuple[list[Rule], list[ConfigError]]:
    """Returns the rules that the settings select, with their examples, and what could not be used."""
    problems: list[ConfigError] = []
    return read_rules(settings, base_dir, problems), problems


def beginning(rule_id: str) -> str:
    """Returns a rule file with one rule to start from, with a uuid of its own."""
    ruleset, _, name = rule_id.partition(".")
    return f"""\
# yaml-language-server: $schema=./rules.schema.json
ruleset: {ruleset}
rules:
  - id: {rule_id}
    uuid: '{uuid.uuid4()}'
    title: {name.replace("-", " ").capitalize() or ruleset}
    category: keyword
    severity: medium
    pattern: '\\bTICKET-\\d{{6}}\\b'
    examples:
      hit:
        - 'see TICKET-004711'
      miss:
        - 'see the ticket'
"""
