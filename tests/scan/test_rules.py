"""Every shipped rule proves itself, and a rule that does not is refused with file and line."""

from collections import Counter
from itertools import chain

import pytest

from cylestio_monitor import config, yamlfile
from cylestio_monitor.rules import json_schema, load_pack, load_packs, shipped_files
from cylestio_monitor.rules.examples import expand
from cylestio_monitor.rules.literals import EDGE, MARK
from cylestio_monitor.rules.model import MAX_PATTERN
from cylestio_monitor.rules.pattern import PatternError, bounded, shape
from cylestio_monitor.rules.prefilter import CODE, START, TOKEN, digits
from cylestio_monitor.scan import Scanner
from cylestio_monitor.scan.check import check
from cylestio_monitor.scan.validators.checks import VALIDATORS

RULES, PROBLEMS = load_packs(shipped_files(), known=tuple(VALIDATORS))


def test_all_shipped_rules_can_be_used():
    assert PROBLEMS == []


def test_ids_and_uuids_are_unique():
    assert [uuid for uuid, count in Counter(rule.uuid for rule in RULES).items() if count > 1] == []


def test_breadth():
    kinds = Counter(rule.category for rule in RULES)
    assert kinds["secret"] >= 180
    assert len({country for rule in RULES for country in rule.locales}) >= 25


@pytest.mark.parametrize("ruleset", sorted({rule.ruleset for rule in RULES}))
def test_every_example_of_the_pack_is_found_or_passed(ruleset):
    assert [failure for rule in RULES if rule.ruleset == ruleset for failure in check(rule)] == []


def _pack(tmp_path, body):
    file = tmp_path / "own.yaml"
    file.write_text("ruleset: own\nrules:\n" + body, "utf-8")
    return file


GOOD = """\
  - id: own.word
    uuid: 3f1c2d4e-5a6b-4c7d-8e9f-0a1b2c3d4e5f
    title: A word of ours
    category: keyword
    severity: medium
    pattern: 'zebra\\d+'
    examples:
      hit: ['zebra7']
      miss: ['zebra']
"""


def test_a_pack_of_the_user_is_used(tmp_path):
    _pack(tmp_path, GOOD)
    settings = config.Settings(
        rules=config.RuleSettings(packs=("own.yaml",)), scan=config.ScanSettings(engine="python")
    )
    scanner = Scanner(settings, key=b"k" * 32, base_dir=tmp_path)
    assert scanner.problems == []
    assert [f.rule_id for f in scanner.text("a zebra42", target="input", subtype="llm")] == ["own.word"]
    assert scanner.rules["own.word"].ruleset == "own"


@pytest.mark.parametrize(
    ("before", "after", "line", "key", "reason"),
    [
        ("      miss: ['zebra']\n", "", 9, "rules[0].examples", "lacks `miss`"),
        ("      hit: ['zebra7']\n", "      hit: []\n", 10, "rules[0].examples.hit", "length"),
        ("severity: medium", "severity: grave", 7, "rules[0].severity", "grave"),
        ("pattern: 'zebra\\d+'", "pattern: '(zebra'", 8, "rules[0].pattern", "cannot be used"),
        ("pattern: 'zebra\\d+'", "pattern: '(a)\\1'", 8, "rules[0].pattern", "back-reference"),
        ("pattern: 'zebra\\d+'", "pattern: '(?:a{1,30}b){1,20}'", 8, "rules[0].pattern", "repetition within"),
        ("pattern: 'zebra\\d+'", "pattern: 'a*'", 8, "rules[0].pattern", "nothing"),
        ("title: A word of ours", "titel: x", 5, "rules[0].titel", "not a known key"),
        ("pattern: 'zebra\\d+'", f"pattern: 'zebra{'a' * 296}'", 8, "rules[0].pattern", "length <= 300"),
        ("pattern: 'zebra\\d+'", f"patterns: [ab, 'zebra{'a' * 296}']", 8, "rules[0].patterns[1]", "length <= 300"),
        ("pattern: 'zebra\\d+'", f"signs: [ab, cd, 'zebra{'a' * 296}']", 8, "rules[0].signs[2]", "length <= 300"),
        (
            "pattern: 'zebra\\d+'",
            "pattern: 'zebra'\n    patterns: ['zebra\\d+']",
            8,
            "rules[0].pattern",
            "needs one of",
        ),
        ("pattern: 'zebra\\d+'", "patterns: ['zebra\\d+', '(zebra']", 8, "rules[0].patterns[1]", "cannot be used"),
        ("pattern: 'zebra\\d+'", "pattern: '(?&animal)\\d+'", 8, "rules[0].pattern", "no word list is called `animal`"),
        (
            "pattern: 'zebra\\d+'",
            "pattern: '(?&a)\\d+'\n    words: {a: ['(?&b)'], b: ['(?&a)']}",
            8,
            "rules[0].pattern",
            "more than 4 deep",
        ),
        (
            "pattern: 'zebra\\d+'",
            "pattern: 'zebra\\d+'\n    words: {b: [ab]}",
            9,
            "rules[0].words.b",
            "used by no pattern",
        ),
        ("miss: ['zebra']", "miss: ['zebra', 'a horse']", 11, "rules[0].examples.miss[1]", "nothing of what"),
        ("miss: ['zebra']", f"miss: ['zebra{'x' * 16}']", 11, "rules[0].examples.miss[0]", "nothing of what"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named_by_file_line_and_key(tmp_path, before, after, line, key, reason):
    second = GOOD.replace("own.word", "own.other").replace("3f1c", "4f1c")
    assert before in GOOD
    file = _pack(tmp_path, GOOD.replace(before, after) + second)
    rules, problems = load_pack(file, known=tuple(VALIDATORS))
    assert [rule.id for rule, _ in rules] == ["own.other"]
    (problem,) = problems
    assert problem.source == str(file)
    assert problem.key == key
    assert reason in problem.reason
    assert abs(problem.line - line) <= 1


WORDS = """\
words:
  animal: [zebra, 'horses?']
"""
SEVERAL = """\
  - id: own.several
    uuid: 5f1c2d4e-5a6b-4c7d-8e9f-0a1b2c3d4e5f
    title: Several patterns
    category: keyword
    severity: medium
    patterns: ['(?&animal)\\s+(?&number)', '\\d+ (?&animal)']
    words:
      number: [one, two]
    examples:
      hit: ['zebra one', 'horses two', '7 horse']
      miss: ['zebra three', 'two horses']
"""


def _found(tmp_path, text, engine):
    settings = config.Settings(rules=config.RuleSettings(packs=("own.yaml",)), scan=config.ScanSettings(engine=engine))
    scanner = Scanner(settings, key=b"k" * 32, base_dir=tmp_path)
    assert scanner.problems == []
    return [(f.rule_id, f.start, f.end) for f in scanner.text(text, target="input", subtype="llm")]


@pytest.mark.parametrize("engine", ["python", "hyperscan"])
def test_a_rule_finds_any_of_its_patterns_and_each_place_once(tmp_path, engine):
    file = _pack(tmp_path, SEVERAL)
    file.write_text(WORDS + file.read_text("utf-8"), "utf-8")
    assert [check(rule) for rule, _ in load_pack(file, known=tuple(VALIDATORS))[0]] == [[]]
    name = "own.several"
    assert _found(tmp_path, "a horse two, then 12 zebra", engine) == [(name, 2, 11), (name, 18, 26)]
    # The second pattern matches `12 horse`, which begins first and overlaps `horse one`.
    assert _found(tmp_path, "12 horse one", engine) == [(name, 0, 8)]


def test_a_word_list_of_the_pack_and_of_the_rule_cannot_have_one_name(tmp_path):
    file = _pack(tmp_path, SEVERAL.replace("number", "animal"))
    file.write_text(WORDS + file.read_text("utf-8"), "utf-8")
    (problem,) = load_pack(file)[1]
    assert problem.key == "rules[0].words.animal"
    assert "word list of the pack too" in problem.reason


def test_a_word_list_that_is_malformed_is_named(tmp_path):
    file = _pack(tmp_path, SEVERAL)
    file.write_text("words:\n  animal: []\n" + file.read_text("utf-8"), "utf-8")
    (problem,) = load_pack(file)[1]
    assert problem.line in {1, 2}
    assert problem.key.startswith("words")


def test_no_shipped_pattern_is_long_and_every_word_list_is_used():
    for rule in RULES:
        written = (rule.pattern or "", *rule.patterns, *rule.signs, *chain(*rule.words.values()))
        assert max(map(len, written)) <= MAX_PATTERN
    for file in shipped_files():
        lists, _ = yamlfile.read_mapping(file)
        used = {name for rule, _ in load_pack(file)[0] for name in rule.words}
        assert set(lists.get("words", ())) <= used


def test_an_unknown_validator_and_a_double_id_are_problems(tmp_path):
    file = _pack(
        tmp_path, GOOD + GOOD.replace("own.word", "own.b").replace("pattern:", "validators: [nope]\n    pattern:")
    )
    assert "no validator is called `nope`" in load_pack(file, known=tuple(VALIDATORS))[1][0].reason
    rules, problems = load_packs([_pack(tmp_path, GOOD), _pack(tmp_path, GOOD)])
    assert len(rules) == 1
    assert "already a rule" in problems[0].reason


def test_a_missing_pack_leaves_the_others(tmp_path):
    settings = config.Settings(
        rules=config.RuleSettings(packs=("gone.yaml",)), scan=config.ScanSettings(engine="python")
    )
    scanner = Scanner(settings, key=b"k" * 32, base_dir=tmp_path)
    assert [problem.source for problem in scanner.problems] == [str(tmp_path / "gone.yaml")]
    assert scanner.text("rm -rf /", target="output", subtype="tool_call")


def test_examples_expand_the_same_way_every_time():
    text = expand("key {{[A-F0-9]:12}} end", "seed")
    assert text == expand("key {{[A-F0-9]:12}} end", "seed")
    assert len(text) == len("key ") + 12 + len(" end")
    assert set(text[4:16]) <= set("ABCDEF0123456789")


def test_repetitions_are_bounded_and_nothing_else():
    assert bounded(r"a*b+\s+c{3,}") == r"a{0,65}b{1,65}\s{1,12}c{3,67}"
    assert bounded(r"[]+*]\+\*{2}") == r"[]+*]\+\*{2}"


def test_literals_hold_in_every_match():
    def lead(pattern):
        return shape(pattern, ignore_case=True).clauses[0]

    assert lead(r"\d{3}-\d\d-\d{4}") == (digits(9),)
    assert lead(r"(?:drop|delete)\s+table") == ("drop table", "delete table")
    assert lead(r"(?:AKIA|ASIA)[A-Z2-7]{16}") == ("akia", "asia")
    assert lead(r"\brm\b\s+-") == (f"{EDGE}rm -",)
    assert lead(r"[a-z0-9_]{40}") == (TOKEN,)
    assert lead(r"[A-Z]{5}\d{4}[A-Z]") == (CODE,)
    assert lead(r"^\W{0,3}\d") == (START,)
    assert lead(r"(?m)^\W{0,3}\d") != (START,)
    assert shape(r"[a-z ]{3,9}", ignore_case=True).clauses == ((MARK,),)
    with pytest.raises(PatternError):
        shape(r"x{5000}", ignore_case=False)


def test_the_runs_of_digits_of_a_number_are_known():
    def groups(pattern):
        return [tuple(lengths) for lengths in shape(pattern, ignore_case=False).groups]

    assert groups(r"(?<!\d)\d{3}-?\d{2}(?!\d)") == [(3, 2), (5,)]
    assert groups(r"\b[A-Z]\d{7}[0-9A]\b") == [(7,), (8,)]
    assert groups(r"\d{9}") == []  # may stand within a longer one
    assert groups(r"(?<!\d)\d{3}[a-z]{2,9}\d\b|x\d{4}\b") == [(3, 1), (4,)]
    assert groups(r"\b(?:\d[ -]?){13,19}\b") == []  # too many to name


def test_the_schema_names_every_key_of_a_rule():
    properties = json_schema()["$defs"]["Rule"]["properties"]
    assert {"id", "uuid", "pattern", "patterns", "words", "keywords", "signs", "evasion", "examples"} <= set(properties)
    assert "ruleset" not in properties
