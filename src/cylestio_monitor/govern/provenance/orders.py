"""Orders inside data: sentences that tell the reader, an agent, to do something."""

from __future__ import annotations

import re
from typing import Final

REACH: Final = 220
"""Code points around a value in which an order counts as near."""

_VERBS: Final = (
    "send|email|mail|forward|reply|post|publish|transfer|pay|wire|donate|buy|purchase|order|book|reserve|schedule|create"
    "|make|add|invite|delete|remove|erase|cancel|update|change|set|modify|reset|visit|click|open|go|browse|follow|download"
    "|upload|share|grant|give|run|execute|install|call|contact|write|include|append|insert|submit|enter|use|replace"
    "|register|subscribe|say|tell|recommend|do|read|retrieve|find|get|look|copy|move|put|save|refund|withdraw|deposit"
    "|print|output|return|respond|answer|ignore|forget|disregard|remember"
)
_ORDER: Final = re.compile(
    # An imperative: a verb that opens a sentence, or follows a word that introduces one.
    rf"(?:^|[.!?:;,>\"'\n*(]\s{{0,4}}|\s-\s{{1,4}}"
    rf"|\b(?:please|now|then|and|to|must|should|also|first|you|kindly|just|immediately|next)\s)(?:{_VERBS})\b"
    # Words that address a reader who is to act.
    r"|\b(?:todo|instructions?|important|urgent|attention|task|system (?:message|note|prompt)|assistant|ai agent"
    r"|you (?:must|should|need|have to|are))\b"
)


def near(folded: str, start: int, end: int) -> bool:
    """Returns whether an order stands within `REACH` code points of a place.

    Args:
        folded: The text, folded to lower case.
        start: Offset of the value.
        end: Offset after the value.
    """
    return _ORDER.search(folded, max(0, start - REACH), min(len(folded), end + REACH)) is not None
