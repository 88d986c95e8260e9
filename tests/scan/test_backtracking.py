"""A pattern of a user that `re` may try in exponentially many ways is refused; ordinary ones are not."""

import json

import pytest

from cylestio_monitor.rules import load_pack, load_packs, shipped_files

REFUSED = [
    "x(a+)+$",
    "x(a|a)*b",
    "x(a|aa)+$",
    "((a{0,12}){0,12}){0,12}b",
    "(.*,){11}P",
    "x(a{1,12}){1,12}b",
    "x(aa?){1,60}b",
    "x(?:a|a.){1,60}b",
    "(\\w{1,12}\\s?){1,12}!",
    "a*a*a*a*a*a*a*a*b",
    "([a-z]*){1,12}0",
    "(?:a|ab|abc|abcd|a.){1,60}Z",
    "x(?:\\d+\\s*)+y",
    "(?=(a{1,12}){1,12}b)a",
    "(?:\\w+[ -]?)+@",
    "(a)\\1",
    "x.*.*.*.*.*y",
]
ACCEPTED = [
    "TICKET-\\d{6}",
    "\\b(?:ignore|ignoring|ignored)\\s+(?:\\w+\\s+){0,6}instructions?",
    "\\b(?:internal|confidential)\\b[^\\n]{0,80}\\b(?:memo|paper)s?\\b",
    "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}",
    "[A-Za-z0-9+/]{20,200}={0,2}",
    "\\bcurl\\s+(?:-\\w+\\s+){0,6}https?://\\S+",
]


def _pack(folder, pattern):
    file = folder / "own.yaml"
    file.write_text(
        "ruleset: own\nrules:\n  - id: own.word\n    uuid: 3f1c2d4e-5a6b-4c7d-8e9f-0a1b2c3d4e5f\n"
        f"    title: Something\n    category: keyword\n    severity: medium\n    pattern: {json.dumps(pattern)}\n"
        "    examples: {hit: [aaa], miss: [aaab]}\n"
    )
    return file


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_pattern_that_backtracks_is_refused(tmp_path, pattern):
    rules, (problem,) = load_pack(_pack(tmp_path, pattern))
    assert rules == []
    assert problem.key == "rules[0].pattern"
    assert problem.line == 8


@pytest.mark.parametrize("pattern", ACCEPTED)
def test_an_ordinary_pattern_is_not(tmp_path, pattern):
    _, problems = load_pack(_pack(tmp_path, pattern))
    assert [problem for problem in problems if problem.key == "rules[0].pattern"] == []


def test_the_shipped_rules_load():
    assert load_packs(shipped_files())[1] == []
