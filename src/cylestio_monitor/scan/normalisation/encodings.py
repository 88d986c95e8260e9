"""Undoes encodings: bounded pieces of a text that read as base64, hexadecimal, percent, references or escapes.

One level, at most `MAX_PIECES` pieces of a text: what is encoded twice is decoded once.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from cylestio_monitor.scan.normalisation.characters import Undone, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

MAX_PIECES = 40
MAX_LENGTH = 40_000

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
_FEWEST_ROT13 = 3
_PRINTABLE = re.compile(r"[\x20-\x7e\s\u00a0-\uffff]{6,}")


class Decoded(NamedTuple):
    """One decoded piece.

    Attributes:
        kind: ``base64`` or ``hex``.
        text: What it says.
        start: Where it stood in the text.
        end: Where it ended.
    """

    kind: str
    text: str
    start: int
    end: int


def pieces(text: str) -> Iterator[Decoded]:
    """Every run of the text that decodes to something readable."""
    for kind, pattern, decode in (("base64", _BASE64, _from_base64), ("hex", _HEX, _from_hex)):
        for number, match in enumerate(pattern.finditer(text)):
            if number >= MAX_PIECES:
                break
            plain = decode(match[0])
            if plain is not None and _PRINTABLE.fullmatch(plain):
                yield Decoded(kind, plain, match.start(), match.end())


def wholes(text: str, signs: AbstractSet[str]) -> Iterator[tuple[str, Undone]]:
    """The whole text with one kind of encoded characters decoded, and the kind.

    Args:
        text: The text.
        signs: Of ``percent``, ``reference``, ``escape`` and ``rot13`` those that it holds.
    """
    if len(text) > MAX_LENGTH:
        return
    for sign, kind, encoded, decode in _WHOLE:
        undone = undo(text, encoded, decode) if sign in signs else None
        if undone is not None:
            yield kind, undone
    if "rot13" in signs:
        words = sum(1 for _ in zip(_ROT13.finditer(text), range(_FEWEST_ROT13), strict=False))
        if words >= _FEWEST_ROT13:
            yield "rot13", Undone(codecs.encode(text, "rot13"))


def _from_base64(piece: str) -> str | None:
    if piece.isdigit() or (piece.isalpha() and (piece.islower() or piece.isupper())):
        return None
    body = piece.rstrip("=").translate(_URL_SAFE)
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


_URL_SAFE = str.maketrans("-_", "+/")


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
