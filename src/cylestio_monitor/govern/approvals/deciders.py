"""Deciders: a callback of the application, the terminal of the program, and a signed webhook."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from cylestio_monitor import sanitize
from cylestio_monitor.config.transport import is_protected

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.govern.approvals.request import ApprovalRequest

SIGNATURE_HEADER: Final = "Cylestio-Signature"
_MAX_ANSWER: Final = 65_536
_TIMEOUT_S: Final = 300


class CallbackDecider:
    """Asks a function of the application."""

    name = "callback"

    def __init__(self, function: Callable[[ApprovalRequest], bool | None]) -> None:
        """Takes the function; it returns ``True`` to allow, ``False`` to deny, ``None`` to leave it to others."""
        self._function = function

    def ask(self, request: ApprovalRequest) -> bool | None:
        """Calls the function."""
        return self._function(request)


class TerminalDecider:
    """Asks at the terminal of the program; leaves the decision to others where there is none."""

    name = "terminal"

    def ask(self, request: ApprovalRequest) -> bool | None:
        """Prints the request to standard error and reads one line."""
        if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
            return None
        sys.stderr.write(question(request))
        sys.stderr.flush()
        answer = sys.stdin.readline().strip().lower()
        return answer in {"y", "yes"}


class WebhookDecider:
    """Posts the request to a URL, signed; the answer must be signed with the same secret.

    The body is the request as JSON. The header `SIGNATURE_HEADER` is the hexadecimal HMAC-SHA256 of the body. The
    answer is ``{"id": ..., "decision": "allow" | "deny" | "later"}`` with the same header over its own bytes.
    """

    name = "webhook"

    def __init__(self, url: str, secret: bytes, *, timeout_s: float = _TIMEOUT_S) -> None:
        """Takes the address.

        Args:
            url: An ``https`` URL, or ``http`` on the loopback interface.
            secret: Key of both signatures, at least 16 bytes.
            timeout_s: Seconds to wait for the answer.

        Raises:
            ValueError: The URL is not protected, or the secret is short.
        """
        parts = urlsplit(url)
        if not is_protected(parts):
            raise ValueError("the approval webhook needs https")
        if len(secret) < 16:
            raise ValueError("the secret of the approval webhook is shorter than 16 bytes")
        self._parts, self._secret, self._timeout_s = parts, secret, timeout_s

    def ask(self, request: ApprovalRequest) -> bool | None:
        """Posts the request and checks the answer.

        Raises:
            OSError: The address did not answer.
            ValueError: The answer is not signed, or is about another request.
        """
        body = msgspec.json.encode(request)
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout_s)
        try:
            path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
            headers = {"Content-Type": "application/json", SIGNATURE_HEADER: self._sign(body)}
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            given = answer.read(_MAX_ANSWER)
            if answer.status != http.client.OK:
                raise ValueError(f"the approval webhook answered HTTP {answer.status}")
            signature = answer.getheader(SIGNATURE_HEADER, "")
        finally:
            connection.close()
        if not hmac.compare_digest(self._sign(given).encode(), signature.encode("latin-1", "replace")):
            raise ValueError("the answer of the approval webhook is not signed with the shared secret")
        decoded = msgspec.json.decode(given, type=dict[str, str])
        if decoded.get("id") != request.id:
            raise ValueError("the answer of the approval webhook is about another request")
        return {"allow": True, "deny": False}.get(decoded.get("decision", ""))

    def _sign(self, data: bytes) -> str:
        return hmac.new(self._secret, data, hashlib.sha256).hexdigest()


def question(request: ApprovalRequest) -> str:
    """The request as text for a terminal, control characters removed."""
    lines = [
        f"cylestio: the tool {request.tool} waits for approval {request.id}",
        f"  rule       {request.rule}: {request.reason}",
        f"  arguments  {request.arguments}",
        *([f"  agent      {request.agent}"] if request.agent else []),
        *([f"  user       {request.user}"] if request.user else []),
    ]
    return "\n".join(_one_line(line) for line in lines) + "\nAllow this one call? [y/N] "


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in sanitize.clean_text(text, 4096))
