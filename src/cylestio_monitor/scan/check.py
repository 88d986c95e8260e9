"""Puts a rule to its own examples."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.rules.examples import expand
from cylestio_monitor.scan import learned
from cylestio_monitor.scan.matching.catalog import read_rules, rule_files
from cylestio_monitor.scan.matching.compiled_rule import plans_of
from cylestio_monitor.scan.matching.engine import Index, PythonEngine, searchable, single_blanks
from cylestio_monitor.scan.matching.locate import Text
from cylestio_monitor.scan.matching.search import confirmed
from cylestio_monitor.scan.normalisation.characters import Undone, fold
from cylestio_monitor.scan.normalisation.disguises import SIGNS, readings
from cylestio_monitor.scan.prompt_leak import Prompt

if TYPE_CHECKING:
    from pathlib import Path

    from cylestio_monitor.config import Settings
    from cylestio_monitor.errors import ConfigError
    from cylestio_monitor.rules import Rule


_ATTACK = "previous instructions"
"""What the examples of evasions hide."""


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
    """The examples that the rule gets wrong; none for a rule that holds."""
    failures = []
    for kind, examples in (("hit", rule.examples.hit), ("miss", rule.examples.miss)):
        for number, example in enumerate(examples):
            if finds(rule, expand(example, f"{rule.id}{number}")) != (kind == "hit"):
                failures.append(Failure(rule.id, kind, example))
    return failures


def finds(rule: Rule, text: str) -> bool:
    """Whether the rule alone finds something in the text.

    A rule that an evasion raises finds a text that can be read another way by that evasion.
    """
    if rule.detector == "learned":
        return learned.classifier().judge(text, rule.surfaces[0]) is not None
    if rule.detector is not None:
        prompt, _, answer = text.partition("\n---\n")
        known = Prompt([prompt])
        return (known.repeated_in(answer) or known.mostly_in(answer)) is not None
    if rule.evasion is not None:
        base = fold(text) or Undone(text)
        kinds = {reading.kind for reading in readings(base, SIGNS.keys()) if _ATTACK in reading.undone.text.lower()}
        if _ATTACK in base.text.lower() and base.text != text:
            kinds.add("look-alike")
        return rule.evasion in kinds
    plans = plans_of(rule)
    index = Index.of(plans, range(len(plans)))
    present = PythonEngine(index.literals).present(single_blanks(searchable(text)))
    return (
        next(confirmed(plans, index.candidates(present, [True] * len(plans)), Text(text), index, present), None)
        is not None
    )


def chosen(settings: Settings, base_dir: Path | None) -> tuple[list[Rule], list[ConfigError]]:
    """The rules that the settings choose, with their examples, and what could not be used."""
    problems: list[ConfigError] = []
    return read_rules(settings, rule_files(settings, base_dir), problems), problems


def beginning(rule_id: str) -> str:
    """A rule file with one rule to start from, with a uuid of its own."""
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
