"""A text that passes in pieces is what the redaction of the whole text gives, wherever it is cut."""

from __future__ import annotations

import base64
import itertools
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cylestio_monitor.config import Settings
from cylestio_monitor.govern.redaction.held_json import HeldJSON
from cylestio_monitor.govern.redaction.held_text import MAX_HELD, HeldText, TooLongError
from cylestio_monitor.govern.redaction.redactor import Redactor
from cylestio_monitor.govern.redaction.tokens import SessionTokens
from warm import scanner

MAIL, KEY = "ann.lee@corp-example.net", "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "\n".join(base64.b64encode(bytes((i * 37 + j * 11) % 251 for j in range(48))).decode() for i in range(20))
    + "\n-----END RSA PRIVATE KEY-----\n"
)
PRIVATE = [
    MAIL,
    KEY,
    "AKIAT5Q7XKZ2M4NBVC6R",
    "4111 1111 1111 1111",
    "123-45-6789",
    "+49 30 1234567",
    "DE89 3704 0044 0532 0130 00",
    "my password is Tr0ub4dor&3x",
    "postgres://bob:s3cr3tPw9@db.corp-example.net/x",
    "the passport number is X1234567",
    "NHS number 943 476 5919",
    "Authorization: Bearer Zm9vYmFy.Q2hhbmdlVGhpcw.9f8a7b6c5d4e",
    "192.168.10.23",
    PEM,
]
DISGUISES = [
    str,
    str.upper,
    "\u200b".join,
    lambda text: text.replace("a", "\u0430").replace("e", "\u0435"),
    lambda text: "".join(f"%{ord(letter):02x}" if at % 3 else letter for at, letter in enumerate(text)),
    lambda text: "".join(f"&#{ord(letter)};" if at % 3 else letter for at, letter in enumerate(text)),
    lambda text: "".join(f"\\u{ord(letter):04x}" if at % 3 else letter for at, letter in enumerate(text)),
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: text.encode().hex(),
    lambda text: text[: len(text) // 2],
    lambda text: text[len(text) // 2 :],
]
WORDS = [
    "the ",
    "my ",
    "token ",
    "is ",
    "phone ",
    "12 ",
    "3.14 ",
    "\u00e9t\u00e9 ",
    "\u4f60\u597d",
    "\ufb01 ",
    "key = '",
    "a",
    "[",
    "[EMAIL_",
]
SIGNS = list(" .,;:@#%&\\+-_/=\"'()[]{}\n\t")


@pytest.fixture(scope="module")
def scan():
    made = scanner(Settings())
    made.wait_compiled()
    return made


def texts():
    shown = st.sampled_from(PRIVATE).map(str)
    hidden = st.tuples(st.sampled_from(PRIVATE[:12]), st.sampled_from(DISGUISES)).map(lambda pair: pair[1](pair[0]))
    return st.lists(st.sampled_from(WORDS) | st.sampled_from(SIGNS) | shown | hidden, max_size=12).map("".join)


@st.composite
def cut_texts(draw):
    text = draw(texts())
    places = draw(st.lists(st.integers(0, len(text)), max_size=6))
    return text, sorted(places) if draw(st.booleans()) else list(range(len(text)))


def whole(scan, text):
    return Redactor(scan.private, SessionTokens()).text(text)


def passed(scan, text, cuts, find=None):
    held = HeldText(find or scan.private, SessionTokens(), scan.open_matches)
    pieces = [held.feed(text[start:end]) for start, end in itertools.pairwise([0, *cuts, len(text)])]
    return [*pieces, held.finish()]


@settings(max_examples=150)
@given(cut_texts())
def test_the_pieces_are_together_the_redacted_text_wherever_it_is_cut(scan, case):
    text, cuts = case
    expected = whole(scan, text)
    assume("\\u" not in text or len(text) < MAX_HELD)
    assert "".join(passed(scan, text, cuts)) == expected


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("around", ["", "Dear reader, {}. Thank you.", "x {} y", "({})", "{}\n{}"])
def test_every_cut_in_two_of_one_private_text_gives_the_same(scan, private, around):
    text = around.replace("{}", private) or private
    expected = whole(scan, text)
    for at in range(0, len(text) + 1, 1 if len(text) < 200 else 37):
        assert "".join(passed(scan, text, [at])) == expected


def test_plain_prose_is_held_back_for_no_longer_than_a_word_or_an_open_match(scan):
    text = "Dear reader, in 2024 we sold 12 of 30 houses, and nobody minded. The street was quiet, the children slept."
    held = HeldText(scan.private, SessionTokens(), scan.open_matches)
    waiting = []
    sent = 0
    for number, letter in enumerate(text, 1):
        sent += len(held.feed(letter))
        waiting.append(number - sent)
    assert max(waiting) <= 32
    assert sum(waiting) / len(waiting) < 12


def test_a_link_is_held_back_no_longer_than_its_words(scan):
    text = "See https://docs.corp-example.net/guide/start for more, and the page behind it for the rest of the story."
    held = HeldText(scan.private, SessionTokens(), scan.open_matches)
    sent, waiting = 0, []
    for number, letter in enumerate(text, 1):
        sent += len(held.feed(letter))
        waiting.append(number - sent)
    assert max(waiting) <= len("https://docs.corp-example.net/guide/start for more, ")


def test_a_known_token_stays_and_one_that_is_begun_waits(scan):
    tokens = SessionTokens()
    assert Redactor(scan.private, tokens).text(MAIL) == "[EMAIL_1]"
    held = HeldText(scan.private, tokens, scan.open_matches)
    begun = held.feed("to [EMAIL")
    assert "to [EMAIL_1][EMAIL_1] now".startswith(begun)
    assert begun + held.feed(f"_1]{MAIL} ") + held.feed("now") + held.finish() == "to [EMAIL_1][EMAIL_1] now"


def test_the_rest_of_a_text_ends_it_and_another_one_may_follow(scan):
    held = HeldText(scan.private, SessionTokens(), scan.open_matches)
    assert held.feed(MAIL[:9]) == ""
    assert not held.is_empty
    assert held.finish() == MAIL[:9]
    assert held.is_empty
    assert held.feed(MAIL) + held.finish() == "[EMAIL_1]"
    assert held.count == 1


def test_a_text_that_would_have_to_be_held_back_too_far_does_not_pass(scan):
    readable = base64.b64encode(b"some readable text, again and again. " * 400).decode()
    with pytest.raises(TooLongError):
        passed(scan, readable, list(range(0, len(readable), 50)))


@pytest.mark.parametrize("kind", ["hex digits", "base64 of bytes", "one word", "digits"])
def test_a_long_run_that_says_nothing_passes(scan, kind):
    text = {
        "hex digits": " ".join(f"{(number * 7) % 256:02x}" for number in range(8_000)),
        "base64 of bytes": base64.b64encode(bytes(number * 89 % 251 for number in range(15_000))).decode(),
        "one word": "a" * 20_000,
        "digits": "8" * 20_000,
    }[kind]
    assert "".join(passed(scan, text, list(range(0, len(text), 97)))) == whole(scan, text)


def test_the_search_of_a_piece_costs_the_same_early_and_late_in_a_text(scan):
    searched = []

    def find(text, key):
        searched.append(len(text))
        return scan.private(text, key)

    line = f"Please write to {MAIL} about the order. "
    costs = []
    for pieces in (1_000, 10_000):
        searched.clear()
        text = line * (pieces * 5 // len(line))
        passed(scan, text, list(range(5, len(text), 5)), find)
        costs.append(sum(searched) / pieces)
    assert costs[1] <= 1.2 * costs[0]


def test_no_more_of_a_text_is_kept_than_is_needed(scan):
    held = HeldText(scan.private, SessionTokens(), scan.open_matches)
    kept = 0
    for _ in range(3_000):
        held.feed(f"write to {MAIL} now. ")
        kept = max(kept, len(held._text))
    assert kept < MAX_HELD


def test_a_search_that_fails_lets_nothing_pass(scan):
    def find(text, key):
        raise ValueError("no time")

    held = HeldText(find, SessionTokens(), scan.open_matches)
    with pytest.raises(ValueError, match="no time"):
        held.feed(f"{MAIL} and more. ")


# --- JSON


VALUES = [
    {"to": [MAIL, "x"], "n": 3, "deep": {"a": [None, True, 1.5, -2e3, {"b": KEY}]}},
    {"password": "hunter2hunter2", "user": "ann", "apiKey": "Zx81kQp2Lm"},
    {"card": 4111111111111111, "short": 12, "text": 'a "quoted"\n\\ text \u00e9 \U0001f600'},
    {"cards": [-4111111111111111, 4111111111111111.0], "large": [1e300, -1.5e20, 10**50]},
    {MAIL: 1, "list": [MAIL, MAIL]},
    [],
    "just " + MAIL,
    {"password": "p" * 600 + MAIL},
    {"command": f"curl -H 'Authorization: Bearer {KEY}' https://x.example.com/?a=1&b=2"},
]


def json_passed(scan, text, cuts):
    tokens = SessionTokens()
    held = HeldJSON(lambda: HeldText(scan.private, tokens, scan.open_matches), Redactor(scan.private, tokens))
    pieces = [held.feed(text[start:end]) for start, end in itertools.pairwise([0, *cuts, len(text)])]
    return "".join([*pieces, held.finish()])


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_json_in_pieces_says_what_the_redacted_value_says(scan, value, is_ascii):
    text = json.dumps(value, ensure_ascii=is_ascii)
    expected = Redactor(scan.private, SessionTokens()).value(value)
    for cuts in ([], list(range(len(text))), list(range(0, len(text), 7))):
        assert json.loads(json_passed(scan, text, cuts)) == expected


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**20), 10**20) | texts(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["to", "text", "api_key"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    st.data(),
)
def test_any_json_in_pieces_says_what_the_redacted_value_says(scan, value, data):
    text = json.dumps(value)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    assert json.loads(json_passed(scan, text, cuts)) == Redactor(scan.private, SessionTokens()).value(value)


@pytest.mark.parametrize(
    "text",
    [f"{{to: {MAIL}}}", f"write to {MAIL}", f'{{"to": "{MAIL}', f'{{"a": 1}} {MAIL} x', '{"to": "x\\u00', "{]"],
)
def test_what_is_no_json_is_redacted_as_a_text(scan, text):
    for cuts in ([], list(range(len(text)))):
        assert json_passed(scan, text, cuts) == text.replace(MAIL, "[EMAIL_1]")
