"""Tells a telephone number from dates, versions and other numbers."""

from __future__ import annotations

import re

_NO_PHONE = re.compile(
    r"(?:19|20)\d\d[ .-]\d\d?[ .-]\d\d?|\d{1,3}(?:\.\d{1,3}){3}|\d{1,2}[ .-]\d{1,2}[ .-](?:19|20)\d\d"
    r"|(?:(?:19|20)\d\d[ -]?){2,4}|\d{3}-\d\d-\d{4}"
)
_CLEARLY_PHONE = re.compile(
    r"\+|00|011|\(\d|0\d{1,5}[ .-]|0\d{9}|(?:1[ .-]?)?[2-9]\d\d([ .-])\d{3}[ .-]\d{4}(?!\d)|0\d([ .-])\d\d(?:\2\d\d){3}"
)
_CALL_WORDS = frozenset(
    (  # noqa: SIM905 -- a word a line would be fifty lines
        "phone phones telephone telphone tel mobile cell cellphone cellular fax desk office hotline landline call "
        "called calling dial ring text texted sms message messages whatsapp signal answering registered contact "
        "reach reached reachable voicemail pager telefon telefono telefona telefone t\u00e9l\u00e9phone "
        "tel\u00e9phone t\u00e9lephone movil m\u00f3vil celular handy rufnummer portable mob ph home work main"
    ).split()
)
_CALL_SIGNS = ("\u96fb\u8a71", "\u7535\u8bdd", "\u624b\u673a", "\uc804\ud654")
_COUNTED_WORDS = frozenset(
    (  # noqa: SIM905 -- the same
        "order invoice account card case ticket zip postal postcode plz id ids ref reference serial iban ssn version v "
        "date born year years population usd eur isbn issn part model item sku tracking passport license licence tax "
        "vat page line port size since byte bytes apo box"
    ).split()
)
"""Words in front of a number that counts or names something else than a telephone."""

_COUNTED = re.compile(r"(?:(?P<word>\w+)|[$\u20ac\u00a3\u00a5#])[\s:#.]{0,3}$")
_WORDS = re.compile(r"\w+")


def phone(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The match has as many digits as a telephone number, and is no date and no version.

    One that no international or national sign marks as such must stand beside a word such as ``phone`` or ``call``.
    """
    raw = text[start:end].strip()
    value = re.split(r"\s?(?:x|ext|#)", raw, maxsplit=1)[0]
    count = sum(map(str.isdigit, value))
    if not 7 <= count <= 16 or _NO_PHONE.fullmatch(value) is not None or len(set(value)) < 4:
        return False
    before = text[max(0, start - 40) : start]
    counted = _COUNTED.search(before)
    if counted is not None:
        word = counted["word"]
        if word is None or word.lower() in _COUNTED_WORDS:
            return False
        if word.lower() == "of" and before[: counted.start()].rstrip().lower().endswith("number"):
            return False
    if count > 7 and _CLEARLY_PHONE.match(value) is not None:
        return True
    around = [*_WORDS.findall(before.lower()), *_WORDS.findall(text[end : end + 12].lstrip(" \t-,(").lower())[:1]]
    return not _CALL_WORDS.isdisjoint(around) or any(sign in before for sign in _CALL_SIGNS)
