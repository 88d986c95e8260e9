"""Checks on a match, by name: what no expression can say.

A validator sees the whole text and the span of the match, and answers whether the match stands. A name may carry an
argument after a colon: ``entropy:3.5``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeAlias

from cylestio_monitor.errors import ConfigError
from cylestio_monitor.scan.readers import addresses, shell, sql
from cylestio_monitor.scan.validators import check_digits, speech
from cylestio_monitor.scan.validators.phone import phone

if TYPE_CHECKING:
    from collections.abc import Callable

    Check: TypeAlias = Callable[[str, int, int], bool]
    Validator: TypeAlias = Callable[[str, int, int, str], bool]


def identifier(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match is a word of its own, or a part of an identifier: ``delete`` in ``delete_file`` and ``deleteUser``."""
    first, last = text[start], text[end - 1]
    if start and first.isalnum() and _joined(text[start - 1], first):
        return False
    return not (end < len(text) and last.isalnum() and _joined(last, text[end]))


def _joined(left: str, right: str) -> bool:
    """Returns whether two neighbours belong to one word.

    They do not where a blank, an underscore or a camel hump is between them, nor in a script without blanks.
    """
    if not (left.isalnum() and right.isalnum()):
        return False
    if left.isalpha() and right.isalpha():
        if left.islower() and right.isupper():
            return False
        return not (_without_blanks(left) or _without_blanks(right))
    return left.isdigit() == right.isdigit() or not (left.isdigit() or right.isdigit())


def _without_blanks(character: str) -> bool:
    """Returns whether the script is written without blanks between words: Chinese, Japanese, Thai and the like."""
    code = ord(character)
    return 0x0E00 <= code <= 0x0EFF or 0x1000 <= code <= 0x109F or 0x1780 <= code <= 0x17FF or 0x2E80 <= code <= 0x9FFF


def entropy(text: str, start: int, end: int, argument: str) -> bool:
    """Shannon entropy of the match, in bits a character, is at least the argument."""
    return shannon(text[start:end]) >= float(argument)


def shannon(text: str) -> float:
    """Shannon entropy in bits a character."""
    if not text:
        return 0.0
    counts: dict[str, int] = {}
    for character in text:
        counts[character] = counts.get(character, 0) + 1
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in counts.values())


def luhn(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The digits carry a right Luhn check digit, and are not all the same."""
    digits = [int(character) for character in text[start:end] if character.isdigit()]
    if len(set(digits)) < 2:
        return False
    total = sum(digits[-1::-2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return total % 10 == 0


_CARDS = re.compile(
    r"(?:4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|2720\d{12}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11,16}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12,15}|(?:2131|1800)\d{11}|35(?:2[89]|[3-8]\d)\d{12,15}|62\d{14,17}"
    r"|(?:50|5[6-9]|6\d)\d{10,17}|220[0-4]\d{12,15})"
)


def card(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The digits begin and are as many as those of a card network."""
    digits = "".join(character for character in text[start:end] if character.isdigit())
    return _CARDS.fullmatch(digits) is not None


def national(text: str, start: int, end: int, argument: str) -> bool:
    """The number carries the right check digit of the country, or other scheme, that the argument names."""
    number = "".join(character for character in text[start:end].upper() if character.isalnum() or character in "+-")
    if argument != "fi":
        number = number.replace("-", "").replace("+", "")
    try:
        return check_digits.NATIONAL[argument](number)
    except (ValueError, IndexError, KeyError):  # a letter where the scheme has a digit
        return False


_PLACEHOLDER = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|<[^>]*>|\$\{|\{\{|%\(|0{6,}|1{6,}|a{6,}|(?:12345|abcdef|qwerty)[a-z0-9]{0,3}(?:12345|abcdef)"
    r"|12345678(?:90|9)|(?:1234-){2}|abc123|a1b2c3|1a2b3c|123xyz|ghijklmnop|GHIJKLMNOP|deadbeefdeadbeef"
    r"|example|placeholder|your[_-]?|changeme|change_me|redacted|secret_here",
    re.IGNORECASE,
)
_PLACEHOLDER_WORD = re.compile(r"dummy|sample|insert|replace|todo|fake|mock", re.IGNORECASE)
_DELIMITED_WORD = re.compile(
    r"(?:(?<![A-Za-z0-9])(?:dummy|sample|insert|replace|todo|fake|mock)|(?:dummy|sample|insert|replace|todo|fake|mock)(?![A-Za-z0-9]))",
    re.IGNORECASE,
)
_LONG_TOKEN = 32


def real(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match is no placeholder such as ``xxxx``, ``<token>``, ``${TOKEN}`` or ``your-key-here``.

    A short word in a long run of letters and digits stands there by chance.
    """
    if _PLACEHOLDER.search(text, start, end) is not None:
        return False
    words = _DELIMITED_WORD if end - start > _LONG_TOKEN else _PLACEHOLDER_WORD
    return words.search(text, start, end) is None


_EXAMPLE_NAME = re.compile(
    r"\bpath[/\\]to\b|\[-{1,2}\w[\w-]*\|-{1,2}\w|\b\w+\|\w+\|\w+\b|\b(?:user|group|file|bucket|project|module|host|service|container|pod"
    r"|policy|role|device|unit|process|image)_?(?:name|id|number|arn)\b(?!\})|/dev/sdX|YYYY",
)


def concrete(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match names real things: no ``path/to/file``, ``bucket_name`` or ``[-f|--force]`` of a manual page."""
    line_end = text.find("\n", end)
    return _EXAMPLE_NAME.search(text, start, line_end if 0 <= line_end < end + 120 else end + 120) is None


_CLAIMS = frozenset(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp", "role", "roles", "email", "name"])


def jwt(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match is a token that gives a right: its claims name an issuer, a bearer, a time or a scope (RFC 7519).

    Claims that cannot be read, such as those of an encrypted token, count as such.
    """
    parts = text[start:end].replace("\\", "").split(".")
    try:
        body = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(body)
    except ValueError:
        return True
    if not isinstance(claims, dict):
        return False
    return len(claims) > 2 or any(
        name in _CLAIMS or "user" in name.lower() or name.lower().endswith("id") for name in claims
    )


def mixed(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match has a digit and a letter: no word of a language, no number."""
    value = text[start:end]
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def digits(text: str, start: int, end: int, argument: str) -> bool:
    """The match has at least as many digits as the argument says."""
    return sum(map(str.isdigit, text[start:end])) >= int(argument)


_STAND_INS = re.compile(
    r"(.)\1*|(?:(?:my|your|the|a|test|user|db|admin|root|new|old|some(?:kindof)?|any|default|secure|strong|super|demo|redis|mysql"
    r"|postgres|mongo|app|sql|dev)[_.*-]?){0,2}[_.-]?"
    r"(?:pass(?:word|wd|phrase|code)?|pwd|pw|secret|user(?:name)?|token|key|api[_-]?key|admin|root|test|guest|postgres|mysql"
    r"|string|none|null|true|false|undefined|value|text|foo|bar|baz|foobar|login|credentials?|name|id|email|auth|host|port)"
    r"[_.-]?(?:here|\d{0,3}[!@#$%^&*]{0,3})",
    re.IGNORECASE,
)


def not_a_word(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match, or what stands behind its colon, is no stand-in such as ``password`` or the user's name again."""
    value = text[start:end].rpartition(":")[2].strip("\"'{}[]<>()")
    if not value or text.endswith((f"/{value}:", "/user:", "/username:"), 0, start):
        return False
    return _STAND_INS.fullmatch(value) is None and not value.startswith(("$", "%", "<", "{"))


_CODE = re.compile(
    r"\(|\)|\{|^\$|^%|->|::|^\.{0,2}/|^[a-z_]+(?:\.[a-z_]+){1,6}\d?$|\.(?:py|js|ts|json|ya?ml|txt|md|pem|cer|html?|css)$"
    r"|^\w+\.\w*(?:Key|Token|Secret)$",
    re.IGNORECASE,
)


def no_code(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match is no call, variable, path or file name, and none goes on behind it."""
    return _CODE.search(text[start:end]) is None and text[end : end + 1] not in {"(", "[", "{"}


_KNOWN_SHAPE = re.compile(
    r"[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}|\d{4}-\d\d-\d\dT?[\d:.Z+-]*|(?:[a-z]+-){0,6}v?\d+(?:\.\d+){1,5}[\w.-]*|[\d.,:/+-]+",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Z]?[a-z]{4,}")
_SPOILT_HEX = re.compile(
    r"(?=[0-9A-F]{0,60}[a-f])(?=[0-9a-f]{0,60}[A-F])[0-9A-Fa-f]{24,}|(?=[0-9a-f]{32})[0-9a-f]{32,150}[A-Zg-z][A-Za-z0-9]{0,4}"
)
"""Hexadecimal in both cases, or with a tail of other characters: no generator of keys writes it."""


def random_looking(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match looks drawn at random: much entropy, few words, no uuid, date, version or public key."""
    value = text[start:end]
    if (
        _KNOWN_SHAPE.fullmatch(value)
        or _SPOILT_HEX.fullmatch(value)
        or (value.isupper() and "_" in value)  # the name of a variable
        or shannon(value) < (3.5 if len(value) >= 20 else 3.0)
    ):
        return False
    worded = sum(len(word) for word in _WORD.findall(value) if _pronounceable(word))
    before = text[max(0, start - 60) : start].rpartition("\n")[2].lower()
    return worded * 2 < len(value) and not _HARMLESS_NAME.search(before)


_HARMLESS_NAME = re.compile(
    r"public|csrf|xsrf|check_?sum|digest|commit|integrity|sha\d|md5|hash|\buuid|guid|kms_key|key_?name|nonce|etag|version"
    r"|revision|build|\.svg\?|next_?-?(?:page_?-?)?token|continuation|page_?token|change_?token|sync_?token|idempotency|\bcursor\b"
)
_VOWELS = frozenset("aeiouy")


def _pronounceable(word: str) -> bool:
    """Returns whether vowels and consonants take turns as they do in words."""
    vowels = sum(letter in _VOWELS for letter in word.lower())
    return 0.25 <= vowels / len(word) <= 0.65


def symbols(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match has a letter and, beside letters, a digit or a sign, and ends no sentence with it."""
    value = text[start:end].rstrip(".!?")
    return any(map(str.isalpha, value)) and any(
        not character.isalpha() and character not in "-'." for character in value
    )


_PUBLISHED = frozenset(
    # SHA-256, first 12 digits, of the sample keys in the open source of the Firebase SDKs.
    [
        "f56e323494a6",
        "2037abcaffb2",
        "3f370c9dd822",
        "e4a5542bb7fd",
        "a19f89ab3555",
        "0b476bdf9acf",
        "eb540d2b6ee2",
        "37f8f09bdf12",
        "8731261cb72d",
        "49f777db995e",
        "27a9a42931df",
        "dc0fcf046c61",
        "4c98242dcadc",
        "ea9bb1082cf9",
        "3a8b61d0f636",
        "a6c814bc555a",
    ]
)


def unpublished(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match is none of the sample keys that vendors publish in their own SDKs."""
    return hashlib.sha256(text[start:end].encode()).hexdigest()[:12] not in _PUBLISHED


def rm(text: str, start: int, _end: int, argument: str) -> bool:
    """The ``rm`` at the match reaches as far as the argument says: ``root`` or ``wide``."""
    return shell.rm_reach(text, start) == argument


def startup(text: str, start: int, end: int, _argument: str = "") -> bool:
    """Accepts text that writes more into a start-up file than a variable or an alias of a shell's profile."""
    return not shell.sets_environment(text, start, end)


def in_sql(text: str, start: int, end: int, argument: str) -> bool:
    """The match is SQL: ``statement`` that it reads on as one, the others that it has no real condition."""
    if argument == "statement":
        return sql.is_statement(text, start, end)
    return sql.without_condition(text, start, end, sure=argument == "unbounded-update")


def tautology(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The comparison is of constants, so that it always or never holds."""
    return sql.constant_condition(text[start:end])


def sql_words(text: str, start: int, end: int, _argument: str = "") -> bool:
    """More of SQL stands around the match."""
    return sql.reads_as_sql(text, start, end)


def sql_injected(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The condition was slipped into a value, or holds whatever the data."""
    return sql.injected(text, start, end)


def sql_slipped_in(text: str, start: int, end: int, _argument: str = "") -> bool:
    """Accepts a match that was appended to a value and is no part of a whole query or script."""
    return sql.slipped_in(text, start, end)


def sql_open_quote(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The quote ends a literal that the text itself did not begin."""
    return sql.opens_quote(text, start, end)


def probe(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The whole text is a quote or an encoded sign, no option or path."""
    value = text[start:end].strip()
    return any(sign in value for sign in "'\"`%\\;)") and not value.startswith("-")


VALIDATORS: dict[str, Validator] = {
    "identifier": identifier,
    "entropy": entropy,
    "luhn": luhn,
    "national": national,
    "phone": phone,
    "card": card,
    "real": real,
    "mixed": mixed,
    "jwt": jwt,
    "concrete": concrete,
    "digits": digits,
    "not-a-word": not_a_word,
    "no-code": no_code,
    "random": random_looking,
    "symbols": symbols,
    "unpublished": unpublished,
    "rm": rm,
    "startup": startup,
    "sql": in_sql,
    "tautology": tautology,
    "sql-words": sql_words,
    "sql-injected": sql_injected,
    "sql-open-quote": sql_open_quote,
    "sql-slipped-in": sql_slipped_in,
    "probe": probe,
    "ordered": speech.ordered,
    "leaves": addresses.leaves,
    "carries-data": addresses.carries_data,
    "key-material": addresses.key_material,
}


@lru_cache(maxsize=512)
def validator(name: str) -> Check:
    """The check of that name; the argument after the colon is bound.

    Raises:
        ConfigError: There is none.
    """
    base, _, argument = name.partition(":")
    function = VALIDATORS.get(base)
    if function is None:
        raise ConfigError(f"no validator is called `{base}`", source="rules", key="validators")
    return partial(_call, function, argument)


def _call(function: Validator, argument: str, text: str, start: int, end: int) -> bool:
    return function(text, start, end, argument)
