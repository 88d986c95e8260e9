"""Reads SQL statements far enough to tell a narrow one from one that destroys."""

from __future__ import annotations

import re

from cylestio_monitor.scan.readers import full_parsers

_TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"[^"]*"|`[^`]*`|\[[^\]]*\]|[A-Za-z_@#$][\w@#$.]*|\d+(?:\.\d+)?|.""",
    re.DOTALL,
)
_AFTER_TABLE = frozenset(
    [
        "where",
        "using",
        "as",
        "returning",
        "limit",
        "order",
        "cascade",
        "restrict",
        "if",
        "set",
        "join",
        "inner",
        "left",
        "right",
        "from",
        "go",
        "and",
        "or",
        "union",
        "purge",
    ]
)
_ALWAYS = re.compile(r"^\(*(?:(\d+)=\1|true|1|'([^']*)'='\2'|(\w+)=\3|1>0|not false|\d+<>\d+)\)*$", re.IGNORECASE)
_LIMIT = 4000
_HARD = frozenset(["or", "not", "select", "with", "between", "like", "case", "and"])
"""Words with which a condition may hold always without looking so."""


def statement(text: str, start: int) -> list[str]:
    """The tokens of the statement that begins at `start`, without blanks and comments, up to its end."""
    tokens: list[str] = []
    depth = 0
    for match in _TOKEN.finditer(text, start, min(len(text), start + _LIMIT)):
        word = match[0]
        if word.isspace():
            # A blank line ends a statement that no semicolon does.
            if word.count("\n") > 1:
                break
            continue
        if word.startswith(("--", "/*")):
            continue
        if word == ";" or (word in {")", "]", "}"} and depth == 0):
            break
        depth += (word == "(") - (word == ")")
        tokens.append(word)
    return tokens


def is_statement(text: str, start: int, end: int) -> bool:
    """Returns whether what stands behind a statement's head, its verb and object, reads on as SQL and not as prose."""
    head = text[start:end]
    rest = text[end : end + 80]
    following = rest.lstrip(" \t")
    if not following or following[0] in ";\n\r,(\"'`)]}":
        return True
    if following[0] in ".!?" and (len(following) == 1 or following[1].isspace()):
        return True
    word = re.match(r"[A-Za-z_]+", following)
    if word is None:
        return following[0] in "-/*[=@#"
    if word[0].lower() in _AFTER_TABLE and (
        word[0].isupper() or word[0].lower() in {"where", "cascade", "restrict", "set"}
    ):
        return True
    return head.split()[0].isupper() and head.split()[1].isupper() and not word[0].isupper() and _an_object(head)


def _an_object(head: str) -> bool:
    """Returns whether the last word of a statement's head is a name rather than a word of a sentence."""
    return head.rsplit(maxsplit=1)[-1].lower() not in {
        "statement",
        "statements",
        "command",
        "commands",
        "is",
        "and",
        "or",
        "in",
        "with",
    }


def without_condition(text: str, start: int, end: int, *, sure: bool = False) -> bool:
    """Returns whether a ``DELETE`` or ``UPDATE`` that begins at `start` has no condition, or one that always holds.

    Args:
        text: What the statement stands in.
        start: Where it begins.
        end: Where its head ends.
        sure: That it is a statement, which its head alone shows.
    """
    if not sure and not is_statement(text, start, end):
        return False
    tokens = statement(text, start)
    lower = [token.lower() for token in tokens]
    if "where" not in lower:
        return "limit" not in lower and "join" not in lower and "using" not in lower
    if not _HARD.isdisjoint(lower):
        parsed = full_parsers.unbounded(" ".join(tokens), text)
        if parsed is not None:
            return parsed
    condition = tokens[lower.index("where") + 1 :]
    ends = {"returning", "limit", "order"}
    for number, token in enumerate(condition):
        if token.lower() in ends:
            condition = condition[:number]
            break
    return (
        bool(condition)
        and _ALWAYS.match("".join(condition).strip("\"'`") if len(condition) < 2 else "".join(condition)) is not None
    )


_PAIR = re.compile(r"(\w+)[^\w]*?(?:=|like|is|in|<=?|>=?|<>|!=)[^\w]*(\w+)[^\w]*$", re.IGNORECASE)


def constant_condition(text: str) -> bool:
    """Returns whether a comparison is of two constants, or of one thing with itself: its outcome hangs on no data."""
    pair = _PAIR.search(text)
    if pair is None:
        return False
    left, right = pair[1].lower(), pair[2].lower()
    return left == right or (left.isdigit() and right.isdigit()) or (len(left) == 1 and len(right) == 1 and "'" in text)


_MORE = re.compile(
    r"\b(?:select|union|from|where|and|or|null|having|into|concat|0x[0-9a-f]+)\b|--|@@|\|\|", re.IGNORECASE
)


def reads_as_sql(text: str, start: int, end: int) -> bool:
    """Returns whether more of SQL stands around a function call, or the text is no more than a short query."""
    around = text[max(0, start - 80) : end + 120]
    words = {word.lower() for word in _MORE.findall(around)}
    return len(words) > 1 or re.match(r"\s*select\b", text, re.IGNORECASE) is not None


_CONDITION = re.compile(r"\bfrom\s.{1,400}?\bwhere\s", re.IGNORECASE | re.DOTALL)
_CONSTANT = re.compile(
    r"""\b(?:or|and|xor)\b[\s(]*(?:(['"]?)([\w ]*)\1\s*(?:=|like)\s*(['"]?)\2(?!\w)"""
    r"""|(?:true|1|not\s+false)\s*(?:--|\#|;|$|\)))|\|\||&&|--|\#|/\*|\bunion\b|\bselect\b""",
    re.IGNORECASE,
)
_BEFORE = 2000


def injected(text: str, start: int, end: int) -> bool:
    """Returns whether a condition behind a quote was slipped in.

    One of a whole statement, such as ``select a from t where b = 'x' or b = 'y'``, was not, unless it always holds.
    """
    if _CONDITION.search(text, max(0, start - _BEFORE // 4), start) is None:
        return True
    return _CONSTANT.search(text, start, min(len(text), end + 60)) is not None


def opens_quote(text: str, start: int, _end: int) -> bool:
    """Returns whether the match begins without a quote, or with one that no earlier quote of its kind opened."""
    quote = text[start]
    return quote not in "'\"`" or text.count(quote, max(0, start - _BEFORE), start + 1) % 2 == 1


_BEGINS = re.compile(
    r"\s*\(?\s*(?:select\s|with\s+\w+\s+as\b|insert\s+into\s|update\s+\w|delete\s+from\s|create\s+\w|alter\s+\w|begin\b|set\s+\w)",
    re.IGNORECASE,
)
_TELLTALE = re.compile(
    r"\bnull\s*,\s*null|\bselect\s+(?:all\s+|distinct\s+)?(?:null|\d+\s*(?:,|$)|@@|char\(|concat\w*\(|0x)|--|#|/\*|@@|information_schema"
    r"|\b(?:exec\w*|waitfor|shutdown|declare|sleep|benchmark|load_file|xp_\w+|into\s+(?:out|dump)file|password|passwd)\b",
    re.IGNORECASE,
)


def slipped_in(text: str, start: int, end: int) -> bool:
    """Returns whether a ``UNION`` or second statement was put behind a value, and is none of a whole query or script.

    A whole one begins with a statement, closes its quotes before the place, and has nothing behind it that injections
    have: rows of ``NULL``, comments, the server's variables.
    """
    if _BEGINS.match(text) is None:
        return True
    before = text[max(0, start - _BEFORE) : start]
    if before.count("'") % 2 or before.count('"') % 2:
        return True
    return _TELLTALE.search(text, start, min(len(text), end + 200)) is not None
