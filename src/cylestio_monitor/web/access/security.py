"""The guard in front of every page: host, session, origin, form token, and the headers of every answer."""

from __future__ import annotations

import re
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from cylestio_monitor.web.access.sessions import Sessions

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_FORM: Final = 65_536
"""Bytes of a form."""

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # Not `no-referrer`: browsers would then send the origin of a form as `null`, which is how other pages send it.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "x-frame-options": "DENY",
}
"""Headers of every answer, errors included."""

_PUBLIC: Final = re.compile(r"/login(?:/[\w-]{20,100})?|/static/[\w.-]+")
_SAFE: Final = frozenset({"GET", "HEAD"})


class RequestGuard:
    """ASGI middleware that lets a request through only from a page of this server, in an open session."""

    def __init__(self, app: App, *, sessions: Sessions, hosts: frozenset[str], cookie: str, scheme: str) -> None:
        """Takes what a request must match.

        Args:
            app: The application behind it.
            sessions: The open sessions.
            hosts: Allowed values of the header ``Host``, such as ``127.0.0.1:8765``.
            cookie: Name of the session cookie; the port is part of it, because cookies do not know ports.
            scheme: ``http`` or ``https``, of this server's own origins.
        """
        self._app = app
        self._sessions = sessions
        self._hosts = hosts
        self._cookie = cookie
        self._origins = frozenset(f"{scheme}://{host}" for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that is not allowed; passes the others on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        send = _with_headers(send)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or headers["host"].lower() not in self._hosts:
            await _answer(send, 421, "This address is not served here.")
            return
        session = self._session(headers.get("cookie", ""))
        scope["cylestio.session"] = session
        if session is None and not _PUBLIC.fullmatch(scope["path"]):
            await _answer(send, 401, "Open the link that `cylestio ui` printed. A new one: restart it.")
            return
        if scope["method"] in _SAFE:
            await self._app(scope, receive, send)
            return
        if scope["method"] != "POST":
            await _answer(send, 405, "Not allowed.")
            return
        if not self._is_own(headers):
            await _answer(send, 403, "The request comes from another page.")
            return
        body = await _body(receive)
        if body is None:
            await _answer(send, 413, "The form is too large.")
            return
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200)
        if session is None or not self._sessions.is_form_token(session, form.get("form_token", [""])[0]):
            await _answer(send, 403, "The form has expired. Load the page again.")
            return
        scope["cylestio.form"] = form
        await self._app(scope, receive, send)

    def _session(self, cookies: str) -> str | None:
        try:
            found = SimpleCookie(cookies).get(self._cookie)
        except CookieError:
            return None
        return found.value if found is not None and self._sessions.is_open(found.value) else None

    def _is_own(self, headers: dict[str, str]) -> bool:
        site = headers.get("sec-fetch-site", "same-origin")  # browsers before 2023 do not send it, all send the origin
        return headers.get("origin", "") in self._origins and site == "same-origin"


def session_cookie(name: str, session: str, *, secure: bool) -> str:
    """The value of ``Set-Cookie`` for a new session."""
    attributes = "; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200" + ("; Secure" if secure else "")
    return f"{name}={session}{attributes}"


async def _body(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += bytes(message.get("body", b""))
        if len(body) > MAX_FORM:
            return None
        if not message.get("more_body"):
            return body


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", ())}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in given]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
