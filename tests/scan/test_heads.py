"""A costly pattern is tried only where its cheap beginning stands: at no other place does it match."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cylestio_monitor.rules import load_packs, shipped_files
from cylestio_monitor.rules.heads import head
from cylestio_monitor.scan.matching.compiled_rule import compile_rule

RULES = load_packs(shipped_files())[0]
COSTLY = {one.regex: (rule, one) for rule in RULES for one in compile_rule(rule) if one.is_costly}
PATTERNS = {
    r"\b(?:ab|a)c": r"(?=\b(?:ab|a)c)",
    r"ab|c[]|]d": r"(?=ab|c[]|]d)",
    r"[^]a](b|c)\x41{1,3}?": r"(?=[^]a](b|c)\x41{1,3}?)",
    r"(?:a[^\n]{0,90}b|c\|d)e": r"(?=(?:a|c\|d))",
    r"a(?=b)(?<!c)[^\n]{0,90}d": r"(?=a(?=b)(?<!c))",
    r"(?:a|b)?[^\n]{0,90}c": "",
    r"[^\n]{0,90}a": "",
    r"(?:[^\n]{0,90}a|b)c": "",
    r"(?:a(?:b|[^\n]{0,90}(?:c|d))|\(e\))f": r"(?=(?:a|\(e\)))",
    r"(?:ab){2,3}[^\n]{0,90}c": r"(?=(?:ab){2,3})",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_head_is_the_longest_cheap_beginning(pattern):
    assert head(pattern, 0) == PATTERNS[pattern]


@given(
    pattern=st.sampled_from([pattern for pattern, found in PATTERNS.items() if found]), text=st.text("abcdefA|]() \n")
)
def test_the_head_holds_wherever_the_pattern_matches(pattern, text):
    whole, beginning = re.compile(pattern), re.compile(head(pattern, 0))
    places = {match.start() for match in beginning.finditer(text)}
    assert {at for at in range(len(text)) if whole.match(text, at)} <= places


@pytest.mark.parametrize("regex", COSTLY, ids=lambda regex: COSTLY[regex][0].id)
def test_the_heads_of_the_shipped_rules_hold_where_their_examples_match(regex):
    rule, compiled = COSTLY[regex]
    whole = re.compile(regex, compiled.flags)
    beginning = re.compile(compiled.head, compiled.flags)
    for text in (*rule.examples.hit, *rule.examples.miss):
        places = {match.start() for match in beginning.finditer(text)}
        assert {at for at in range(len(text)) if whole.match(text, at)} <= places


def test_nearly_all_costly_rules_have_a_head():
    assert sum(not one.head for _, one in COSTLY.values()) <= len(COSTLY) // 20
