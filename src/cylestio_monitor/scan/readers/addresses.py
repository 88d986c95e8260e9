"""Reads what leaves the machine and where it goes: the address of a command, and the data in the address of an image.

Badges, charts and installers are addresses with parameters too. What tells an attack from them is a stranger's address,
or a parameter that carries content: a placeholder for it, or words that only an encoding hides.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_COMMAND = 600
_ADDRESS = re.compile(r"(?P<scheme>[a-z]{2,6})://(?:[^\s/@'\"`]{1,100}@)?(?P<host>\[[0-9a-f:.]{2,40}\]|[\w.-]{1,100})")
_BARE_IP = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
_LOCAL = re.compile(
    r"localhost|(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[::1?\]|host\.docker\.internal|ip6-loopback"
)
_NUMERIC = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}|\d{8,10}|0x[0-9a-f]{8}|\[[0-9a-f:.]+\]")
_CATCHERS = re.compile(
    r"(?:^|\.)(?:webhook\.site|requestbin\.\w+|pipedream\.net|ngrok(?:-free)?\.(?:io|app|dev)|beeceptor\.com|hookbin\.com"
    r"|transfer\.sh|file\.io|0x0\.st|pastebin\.com|hastebin\.com|paste\.ee|rentry\.co|termbin\.com|trycloudflare\.com"
    r"|serveo\.net|localhost\.run|gofile\.io|bashupload\.com|oast\.\w+|oastify\.com|interact\.sh|burpcollaborator\.net"
    r"|bit\.ly|tinyurl\.com|t\.co|is\.gd|goo\.gl|cutt\.ly|rb\.gy)$"
)
"""Sites where anybody drops a file, catches a request or hides an address."""


def leaves(text: str, start: int, end: int, argument: str = "") -> bool:
    """The command at the match reaches another machine.

    With the argument ``stranger`` it must be one that does not say who it is: a bare IP address, no encryption, or a
    site where anybody drops a file, catches a request or hides an address.
    """
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    command = text[start : min(line_end, start + _LONGEST_COMMAND)].lower()
    hosts = [(match["scheme"], match["host"]) for match in _ADDRESS.finditer(command)]
    hosts += [("", match[0]) for match in _BARE_IP.finditer(command)]
    away = [(scheme, host) for scheme, host in hosts if not _LOCAL.fullmatch(host)]
    if argument == "stranger":
        return any(scheme == "http" or _NUMERIC.fullmatch(host) or _CATCHERS.search(host) for scheme, host in away)
    return bool(away) or (not hosts and "localhost" not in command)


_URL = re.compile(r"(?:[^\s{\[<\\\"']|\{[^}\n]{0,80}\}|\[[^\]\n]{0,80}\]|<[^>\n]{0,80}>|\\)+")
_STAND_IN = re.compile(r"\{{1,2}([^{}\n]{1,80})\}{1,2}|\[([^\]\n]{1,80})\]|<([^>\n]{1,80})>|\$\{?(\w{1,40})\}?")
_SHOUTED = re.compile(r"\b[A-Z]{3,20}(?:_[A-Z]{2,20}){1,5}\b")
_CONTENT = re.compile(
    r"conversation|chat|histor|messages?\b|prompt|secret|passw|credential|api.?key|private|\bssn\b|e-?mail|\bdata\b|content"
    r"|context|summar|answer|response|question|user.?(?:input|info|data|said)|base64|\bb64|encode|\benv\b|document|memory"
    r"|payload|stolen|exfil|\bnotes?\b|user's|\bthe\s",
    re.IGNORECASE,
)
_LOOKS = re.compile(
    r"(?:branch|ref|style|logo|labels?|colou?r|event|workflow|tag|version|v|w|h|width|height|size|s|theme|format|ext|raw"
    r"|sanitize|job|component|flag|repo|repos|repository|package|project|owner|org|user|username|id|key|token|t|svg|lang"
    r"|locale|period|units|left|right|type|state|variant|title|bg|font|date|since|metric|branch.?name|identifier)",
    re.IGNORECASE,
)
"""Names of parameters that choose a badge, a chart or a picture and its look."""
_PROOF = re.compile(
    r"sig|sign|token|jwt|hash|hmac|digest|md5|sha\d|policy|credential|expires|key|auth|ticket|etag|nonce|state|session|secure",
    re.IGNORECASE,
)
"""Names of parameters that hold a signature or a key of the link itself."""
_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){10,}")
_PRIVATE = re.compile(
    r"\b(?:passw(?:or)?ds?|passcode|pin|secrets?|api.?keys?|accounts?|ssn|iban|cards?|customers?|conversation|asked|said"
    r"|confidential|internal|salary|diagnos\w+|address|e-?mail|phone|instructions|user(?:'s)?|my|i|you|your)\b|@|\d{6}",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[A-Za-z][a-z']+")
_FEWEST_WORDS = 5
_OPAQUE = 60


def carries_data(text: str, start: int, end: int, _argument: str = "") -> bool:
    """The address at the match takes content along: a placeholder for it, prose, or what an encoding hides.

    Parameters that choose a badge or sign the link do not count, nor does the address of another picture.
    """
    match = _URL.match(text, start, end)
    if match is None:
        return False
    place, _, query = match[0].partition("?")
    in_markdown = text[start - 1 : start] not in {'"', "'", "="}
    for name, value in _parameters(query):
        said = unquote(value)
        if in_markdown and (
            any(_CONTENT.search(held) or not _LOOKS.fullmatch(name) for held in _stand_ins(said))
            or any(map(_CONTENT.search, _SHOUTED.findall(said)))
        ):
            return True
        if _hides_words(value) or _is_prose(value):
            return True
        if len(value) >= _OPAQUE and not _PROOF.search(name) and _is_opaque(value):
            return True
    if in_markdown and any(map(_CONTENT.search, _stand_ins(unquote(place)))):
        return True
    return any(_hides_words(part) for part in place.split("/")[3:])


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"[&;#]", query):
        name, found, value = part.partition("=")
        yield (name, value) if found else ("", part)


def _stand_ins(value: str) -> list[str]:
    """Returns the names of the placeholders in the value."""
    return [next(filter(None, match.groups())) for match in _STAND_IN.finditer(value)]


def _hides_words(value: str) -> bool:
    """Returns whether base64 or hexadecimal in the value reads as words, and not as one more address."""
    for run in _RUN.findall(unquote(value)):
        try:
            raw = bytes.fromhex(run) if _HEX.fullmatch(run) else base64.b64decode(_padded(run), b"-_", validate=True)
            said = raw.decode("ascii")
        except ValueError:
            continue
        if said.isprintable() and not re.match(r"(?:https?:)?//|[{<]", said):
            words = [word for word in _WORDS.findall(said) if len(word) > 2]
            if len(words) >= 2 and sum(map(len, words)) * 2 > len(said):
                return True
            if re.search(r"@[\w-]+\.\w|\b(?:password|secret|api_?key|token|user)\b\s?[:=]", said, re.IGNORECASE):
                return True
    return False


def _padded(run: str) -> str:
    bare = run.rstrip("=").replace("+", "-").replace("/", "_")
    return bare + "=" * (-len(bare) % 4)


def _is_prose(value: str) -> bool:
    """Returns whether the value is a sentence about somebody or something private."""
    said = unquote_plus(value)
    return " " in said and len(_WORDS.findall(said)) >= _FEWEST_WORDS and _PRIVATE.search(said) is not None


def _is_opaque(value: str) -> bool:
    """Returns whether the value is one long run of what looks drawn at random, no words and no path."""
    run = unquote(value)
    if re.fullmatch(r"[A-Za-z0-9+/_=-]{60,}", run) is None or run.count("/") > len(run) // 20:
        return False
    words = sum(len(word) for word in re.findall(r"[A-Z]?[a-z]{4,}", run))
    return words * 3 < len(run) and any(map(str.isdigit, run))


_ARMOUR_LINE = re.compile(r"[A-Za-z0-9+/]{40}")
_SAID = re.compile(r"(?<![^\s'\"(])[A-Za-z][a-z]{2,}(?=[\s.,'\")])")
_SHORTEST_KEY = 64


def key_material(text: str, start: int, end: int, _argument: str = "") -> bool:
    """Between the marks of a key stands a key, not nothing and not prose about the marks."""
    if _ARMOUR_LINE.search(text, start, end) is not None:
        return True
    body = text[start:end].partition("KEY")[2].partition("-----END")[0].strip("- \r\n")
    return len(body) >= _SHORTEST_KEY and len(_SAID.findall(body)) < _FEWEST_WORDS
