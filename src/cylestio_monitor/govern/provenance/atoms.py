"""Atoms: the parts of a text that identify something, in one folded form.

An atom is a URL, host, e-mail address, account number, file path or an identifier with digits. Two spellings of the
same atom (case, full-width letters, character references, percent encoding, blanks in an account number) have the same
folded form, so that a value can be found again in another message.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

AtomKind: TypeAlias = Literal["url", "host", "email", "account", "path", "identifier", "record", "phrase"]

MAX_ATOMS: Final = 2000
"""Atoms read from one text; a longer list is cut, so that a hostile text has a bounded cost."""

MAX_TEXT: Final = 200_000
"""Code points of one text that are searched for atoms."""

_ATOM: Final = re.compile(
    # Most words hold none of the characters of an atom: they are passed over before an alternative is tried.
    r"(?<![a-z0-9])(?=[^\s@:./\\\d]{0,130}[@:./\\\d]|ids?\b|number\b|n[or]\b)"
    r"(?:(?P<url>\b(?:https?|ftps?|wss?|s3|gs|file)://[^\s<>\"'`\\\]\[(){}|^]{1,2000})"
    r"|(?P<email>(?<![a-z0-9][._%+-])(?<![a-z0-9][._%+-]{2})[a-z0-9](?:[a-z0-9._%+-]{0,126}[a-z0-9_+-])?@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}\b)"
    r"|(?P<account>\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,3})?\b)"
    r"|(?P<path>(?<![\w.])(?:~|\.{1,2})?(?:/[\w.@+-]{1,255}){2,40}/?|(?<!\w)[a-z]:\\[\w.@+\\ -]{1,255})"
    r"|(?P<host>(?<![\w@.-])(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.){1,8}[a-z][a-z0-9]{1,23}\b(?:/[^\s<>\"'`\\\]\[(){}|^]{1,500})?)"
    r"|(?P<record>(?<!\w)(?:ids?|number|no|nr)\b[^\w\n]{1,6}(?:is |of |= )?[\"']?#?\d{1,5}(?![\w.]))"
    r"|(?P<identifier>(?<![\w.-])(?=[a-z0-9_#-]{0,60}\d)[#@]?[a-z0-9][a-z0-9_-]{3,62}(?![\w-])))"
)
_NUMBER: Final = re.compile(r"[\d.,:/-]*")
_DATE: Final = re.compile(
    r"(?:19|20)\d\d[-/.]?(?:0\d|1[0-2])[-/.]?[0-3]\d(?:t[\d:]+z?)?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d\d){1,2}"
)
_WORDS: Final = re.compile(r"[^\W_]+")
_MARKS: Final = {code: " " for code in range(128) if not chr(code).isalnum()}
_EDGES: Final = ".,;:!?'\"*_-#"
_PHRASE_WORDS: Final = (2, 12)


class Atom(NamedTuple):
    """One atom of a text.

    Attributes:
        kind: Its kind.
        value: Its folded form: equal for equal atoms.
        start: Offset of its first code point in the folded text.
        end: Offset after its last code point in the folded text.
    """

    kind: AtomKind
    value: str
    start: int
    end: int


def fold(text: str) -> str:
    """The text with references and percent encoding undone, NFKC-normalised, in lower case.

    Args:
        text: Any text; only the first `MAX_TEXT` code points are used.
    """
    text = text[:MAX_TEXT]
    if "&" in text:
        text = html.unescape(text)
    if "%" in text:
        text = unquote(text, errors="replace")
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return text.lower()


def atoms(folded: str) -> Iterator[Atom]:
    """The atoms of a folded text, in order, at most `MAX_ATOMS`.

    A URL gives two atoms, itself and its host. Dates, times and plain amounts are no atoms: they identify nothing.

    Args:
        folded: A text that `fold` returned.
    """
    for number, match in enumerate(_ATOM.finditer(folded)):
        if number == MAX_ATOMS:
            return
        kind = cast("AtomKind", match.lastgroup)  # the names of the groups are the kinds
        value = match[0].rstrip(_EDGES)
        start, end = match.start(), match.start() + len(value)
        if kind in {"url", "host"}:
            yield from _addresses(kind, value, start, end)
        elif kind == "record":
            yield Atom(kind, record(re.sub(r"\D", "", value)), start, end)
        elif kind == "account":
            yield Atom(kind, re.sub(r"[ -]", "", value), start, end)
        elif kind == "identifier":
            value = value.lstrip("#@")
            if not _is_amount(value):
                yield Atom(kind, value, start, end)
        else:
            yield Atom(kind, value, start, end)


def record(number: str) -> str:
    """The folded form of the short number of a record, such as the id of a file: a bare number would be an amount."""
    return f"id {number}"


def phrase(folded: str) -> str | None:
    """A short text as one phrase of words separated by single blanks; ``None`` for a text of another size.

    A name such as ``Riverside View Hotel`` has no atom of its own, and still is a value that somebody said first.

    Args:
        folded: A text that `fold` returned.
    """
    if len(folded) > 160:
        return None
    words = _WORDS.findall(folded)
    low, high = _PHRASE_WORDS
    return " ".join(words) if low <= len(words) <= high else None


def words(folded: str) -> str:
    """The words of a folded text separated by single blanks, with one blank at both ends: made for `in`."""
    found = folded.translate(_MARKS).split() if folded.isascii() else _WORDS.findall(folded)
    return f" {' '.join(found)} "


def _addresses(kind: AtomKind, value: str, start: int, end: int) -> Iterator[Atom]:
    rest = value.partition("://")[2] if kind == "url" else value
    authority, _, path = rest.partition("/")
    host = authority.rpartition("@")[2].partition(":")[0].removeprefix("www.").rstrip(".")
    if path.rstrip("/"):
        yield Atom("url", f"{host}/{path.rstrip('/')}", start, end)
    if "." in host:
        yield Atom("host", host, start, end)


def _is_amount(value: str) -> bool:
    return bool(_DATE.fullmatch(value)) or (bool(_NUMBER.fullmatch(value)) and len(value) < 6)
