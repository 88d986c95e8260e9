"""The pages of approvals: a call that really waits is decided in the browser, once."""

from __future__ import annotations

import re
import threading
import time

import pytest

from cylestio_monitor import identify, tool
from cylestio_monitor.config import StoreSettings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.govern.approvals import ApprovalRequest
from cylestio_monitor.store.control.approvals import StoredApprovals
from web.conftest import browsing
from web.recording import HOSTILE, read_page, recording

POLICY = "rules: [{id: ask-mail, tool: send_email, action: ask}]\n"


@tool
def send_email(to, body=""):
    return f"sent to {to}"


@pytest.fixture
def waiting(tmp_path, cache):
    """Starts a call that waits for a person; gives the path of its store, and what came of it."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    path = tmp_path / "store.db"
    outcome = []

    def call():
        with identify(session_id="s-1", user_id="ann"):
            try:
                outcome.append(send_email("x@example.com"))
            except BlockedError as error:
                outcome.append(error)

    settings = {"mode": "block", "policy": str(policy), "approvals": {"timeout_s": 60}}
    with recording(path, cache, agent_id="mailer", **settings):
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        yield path, outcome, thread
        thread.join(30)
        assert not thread.is_alive()


def wait_for_request(browser):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        answer = browser.get("/approvals?status=waiting")
        found = re.search(r'href="(/approvals/[^"?]+)"', answer.text.partition("<main")[2])
        if answer.status_code == 200 and found:
            return found[1]
        time.sleep(0.05)
    raise AssertionError("no call waits")


def hidden_fields(text):
    return dict(re.findall(r'<input type="hidden" name="(digest|policy_version)" value="([^"]*)"', text))


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_a_waiting_call_is_decided_once(waiting, decision):
    path, outcome, thread = waiting
    with browsing(path) as browser:
        address = wait_for_request(browser)
        page = read_page(browser, address)
        assert "x@example.com" in page.text or "[pii:" in page.text
        assert "ask-mail" in page.text
        fields = hidden_fields(browser.text(address))
        answer = browser.post(address, decision=decision, reason="looked at", **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, address)
        thread.join(30)
        assert (str(outcome[0]) == "sent to x@example.com") == (decision == "allow")
        assert isinstance(outcome[0], BlockedError) == (decision == "deny")
        again = browser.post(address, decision="allow", **fields)
        assert again.status_code == 409
        assert "does not wait any more" in again.text
        assert '<form class="stack decide"' not in browser.text(address)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "0" * 64},
        {"digest": ""},
        {"policy_version": "other"},
        {"decision": "maybe"},
        {"form_token": "wrong"},
        {"origin": "http://evil.test"},
    ],
)
def test_a_form_that_is_not_of_this_page_decides_nothing(waiting, change):
    path, outcome, _ = waiting
    with browsing(path) as browser:
        address = wait_for_request(browser)
        good = {"decision": "allow", "form_token": browser.form_token, **hidden_fields(browser.text(address))}
        origin = change.get("origin", "http://127.0.0.1:8765")
        data = {**good, **{name: value for name, value in change.items() if name != "origin"}}
        answer = browser.client.post(address, data=data, headers={"origin": origin})
        assert answer.status_code in {400, 403, 409}
        assert not outcome
        assert browser.post(address, **{**good, "decision": "deny"}).status_code == 303


def request(**changes):
    now = time.time_ns()
    values = {
        "id": "k3m9qz7w2h5t",
        "tool": f"mail/{HOSTILE}",
        "arguments": '{"to": "x", "list": [1, {"deep": "y"}]}',
        "digest": "d" * 64,
        "rule": HOSTILE,
        "reason": HOSTILE,
        "agent": HOSTILE,
        "user": HOSTILE,
        "session": HOSTILE,
        "trace": "",
        "span": "",
        "policy_version": HOSTILE,
        "created_ns": now,
        "expires_ns": now + 60_000_000_000,
    }
    return ApprovalRequest(**{**values, **changes})


@pytest.mark.parametrize(
    "arguments", ['{"to": "x"}', "not json", "[" * 50, f'{{"a": "{"z" * 100000}"}}', '"<b>"', "null"]
)
def test_hostile_requests_are_text(bench, browser, arguments):
    StoredApprovals(bench.path, StoreSettings()).open(request(arguments=arguments))
    read_page(browser, "/approvals")
    page = read_page(browser, "/approvals/k3m9qz7w2h5t")
    assert "<script>alert(1)</script>" in page.text


def test_a_request_whose_time_is_over_cannot_be_allowed(bench, browser):
    StoredApprovals(bench.path, StoreSettings()).open(request(expires_ns=time.time_ns() - 1))
    text = browser.text("/approvals/k3m9qz7w2h5t")
    assert "Its time is over" in text
    answer = browser.post("/approvals/k3m9qz7w2h5t", decision="allow", digest="d" * 64, policy_version=HOSTILE)
    assert answer.status_code == 409


@pytest.mark.parametrize("name", ["x", "%00", "..%2f", "'", "a" * 5000])
def test_an_unknown_request_is_no_page(browser, name):
    assert browser.get(f"/approvals/{name}").status_code == 404


def test_without_requests_the_page_says_how_one_comes(browser):
    assert "action ask" in read_page(browser, "/approvals").text
    assert browser.get("/approvals?status=lost").status_code == 400
