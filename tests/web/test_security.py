"""Only a page of this server, in a session that used the one-time link, can read or change anything."""

from __future__ import annotations

import itertools

import pytest

from cylestio_monitor.web.access.security import HEADERS, MAX_FORM, RequestGuard, session_cookie
from cylestio_monitor.web.access.sessions import LINK_S, SESSION_S, Sessions

HOST = "127.0.0.1:8765"
HOSTS = frozenset({HOST, "localhost:8765", "[::1]:8765"})


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def inner(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def request(guard, path="/", *, method="GET", headers=None, body=b""):
    """Status, headers and body of one request, without a server in between."""
    sent = []
    messages = iter([{"type": "http.request", "body": body}])

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    values = {"host": HOST, **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in values.items() if v is not None],
    }
    coroutine = guard(scope, receive, send)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    return sent[0]["status"], dict(sent[0]["headers"]), scope


@pytest.fixture
def sessions():
    return Sessions(Clock())


@pytest.fixture
def guard(sessions):
    return RequestGuard(inner, sessions=sessions, hosts=HOSTS, cookie="c8765", scheme="http")


@pytest.fixture
def session(sessions):
    return sessions.login(sessions.new_link())


def test_a_link_logs_in_once_and_for_five_minutes(sessions):
    link = sessions.new_link()
    assert sessions.login("x" * 43) is None
    session = sessions.login(link)
    assert sessions.is_open(session)
    assert sessions.login(link) is None
    late = sessions.new_link()
    sessions._clock.now += LINK_S + 1
    assert sessions.login(late) is None
    sessions._clock.now += SESSION_S
    assert not sessions.is_open(session)


def test_wrong_links_close_the_login_until_a_new_link(sessions):
    link = sessions.new_link()
    for _ in range(20):
        assert sessions.login("guess") is None
    assert sessions.login(link) is None
    assert sessions.login(sessions.new_link()) is not None


def test_a_closed_session_is_void(sessions, session):
    sessions.close(session)
    assert not sessions.is_open(session)


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "127.0.0.1:80", "localhost:8765.evil.test", "", None])
def test_another_host_is_not_served(guard, session, host):
    assert request(guard, headers={"host": host, "cookie": f"c8765={session}"})[0] == 421


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_own_hosts_are_served(guard, session, host):
    assert request(guard, headers={"host": host, "cookie": f"c8765={session}"})[0] == 200


@pytest.mark.parametrize("cookie", ["", "c8765=wrong", "c9999={session}", "c8765=", "=;;;", "c8765=\x00"])
@pytest.mark.parametrize("path", ["/", "/findings", "/static/../findings", "/login/x/y", "/live"])
def test_no_page_without_a_session(guard, session, path, cookie):
    assert request(guard, path, headers={"cookie": cookie.format(session=session)})[0] == 401


@pytest.mark.parametrize("path", ["/login", "/login/abcdefghijklmnopqrstuvwxyz", "/static/app.css"])
def test_login_and_style_need_no_session(guard, path):
    assert request(guard, path)[0] == 200


ORIGINS = [f"http://{HOST}", "http://evil.test", "null", None, f"https://{HOST}"]
TOKENS = ["own", "other", "none"]
SITES = ["same-origin", "cross-site", "same-site", "none", None]


@pytest.mark.parametrize(("origin", "site", "token"), list(itertools.product(ORIGINS, SITES, TOKENS)))
def test_a_form_needs_origin_site_and_token(guard, sessions, session, origin, site, token):
    other = sessions.login(sessions.new_link())
    tokens = {"own": sessions.form_token(session), "other": sessions.form_token(other), "none": ""}
    headers = {"cookie": f"c8765={session}", "origin": origin, "sec-fetch-site": site}
    status, _, scope = request(
        guard, "/approvals/x", method="POST", headers=headers, body=f"form_token={tokens[token]}&a=1".encode()
    )
    allowed = origin == f"http://{HOST}" and site in {"same-origin", None} and token == "own"
    assert status == (200 if allowed else 403)
    assert (scope.get("cylestio.form", {}).get("a") == ["1"]) is allowed


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(guard, session, method):
    assert request(guard, method=method, headers={"cookie": f"c8765={session}"})[0] == 405


def test_a_large_form_is_refused(guard, session):
    headers = {"cookie": f"c8765={session}", "origin": f"http://{HOST}"}
    assert request(guard, method="POST", headers=headers, body=b"a" * (MAX_FORM + 1))[0] == 413


@pytest.mark.parametrize("host", [HOST, "evil.test"])
def test_every_answer_carries_the_headers(guard, session, host):
    _, headers, _ = request(guard, headers={"host": host, "cookie": f"c8765={session}"})
    for name, value in HEADERS.items():
        assert headers[name.encode()] == value.encode()


def test_the_cookie_is_strict_and_unreadable_for_scripts():
    assert session_cookie("c1", "v", secure=True) == "c1=v; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure"


def test_browsers_send_the_origin_of_a_form_and_no_referrer_to_other_sites():
    # With `no-referrer` a browser sends the origin of every form as `null`, and the guard would refuse it.
    assert HEADERS["referrer-policy"] in {"same-origin", "strict-origin"}
