"""Finds the parts of an SQL script that are only data: literals, comments, and statements that are only explained."""

from __future__ import annotations

import re

MAX_LENGTH = 50_000
_TOKEN = re.compile(r"--[^\n]*|/\*.*?(?:\*/|$)|'(?:[^']|'')*'?|\$(\w*)\$.*?(?:\$\1\$|$)|;", re.DOTALL)
_EXPLAINED = re.compile(r"\s*explain\s+(?!analy[sz]e\b)(?!\([^)]*\banaly[sz]e\b)", re.IGNORECASE)
_TRUNCATE = re.compile(r"\btruncate\s+(?!table\b)(?=[\"`\w])", re.IGNORECASE)


def data_spans(text: str) -> list[tuple[int, int]]:
    """Returns starts and ends of the parts that no statement executes."""
    if len(text) > MAX_LENGTH:
        return []
    spans: list[tuple[int, int]] = []
    start = 0
    for token in _TOKEN.finditer(text):
        if token[0] != ";":
            spans.append(token.span())
            continue
        if _EXPLAINED.match(text, start):
            spans.append((start, token.end()))
        start = token.end()
    if _EXPLAINED.match(text, start):
        spans.append((start, len(text)))
    return spans


def spelt_out(text: str) -> str:
    """Returns the script with optional words written out, as the rules expect them: ``TRUNCATE TABLE users``."""
    return _TRUNCATE.sub("TRUNCATE TABLE ", text)
