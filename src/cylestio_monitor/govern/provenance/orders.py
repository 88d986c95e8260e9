"""Orders inside data: sentences that tell the reader, an agent, to do something."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

REACH: Final = 220
"""Code points around a value in which an order counts as near."""

_VERBS: Final = (
    "send|email|mail|forward|reply|post|publish|transfer|pay|wire|donate|buy|purchase|order|book|reserve|schedule|create"
    "|make|add|invite|delete|remove|erase|cancel|update|change|set|modify|reset|visit|click|open|go|browse|follow|download"
    "|upload|share|grant|give|run|execute|install|call|contact|write|include|append|insert|submit|enter|use|replace"
    "|register|subscribe|say|tell|recommend|do|read|retrieve|find|get|look|copy|move|put|save|refund|withdraw|deposit"
    "|print|output|return|respond|answer|ignore|forget|disregard|remember"
)
# An imperative: a verb that opens a sentence, or follows a word that introduces one. The pattern that starts with a
# mark, and the words, are searched apart: each alone passes quickly over what it cannot start with.
_AT_START: Final = re.compile(rf"(?:{_VERBS})\b")
_AFTER_MARK: Final = re.compile(rf"[.!?:;,>\"'\n*(]\s{{0,4}}(?:{_VERBS})\b")
_AFTER_DASH: Final = re.compile(rf"\s-\s{{1,4}}(?:{_VERBS})\b")
_WORDS: Final = re.compile(
    r"\b(?=[pntmsafykjiu])(?:"
    rf"(?:please|now|then|and|to|must|should|also|first|you|kindly|just|immediately|next)\s(?:{_VERBS})"
    # Words that address a reader who is to act.
    r"|todo|instructions?|important|urgent|attention|task|system (?:message|note|prompt)|assistant|ai agent"
    r"|you (?:must|should|need|have to|are))\b"
)

Places: TypeAlias = list[tuple[int, int]]


def places(folded: str) -> Places:
    """The begin and the end of each order in a text, in no order.

    Args:
        folded: The text, folded to lower case.
    """
    found = [match.span() for match in _WORDS.finditer(folded)]
    found += [match.span() for match in _AFTER_MARK.finditer(folded)]
    if " - " in folded or "\n- " in folded:
        found += [match.span() for match in _AFTER_DASH.finditer(folded)]
    if opening := _AT_START.match(folded):
        found.append(opening.span())
    return found


def near(orders: Places, start: int, end: int) -> bool:
    """Returns whether one of the orders stands within `REACH` code points of a value.

    Args:
        orders: What `places` returned for the text.
        start: Offset of the value.
        end: Offset after the value.
    """
    first, last = start - REACH, end + REACH
    return any(first <= begin and stop <= last for begin, stop in orders)
