"""The frame of all pages: login, errors, themes, files, and what no request may do."""

from __future__ import annotations

import re
import sqlite3

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.store.sqlite import schema
from cylestio_monitor.web import app, navigation, view
from cylestio_monitor.web.access.security import HEADERS
from web.conftest import ORIGIN, Browser, browsing

PATHS = sorted(route.path for page in app.PAGES for route in page.ROUTES if "GET" in route.methods)
LISTS = [path for path in PATHS if "{" not in path and path != "/live"]


def test_a_link_logs_in_once(bench):
    browser = Browser(bench.path)
    assert browser.get("/").status_code == 401
    link = f"/login/{browser.sessions.new_link()}"
    assert "set-cookie" not in browser.client.head(link).headers  # what only looks at the address does not use it up
    answer = browser.get(link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert browser.get("/").status_code == 200
    assert browser.get(link).status_code == 401
    other = Browser(bench.path)
    assert other.get(link).status_code == 401


@pytest.mark.parametrize("form", ["{token}", "  {token} ", "http://127.0.0.1:8765/login/{token}"])
def test_a_link_can_be_pasted(bench, form):
    browser = Browser(bench.path)
    assert 'name="token"' in browser.get("/login").text
    token = browser.sessions.new_link()
    answer = browser.client.get("/login", params={"token": form.format(token=token)})
    assert answer.status_code == 303
    assert browser.get("/").status_code == 200


def test_no_cookie_of_another_server_logs_in(bench):
    one, other = Browser(bench.path), Browser(bench.path)
    one.login()
    other.client.cookies.set("cylestio", one.client.cookies["cylestio"])
    assert other.get("/").status_code == 401


def test_logging_out_ends_the_session(browser):
    cookie = browser.client.cookies["cylestio"]
    assert browser.post("/logout").status_code == 303
    browser.client.cookies.set("cylestio", cookie)
    assert browser.get("/").status_code == 401


@pytest.mark.parametrize("path", [*LISTS, "/login", "/nowhere", "/static/style.css", "/static/nothing.css"])
def test_every_answer_has_the_headers(browser, path):
    answer = browser.get(path)
    for name, value in HEADERS.items():
        if name != "cache-control" or not path.startswith("/static/style"):
            assert answer.headers[name] == value
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "data:" not in policy


@pytest.mark.parametrize("path", LISTS)
def test_a_page_is_not_shown_to_another_host(browser, path):
    assert browser.get(path, host="evil.test").status_code == 421


@pytest.mark.parametrize("path", ["/theme", "/logout"])
@pytest.mark.parametrize("origin", ["http://evil.test", "null", None])
def test_a_form_of_another_page_is_refused(browser, path, origin):
    headers = {} if origin is None else {"origin": origin}
    answer = browser.client.post(path, data={"form_token": browser.form_token}, headers=headers)
    assert answer.status_code == 403
    assert browser.get("/").status_code == 200


def test_a_form_without_its_token_is_refused(browser):
    answer = browser.client.post("/theme", data={"theme": "dark"}, headers={"origin": ORIGIN})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", LISTS)
def test_no_store_is_said_with_the_commands_that_make_one(tmp_path, path):
    with browsing(tmp_path / "none.db") as browser:
        answer = browser.get(path)
    assert answer.status_code == 503
    assert "There is no store yet" in answer.text
    assert "cylestio demo" in answer.text
    assert not (tmp_path / "none.db").exists()


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()


def newer(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value)")
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.commit()
    connection.close()


def older(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value)")
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()


def garbage(path):
    path.write_bytes(b"not a database" * 1000)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("make", [foreign, newer, older, garbage])
def test_a_store_that_cannot_be_read_is_said(tmp_path, make, path):
    make(tmp_path / "store.db")
    before = (tmp_path / "store.db").read_bytes()
    with browsing(tmp_path / "store.db") as browser:
        answer = browser.get(path)
    assert answer.status_code == 503
    assert "Traceback" not in answer.text
    assert (tmp_path / "store.db").read_bytes() == before


def test_a_failing_page_gives_a_reference_and_no_trace_back(browser, monkeypatch, caplog):
    def fails(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(view, "reading", fails)
    answer = browser.get("/runs")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    (reference,) = re.findall(r"under ([0-9a-f]{8})\.", answer.text)
    assert reference in caplog.text


def test_a_query_that_takes_long_is_interrupted(browser, monkeypatch):
    monkeypatch.setattr(view, "QUERY_S", 0.05)
    monkeypatch.setattr(
        "cylestio_monitor.store.read.lists.runs",
        lambda connection, **_: connection.execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
        ).fetchall(),
    )
    answer = browser.get("/runs")
    assert answer.status_code == 503
    assert "took longer" in answer.text


@pytest.mark.parametrize(
    "query", ["severity=worst", "since=yesterday", "at=!!!", "status=odd", "agent=" + "a" * 400, "until=99999999w"]
)
def test_a_filter_that_cannot_be_understood_is_named(browser, query):
    answer = browser.get(f"/runs?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.text or "list" in answer.text


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_theme_is_kept(browser, theme):
    answer = browser.post("/theme", theme=theme, here="/runs?agent=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?agent=a")
    assert f'<html lang="en" data-theme="{theme}">' in browser.text("/runs")


@pytest.mark.parametrize("here", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:1", "/a\nb", ""])
def test_an_answer_leads_to_no_other_server(browser, here):
    answer = browser.post("/theme", theme="dark", here=here)
    assert answer.headers["location"] == "/"


def test_the_navigation_names_the_pages_that_exist(browser):
    text = browser.text("/")
    links = re.findall(r'<a href="([^"]+)" data-key', text)
    assert set(links) == {item.path for item in navigation.ITEMS}
    assert set(links) <= set(PATHS)
    assert text.count('aria-current="page"') >= 2
    for path in set(links):
        assert browser.get(path).status_code == 200


@pytest.mark.parametrize("path", LISTS)
def test_a_page_has_landmarks_a_skip_link_and_one_heading(browser, path):
    text = browser.text(path)
    assert '<a class="skip" href="#main">' in text
    assert text.count("<h1") == 1
    assert '<main id="main"' in text
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert "<style" not in text
    assert not re.search(r'(?:src|href)="(?!/|#)', text)


HOSTILE = '"><script>alert(1)</script>\u202e\u200b\x1b[2J{{7*7777}}'


def test_hostile_names_are_shown_as_text(bench, browser):
    labels = {
        semconv.CYLESTIO_AGENT_ID: HOSTILE,
        semconv.CYLESTIO_SESSION_ID: HOSTILE,
        semconv.ENDUSER_ID: HOSTILE,
    }
    bench.span(HOSTILE, attributes={semconv.OPERATION_NAME: "invoke_agent", **labels})
    bench.flush()
    text = browser.text("/runs")
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert not {"\u202e", "\u200b", "\x1b"} & set(text)
    assert "54439" not in text


def test_the_files_are_small():
    sizes = {name: len(content) for name, content in app.render.static_files().items()}
    assert sizes["script.js"] <= 12 * 1024
