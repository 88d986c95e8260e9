"""The hosts that a receiver of a text may connect to, in one form for each host.

Receivers disagree: about user names before a host, about control characters inside it, about the spelling of an
address. Where they do, each candidate is a host, so that an `allow` needs all of them and a `deny` only one.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cylestio_monitor.govern.provenance.atoms import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

_REST: Final = r"|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]{2,45}\]|(?<![\w.-])localhost(?![\w-])\.?"
_HOST: Final = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.){1,20}[a-z][a-z0-9-]{1,61}\.?" + _REST,
)
_LETTER: Final = r"\w\u00b7\u0300-\u036f\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
"""Characters of the labels of internationalised names, symbols that registries admit among them."""
_ANY_HOST: Final = re.compile(
    rf"(?:[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?\.){{1,20}}[^\W\d_][{_LETTER}-]{{1,61}}\.?" + _REST
)
_FILE_ENDINGS: Final = frozenset(
    {"txt", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "csv", "tsv", "json", "jsonl", "yaml", "yml", "xml"}
    | {"html", "htm", "js", "ts", "css", "png", "jpg", "jpeg", "gif", "svg", "log", "sql", "ini", "cfg", "conf", "toml"}
    | {"env", "bak", "tmp", "dat", "db", "lock", "tar", "gz", "xz"}
)
"""Endings of file names that are no top-level domains."""
_AUTHORITY: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}:)?[/\\]{2,}([^/\\?#\s]*)")
_BROKEN_URL: Final = re.compile(r"\s*(?:[a-z][a-z0-9+.-]{0,20}:)?[/\\]{2,}\S*(?:[\t\r\n]+\S+){1,20}\s*")
"""One URL with tabs or line ends inside, which most readers of URLs leave out."""
_PORT: Final = re.compile(r":\d{0,5}$")
_BARE_IPV6: Final = re.compile(r"[0-9a-f:.]{2,45}(?:%\w{1,20})?")
_BARE_HEX: Final = re.compile(r"0x[0-9a-f]{7,8}")
_ADDRESS_PART: Final = re.compile(r"0x[0-9a-f]{0,8}|\d{1,10}")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_MAX_URL: Final = 4096
_MAX_BARE: Final = 80
_IPV4: Final = 2**32


def hosts_of(text: str) -> tuple[str, ...]:
    r"""Returns all hosts that a reader of the text may connect to, sorted, as `canonical` spells them.

    A URL whose readers disagree about the host (``http://good.example\@evil.example``) gives each candidate.
    """
    folded = _dotted(fold(text))
    found: set[str] = set()
    if "." in folded or "//" in folded or "\\\\" in folded or "localhost" in folded:
        found.update(_candidates(folded))
        if len(folded) <= _MAX_URL and _BROKEN_URL.fullmatch(folded):
            found.update(_candidates(re.sub(r"[\t\r\n]", "", folded)))
    if len(folded) <= _MAX_BARE:
        bare = folded.strip()
        if _BARE_HEX.fullmatch(bare) or ("::" in bare and _BARE_IPV6.fullmatch(bare)):
            found.add(bare)
    return tuple(sorted({name for host in found for name in canonical(host)})) if found else ()


@lru_cache(maxsize=4096)
def canonical(host: str) -> tuple[str, ...]:
    """Returns the forms of a host that readers take it for: IPv4 in four decimal numbers, names in their ASCII form.

    Args:
        host: A host in lower case, or a pattern for hosts, whose labels with ``*`` stay as they are.
    """
    host = host.rstrip(".").strip("[]").partition("%")[0]
    if ":" in host:
        return _ipv6(host)
    forms = [host] if host.isascii() else sorted({_ascii(host, "idna"), _ascii(host, "punycode")})
    return tuple(dict.fromkeys((*forms, *_ipv4(host))))


def ipv4_of(number: float) -> str:
    """Returns the address that a whole number stands for; empty for a number that readers take for something else."""
    if not number.is_integer() or not 2**24 <= number < _IPV4:
        return ""
    return str(ipaddress.IPv4Address(int(number)))


def _candidates(folded: str) -> Iterator[str]:
    for match in (_HOST if folded.isascii() else _ANY_HOST).finditer(folded):
        host = match[0].rstrip(".")
        before = folded[: match.start()]
        is_local_part = folded[match.end() : match.end() + 1] == "@" and not before.endswith("@")
        is_file = host.rpartition(".")[2] in _FILE_ENDINGS and not before.endswith(("@", "//", "\\\\"))
        if not is_local_part and not is_file:  # the name before a host is content
            yield host
    for match in _AUTHORITY.finditer(folded):
        host = _PORT.sub("", match[1].rpartition("@")[2])
        if host:
            yield host  # also a name without a dot, such as localhost, and a number that stands for an address


def _dotted(folded: str) -> str:
    """Returns the text with the full stop of Chinese and Japanese, which resolvers take for a dot, as a dot."""
    return folded if folded.isascii() else folded.replace("\u3002", ".")


def _ipv6(host: str) -> tuple[str, ...]:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return (host,)
    inside = address.ipv4_mapped or address.sixtofour
    if inside is None and address in _NAT64:
        inside = ipaddress.IPv4Address(int(address) % _IPV4)
    return (str(address),) if inside is None else (str(address), str(inside))


def _ipv4(host: str) -> Iterator[str]:
    """Yields the addresses that a number, or up to four of them, stand for; a leading zero is octal to some readers."""
    parts = host.split(".")
    if len(parts) > 4 or not all(map(_ADDRESS_PART.fullmatch, parts)):
        return
    for bases in ((16, 8), (16, 10)):
        try:
            numbers = [int(part[2:] or "0", bases[0]) if part[:2] == "0x" else _whole(part, bases[1]) for part in parts]
        except ValueError:
            continue
        if all(number < 256 for number in numbers[:-1]) and numbers[-1] < 256 ** (5 - len(numbers)):
            high = sum(number << (24 - 8 * place) for place, number in enumerate(numbers[:-1]))
            yield str(ipaddress.IPv4Address(high + numbers[-1]))


def _whole(part: str, base: int) -> int:
    return int(part, base if part[0] == "0" else 10)


def _ascii(host: str, codec: str) -> str:
    """Returns a name with each label in its ASCII form, by the standard of 2003 or as the label is spelled."""
    labels = []
    for label in host.split("."):
        encoded = label
        if not label.isascii() and "*" not in label:
            try:
                spelled = label.encode(codec).decode("ascii")
            except UnicodeError:  # no label of the standard: it is only equal to itself
                spelled = label
            encoded = f"xn--{spelled}" if codec == "punycode" and spelled is not label else spelled
        labels.append(encoded)
    return ".".join(labels)
