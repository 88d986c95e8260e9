"""Tells whether somebody gives personal data about themselves: that is masked where recorded, and is no alarm."""

from __future__ import annotations

import re

_BEFORE = 60
_FIRST_PERSON = re.compile(
    r"\b(?:my|mine|i'?m|i\s+am|i\s+was|our|mein\w{0,2}|ich\s+bin|mon|ma|mes|notre|mi|mis|meus?|minhas?|mio|mia|mijn|m[oó]j[aey]?)\b"
    r"|\b[\u041c\u043c]\u043e[\u0439\u044f\u0435\u0438\u044e]\b|\u6211\u7684|\u79c1\u306e|\ub0b4\s",
    re.IGNORECASE,
)
_OTHER_PERSON = re.compile(
    r"\b(?:customer|client|patient|user|employee|colleague|neighbou?r|friend|boss|wife|husband|mother|father|sister|brother|son"
    r"|daughter|partner|his|her|their|your|kunde|client|cliente)s?\b",
    re.IGNORECASE,
)


def is_own(text: str, start: int, target: str, surface: str) -> bool:
    """Returns whether the match at `start` is data that the writer of a user's turn gives about themselves.

    Args:
        text: The text.
        start: First code point of the match.
        target: The side of the call.
        surface: The surface; only ``llm`` on the side ``input`` holds turns of a user.
    """
    if (target, surface) != ("input", "llm"):
        return False
    before = text[max(0, start - _BEFORE) : start].rpartition("\n")[2]
    sentence = re.split(r"[.!?]\s", before)[-1]
    return _FIRST_PERSON.search(sentence) is not None and _OTHER_PERSON.search(sentence) is None
