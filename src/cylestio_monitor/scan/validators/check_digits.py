"""Check digits of national numbers, by country. Each function takes the number without blanks and signs."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _sum(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _luhn(digits: str) -> bool:
    numbers = [int(digit) for digit in digits]
    return (sum(numbers[-1::-2]) + sum(sum(divmod(2 * number, 10)) for number in numbers[-2::-2])) % 10 == 0


def _mod11_10(digits: str) -> bool:
    product = 10
    for digit in digits[:-1]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def _day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _short_day(digits: str, order: str) -> bool:
    """Returns whether six digits are a day; `order` is ``ymd`` or ``dmy``."""
    one, two, three = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
    return _day(2000 + one, two, three) if order == "ymd" else _day(2000 + three, two, one)


def _us(n: str) -> bool:
    return n[:3] not in {"000", "666"} and n[0] != "9" and n[3:5] != "00" and n[5:] != "0000" and n not in _US_KNOWN


def _us_itin(n: str) -> bool:
    group = int(n[3:5])
    return n[0] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99)


_NO_EIN_PREFIX = frozenset([0, 7, 8, 9, 17, 18, 19, 28, 29, 49, 69, 70, 78, 79, 89, 96, 97])


def _us_ein(n: str) -> bool:
    return int(n[:2]) not in _NO_EIN_PREFIX and len(set(n)) > 2


def _de_vat(n: str) -> bool:
    return n[0] == "D" and n[2] != "0" and _mod11_10(n[2:])


def _hu_taj(n: str) -> bool:
    return _sum(n, (3, 7) * 4) % 10 == int(n[8]) and len(set(n)) > 2


def _hu_company(n: str) -> bool:
    return (10 - _sum(n, (9, 7, 3, 1, 9, 7, 3)) % 10) % 10 == int(n[7]) and n[8] in "12345"


def _ru_inn(n: str) -> bool:
    if len(n) == 10:
        return _sum(n, (2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10 == int(n[9])
    if _sum(n, (7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10 != int(n[10]):
        return False
    return _sum(n, (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10 == int(n[11])


def _ru_snils(n: str) -> bool:
    return _sum(n, range(9, 0, -1)) % 101 % 100 == int(n[9:11])


def _ua(n: str) -> bool:
    return len(set(n)) > 2 and _sum(n, (-1, 5, 7, 9, 4, 6, 10, 5, 7)) % 11 % 10 == int(n[9])


_US_KNOWN = frozenset({"078051120", "219099999", "123456789", "111111111"})


def _gb_nhs(n: str) -> bool:
    return (11 - _sum(n, range(10, 1, -1)) % 11) % 11 == int(n[9])


def _de(n: str) -> bool:
    return n[0] != "0" and _mod11_10(n) and len(set(n[:10])) in {8, 9}


def _fr(n: str) -> bool:
    body = n[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and 97 - int(body) % 97 == int(n[13:])


def _es(n: str) -> bool:
    body = n[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23] == n[-1]


_IT_TEN = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_IT_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [*_IT_TEN, *_IT_TEN, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23],
        strict=True,
    )
)


def _it(n: str) -> bool:
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in n[1:15:2])
    return (even + sum(_IT_ODD[c] for c in n[0:15:2])) % 26 == ord(n[15]) - 65


def _pt(n: str) -> bool:
    check = 11 - _sum(n, range(9, 1, -1)) % 11
    return (0 if check > 9 else check) == int(n[8])


def _nl(n: str) -> bool:
    return n != "0" * 9 and (_sum(n, range(9, 1, -1)) - int(n[8])) % 11 == 0


def _be(n: str) -> bool:
    check = int(n[9:])
    return check in {97 - int(n[:9]) % 97, 97 - int("2" + n[:9]) % 97}


def _pl(n: str) -> bool:
    return (10 - _sum(n, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10) % 10 == int(n[10])


def _se(n: str) -> bool:
    return _luhn(n[-10:]) and 1 <= int(n[-8:-6]) <= 12 and 1 <= int(n[-6:-4]) % 60 <= 31


def _no(n: str) -> bool:
    first = (11 - _sum(n, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11) % 11
    second = (11 - _sum(n, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return first == int(n[9]) and second == int(n[10])


def _dk(n: str) -> bool:
    return _short_day(n, "dmy")


def _fi(n: str) -> bool:
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(n[:6] + n[7:10]) % 31] == n[10] and _short_day(n, "dmy")


def _ee(n: str) -> bool:
    check = _sum(n, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    if check == 10:
        check = _sum(n, (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return check == int(n[10]) and 1 <= int(n[3:5]) <= 12


def _lv(n: str) -> bool:
    return (1101 - _sum(n, (1, 6, 3, 7, 9, 10, 5, 8, 4, 2))) % 11 == int(n[10])


def _cz(n: str) -> bool:
    return int(n) % 11 == 0 and 1 <= int(n[2:4]) % 50 % 20 <= 12


def _ro(n: str) -> bool:
    check = _sum(n, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return (1 if check == 10 else check) == int(n[12]) and 1 <= int(n[3:5]) <= 12


def _bg(n: str) -> bool:
    return _sum(n, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == int(n[9])


def _si(n: str) -> bool:
    return (11 - _sum(n, (7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11 % 10 == int(n[12])


def _gr(n: str) -> bool:
    return n != "0" * 9 and _sum(n, (256, 128, 64, 32, 16, 8, 4, 2)) % 11 % 10 == int(n[8])


def _hu(n: str) -> bool:
    return n[0] == "8" and _sum(n, range(1, 10)) % 11 == int(n[9])


def _at(n: str) -> bool:
    return _sum(n, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == int(n[3]) and 1 <= int(n[6:8]) <= 15


def _ch(n: str) -> bool:
    return (10 - _sum(n, (1, 3) * 6) % 10) % 10 == int(n[12])


def _ie(n: str) -> bool:
    extra = (ord(n[8]) - 64) * 9 if len(n) > 8 and n[8] != "W" else 0
    return "WABCDEFGHIJKLMNOPQRSTUV"[(_sum(n, range(8, 1, -1)) + extra) % 23] == n[7]


def _tr(n: str) -> bool:
    odd, even = sum(map(int, n[0:9:2])), sum(map(int, n[1:8:2]))
    return n[0] != "0" and (odd * 7 - even) % 10 == int(n[9]) and sum(map(int, n[:10])) % 10 == int(n[10])


_D = ["0123456789", "1234067895", "2340178956", "3401289567", "4012395678", "5987604321", "6598710432", "7659821043",
      "8765932104", "9876543210"]  # fmt: skip
_P = ["0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258"]


def _in(n: str) -> bool:
    check = 0
    for place, digit in enumerate(reversed(n)):
        check = int(_D[check][int(_P[place % 8][int(digit)])])
    return check == 0 and n[0] not in "01"


def _cn(n: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[_sum(n, weights) % 11] == n[17] and _day(int(n[6:10]), int(n[10:12]), int(n[12:14]))


def _tw(n: str) -> bool:
    first = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(n[0]) + 10
    return (first // 10 + first % 10 * 9 + _sum(n[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def _hk(n: str) -> bool:
    head = n[:-7]
    total = sum((ord(c) - 55) * w for c, w in zip(head.rjust(2), (9, 8), strict=True) if c != " ")
    total += 36 * 9 if len(head) == 1 else 0
    return "0A987654321"[(total + _sum(n[-7:-1], range(7, 1, -1))) % 11] == n[-1]


def _kr(n: str) -> bool:
    check = (11 - _sum(n, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return check == int(n[12]) and 1 <= int(n[2:4]) <= 12 and 1 <= int(n[4:6]) <= 31


def _jp(n: str) -> bool:
    rest = _sum(n, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return (0 if rest <= 1 else 11 - rest) == int(n[11])


def _sg(n: str) -> bool:
    total = _sum(n[1:8], (2, 7, 6, 5, 4, 3, 2)) + (4 if n[0] in "TG" else 0)
    return ("JZIHGFEDCBA" if n[0] in "ST" else "XWUTRQPNMLK")[total % 11] == n[8]


def _th(n: str) -> bool:
    return (11 - _sum(n, range(13, 1, -1)) % 11) % 10 == int(n[12])


def _au_tfn(n: str) -> bool:
    return _sum(n, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _au_abn(n: str) -> bool:
    return (_sum(n, (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)) - 10) % 89 == 0


def _nz(n: str) -> bool:
    n = n.zfill(9)
    check = (11 - _sum(n, (3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    if check == 10:
        check = (11 - _sum(n, (7, 4, 3, 2, 5, 2, 7, 6)) % 11) % 11
    return check == int(n[8])


def _za(n: str) -> bool:
    return _luhn(n) and _short_day(n, "ymd")


def _br_cpf(n: str) -> bool:
    if len(set(n)) == 1:
        return False
    first = _sum(n, range(10, 1, -1)) * 10 % 11 % 10
    return first == int(n[9]) and _sum(n, range(11, 1, -1)) * 10 % 11 % 10 == int(n[10])


def _br_cnpj(n: str) -> bool:
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    first, second = (11 - _sum(n, weights[1:]) % 11, 11 - _sum(n, weights) % 11)
    return n[12:] == f"{0 if first > 9 else first}{0 if second > 9 else second}"


def _ar(n: str) -> bool:
    return (11 - _sum(n, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11 == int(n[10])


def _cl(n: str) -> bool:
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(reversed(n[:-1])))
    return "0K987654321"[total % 11] == n[-1].upper()


def _mx(n: str) -> bool:
    alphabet = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(alphabet.index(c) * (18 - place) for place, c in enumerate(n[:17]))
    return (10 - total % 10) % 10 == int(n[17]) if n[17].isdigit() else False


def _ca(n: str) -> bool:
    return n[0] not in "08" and _luhn(n)


def _il(n: str) -> bool:
    return int(n) > 0 and _luhn(n)


def iban(n: str) -> bool:
    """ISO 13616: mod 97 over the number turned round, letters as numbers, and the country's length."""
    if IBAN_LENGTHS.get(n[:2]) != len(n):
        return False
    return int("".join(str(int(character, 36)) for character in n[4:] + n[:4])) % 97 == 1


IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FO FI GL NL SD", 19: "MK SI", 20: "AT BA EE KZ XK LT LU MN", 21: "HR LI LV CH",
        22: "BH BG CR GE DE IE ME RS GB VA", 23: "TL GI IL AE IQ OM SO", 24: "AD CZ MD PK RO SA SK ES SE TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip

NATIONAL: dict[str, Callable[[str], bool]] = {
    "us": _us, "itin": _us_itin, "ein": _us_ein, "de-vat": _de_vat, "taj": _hu_taj, "hu-company": _hu_company,
    "inn": _ru_inn, "snils": _ru_snils, "ua": _ua,
    "nhs": _gb_nhs, "de": _de, "fr": _fr, "es": _es, "it": _it, "pt": _pt, "nl": _nl, "be": _be, "pl": _pl,
    "se": _se, "no": _no, "dk": _dk, "fi": _fi, "ee": _ee, "lv": _lv, "cz": _cz, "ro": _ro, "bg": _bg, "hr": _mod11_10,
    "si": _si, "gr": _gr, "hu": _hu, "at": _at, "ch": _ch, "ie": _ie, "tr": _tr, "in": _in, "cn": _cn, "tw": _tw,
    "hk": _hk, "kr": _kr, "jp": _jp, "sg": _sg, "th": _th, "tfn": _au_tfn, "abn": _au_abn, "nz": _nz, "za": _za,
    "cpf": _br_cpf, "cnpj": _br_cnpj, "ar": _ar, "cl": _cl, "mx": _mx, "ca": _ca, "il": _il, "iban": iban,
}  # fmt: skip
