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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

MAX_PIECES = 40
MAX_LENGTH = 40_000

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,40000}={0,2}")
_HEX = re.compile(r"(?<![A-Za-z0-9])(?:0x)?(?:[0-9a-fA-F]{2}[ :,]?){8,20000}(?![A-Za-z0-9])")
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
        kind: ``base64``, ``hex``, ``url``, ``html``, ``escape`` or ``rot13``.
        text: What it says.
        start: Where it stood in the text.
        end: Where it ended.
    """

    kind: str
    text: str
    start: int
    end: int


def decoded(text: str, signs: AbstractSet[str]) -> Iterator[Decoded]:
    """Every piece of the text that decodes to something readable.

    Args:
        text: The text.
        signs: Of ``run``, ``percent``, ``reference``, ``escape`` and ``rot13`` those that it holds.
    """
    if "run" in signs:
        for kind, pattern, decode in (("base64", _BASE64, _from_base64), ("hex", _HEX, _from_hex)):
            for number, match in enumerate(pattern.finditer(text)):
                if number >= MAX_PIECES:
                    break
                plain = decode(match[0])
                if plain is not None and _PRINTABLE.fullmatch(plain):
                    yield Decoded(kind, plain, match.start(), match.end())
    if len(text) > MAX_LENGTH:
        return
    for sign, kind, undo in _WHOLE:
        if sign in signs:
            plain = undo(text)
            if plain != text:
                yield Decoded(kind, plain, 0, len(text))
    if "rot13" in signs:
        words = sum(1 for _ in zip(_ROT13.finditer(text), range(_FEWEST_ROT13), strict=False))
        if words >= _FEWEST_ROT13:
            yield Decoded("rot13", codecs.encode(text, "rot13"), 0, len(text))


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


def _from_percent(text: str) -> str:
    return unquote(text.replace("+", " "), errors="replace")


def _from_escapes(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        digits = match[0][2:] if match[0][1] in "xu" else match[0][1:]
        return chr(int(digits, 16 if match[0][1] in "xu" else 8))

    return _ESCAPE.sub(character, text)


_WHOLE = (("percent", "url", _from_percent), ("reference", "html", html.unescape), ("escape", "escape", _from_escapes))
