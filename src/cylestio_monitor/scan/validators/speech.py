"""Tells an order from a report about one: documents about attacks quote and describe what attacks say."""

from __future__ import annotations

import re

_BEFORE = 80
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_REPORTED = re.compile(
    r"\b(?:(?:mak|caus|gett?|trick|instruct|tell|ask|convinc|persuad|forc|manipulat|induc|hijack|coerc|caus|lead|direct)"
    r"(?:e|es|ing|ed|s)?|got|told|made)\s+(?!you\b)(?:[\w'-]+\s+){1,4}(?:to\s+|into\s+)?$"
    r"|\b(?:attacker|adversar(?:y|ies)|user|prompt|model|llm|agent|assistant|bot|input|payload|injection|they|it|he|she|that|which"
    r"|who)s?\s+(?:(?:can|could|may|might|will|would|should|try|tries|tried|attempts?|attempted|wants?|wanted)\s+)?(?:to\s+)?$"
    r"|\b(?:attempts?|trying|ways?|how|used|designed|able|meant|intended|try|tries)\s+to\s+$"
    r"|\b(?:never|not|cannot|n't|without|against|about|of|for|by|why|if)\s+$"
    r"|\b(?:classif\w+|interpret|make\s+of|response\s+to|respond\s+to|react\s+to|analy[sz]e|explain)\b[^:\n]{0,40}:\s*$",
    re.IGNORECASE,
)
_MENTIONED = re.compile(
    r"\b(?:phras\w+|words?|strings?|sentences?|prompts?|text|messages?|say(?:s|ing)?|said|like|as|e\.?g|means?|meant|call(?:ed|s)?|interpret"
    r"|responses?\s+to|respond\s+to|react\s+to|detect\w*|block\w*|match\w*|filter\w*|contain\w*|includ\w+|example\w*|instance|make\s+of"
    r"|about|define|does|is|why|whether|instructions?|commands?|patterns?|keywords?|and|or)\W{0,4}$",
    re.IGNORECASE,
)


def ordered(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match is an order, and neither reported nor quoted as an example.

    ``tricks the model into ignoring its rules`` and ``the phrase "ignore your rules"`` are reports. A quotation counts
    as an example where words such as ``phrase`` or ``like`` stand before it.
    """
    before = text[max(0, start - _BEFORE) : start]
    line = before.rpartition("\n")[2]
    opened = line.rstrip()
    quoted = opened[-1:] in _QUOTES and any(quote in _QUOTES for quote in text[end : end + _BEFORE]) and bool(opened)
    told = opened.rstrip(_QUOTES) if quoted else line
    if _REPORTED.search(told) is not None:
        return False
    return not quoted or _MENTIONED.search(told) is None
