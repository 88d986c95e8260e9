"""Undoes encodings: bounded pieces of a text that read as base64, hexadecimal, percent, references or escapes.

One level, at most `MAX_PIECES` pieces of a text: what is encoded twice is decoded once.
"""

from __future__ import annotations

import binascii
import codecs
import html
import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from cylestio_monitor.scan.normalisation.characters import NormalisedText, replace_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

MAX_PIECES = 40
MAX_LENGTH = 40_000
SHORTEST_BASE64 = 12
FEWEST_SELECTORS = 6
CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\v\f\r") + b"\x7f"
"""Bytes that no text holds."""

URL_SAFE = str.maketrans("-_", "+/")

_BASE64 = re.compile(r"[A-Za-z0-9+/_-](?<![A-Za-z0-9+/_-].)[A-Za-z0-9+/_-]{11,40000}={0,2}")
# What comes first is what the search can skip to; what must not stand before it is asked afterwards.
_HEX = re.compile(
    r"[0-9a-fA-F](?<![A-Za-z0-9].)(?:x[0-9a-fA-F])?[0-9a-fA-F][ :,]?(?:[0-9a-fA-F]{2}[ :,]?){7,20000}(?![A-Za-z0-9])"
)
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{3})")
_ROT13 = re.compile(
    r"\b(?:gur|naq|lbh|lbhe|ner|nyy|abg|jvgu|sebz|guvf|gung|jvyy|pna|jub|abj|cyrnfr|vtaber|cerivbhf|vafgehpgvbaf?|flfgrz"
    r"|cebzcg|fryrpg|havba|sebz|jurer|qebc|gnoyr|qryrgr|erirny|eulrf|ehyrf|cnffjbeq|frperg|nf|na|va|bs|vg|gb|zr|or)\b",
    re.IGNORECASE,
)
_HEX_SHAPES = bytes(104 if code in b"0123456789abcdefABCDEF" else 46 if code in b" :," else 120 for code in range(256))
_HEX_RUNS = (b"h" * 16, b"hh." * 7 + b"hh")
_FEWEST_ROT13 = 3
_PRINTABLE = re.compile(r"[\x20-\x7e\s\u00a0-\uffff]{6,}")


class DecodedPiece(NamedTuple):
    """One decoded piece.

    Attributes:
        kind: The disguise, such as ``base64``.
        text: The decoded text.
        start: Its start in the text.
        end: Its end in the text.
    """

    kind: str
    text: str
    start: int
    end: int


def pieces(text: str) -> Iterator[DecodedPiece]:
    """Gives every run of the text that decodes to something readable."""
    decoders = [("base64", _base64_runs(text), _from_base64)]
    if _has_hexadecimal(text):
        decoders.append(("hex", _HEX.finditer(text), _from_hex))
    for kind, runs, decode in decoders:
        for match in islice(runs, MAX_PIECES):
            plain = decode(match[0])
            if plain is not None and _PRINTABLE.fullmatch(plain):
                yield DecodedPiece(kind, plain, match.start(), match.end())


def smuggled(text: str) -> Iterator[DecodedPiece]:
    """Gives the texts that runs of variation selectors encode: each of the 256 selectors stands for one byte.

    The selectors are invisible, and follow a harmless character such as an emoji.
    """
    data = text.encode("utf-8", "surrogatepass")
    if data.count(b"\xf3\xa0\x84") + data.count(b"\xf3\xa0\x85") + data.count(b"\xef\xb8") < FEWEST_SELECTORS:
        return
    for number, run in enumerate(_SELECTORS.finditer(text)):
        if number >= MAX_PIECES:
            return
        codes = (ord(character) for character in run[0])
        raw = bytes(code - 0xFE00 if code < 0xFE10 else code - 0xE0100 + 16 for code in codes)
        plain = raw.decode("utf-8", "replace")
        if _PRINTABLE.fullmatch(plain):
            yield DecodedPiece("look-alike", plain, run.start(), run.end())


_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{6,4000}")


def _base64_runs(text: str) -> Iterator[re.Match[str]]:
    """Gives the runs that may be base64, searched for in the long ones of the words between blanks.

    Base64 of text has letters of both cases in every run of a dozen characters.
    """
    at = 0
    for word in [word for word in text.split() if len(word) >= SHORTEST_BASE64]:
        if not word.islower() and not word.isupper():
            at = text.index(word, at)
            end = at + len(word)
            for run in _BASE64.finditer(text, at, end):
                if not (run[0].islower() or run[0].isupper()):
                    yield run
            at = end


def _has_hexadecimal(text: str) -> bool:
    """Returns whether eight pairs of hexadecimal digits follow each other, apart from one separator between them."""
    shapes = text.encode("utf-8", "surrogatepass").translate(_HEX_SHAPES)
    return any(shape in shapes for shape in _HEX_RUNS)


def wholes(text: str, signs: AbstractSet[str]) -> Iterator[tuple[str, NormalisedText]]:
    """The whole text with one kind of encoded characters decoded, and the kind.

    Args:
        text: The text.
        signs: Of ``percent``, ``reference``, ``escape`` and ``rot13`` those that it holds.
    """
    if len(text) > MAX_LENGTH:
        return
    for sign, kind, encoded, decode in _WHOLE:
        decoded = replace_runs(text, encoded, decode) if sign in signs else None
        if decoded is not None:
            yield kind, decoded
    if "rot13" in signs:
        words = sum(1 for _ in zip(_ROT13.finditer(text), range(_FEWEST_ROT13), strict=False))
        if words >= _FEWEST_ROT13:
            yield "rot13", NormalisedText(codecs.encode(text, "rot13"))


def _from_base64(piece: str) -> str | None:
    body = piece.rstrip("=").translate(URL_SAFE)
    try:
        if not may_begin_text(binascii.a2b_base64(body[:SHORTEST_BASE64])):
            return None
        return binascii.a2b_base64(body + "=" * (-len(body) % 4)).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def may_begin_text(head: bytes) -> bool:
    """Returns whether the first bytes may be those of a text in UTF-8; most runs of letters decode to other bytes."""
    if head.translate(None, CONTROLS) != head:
        return False
    if head.isascii():
        return True
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4
    return True


def _from_hex(piece: str) -> str | None:
    try:
        return bytes.fromhex(re.sub(r"^0x|[ :,]", "", piece)).decode("utf-8")
    except ValueError:
        return None


def _from_escape(match: re.Match[str]) -> str:
    digits = match[0][2:] if match[0][1] in "xu" else match[0][1:]
    return chr(int(digits, 16 if match[0][1] in "xu" else 8))


_WHOLE: tuple[tuple[str, str, re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        "percent",
        "url",
        re.compile(r"(?:%[0-9a-fA-F]{2}){1,200}|\+"),
        lambda match: " " if match[0] == "+" else unquote(match[0], errors="replace"),
    ),
    (
        "reference",
        "html",
        re.compile(r"&(?:#[0-9xX]|[a-zA-Z])[0-9a-zA-Z]{1,31};?"),
        lambda match: html.unescape(match[0]),
    ),
    ("escape", "escape", _ESCAPE, _from_escape),
)
"""The sign, the kind, what is encoded, and what decodes it."""
