"""The pages of the policy: rules with their decisions, and the replay of a draft over real calls."""

from __future__ import annotations

import re

import pytest

from cylestio_monitor import identify, tool
from cylestio_monitor.errors import BlockedError
from web.conftest import browsing
from web.recording import HOSTILE, read_page, recording

POLICY = """
rules:
  - id: no-refund
    tool: refund
    arguments: {amount: {min: 5}}
    action: deny
    reason: Too much.
  - {id: never, tool: delete_all, action: deny}
"""


@tool
def refund(amount):
    return "done"


@tool
def send_email(to):
    return "sent"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store that calls under a policy have filled, and the file of the policy."""
    folder = tmp_path_factory.mktemp("policy")
    (folder / "policy.yaml").write_text(POLICY)
    settings = {"agent_id": "support", "mode": "block", "policy": str(folder / "policy.yaml")}
    with recording(folder / "store.db", folder / "cache", **settings), identify(session_id="s-1"):
        for number in range(8):
            send_email(f"u{number}@example.com")
            try:
                refund(amount=number)
            except BlockedError:
                assert number >= 5
    return folder


@pytest.fixture
def pages(place):
    with browsing(place / "store.db", policy=str(place / "policy.yaml"), mode="block") as browser:
        yield browser


def tiles(text):
    return dict(re.findall(r"<dt>([^<]+)</dt><dd>([\d,]+)", text))


def test_the_rules_stand_with_their_lines_and_decisions(pages):
    page = read_page(pages, "/policy")
    assert "policy.yaml" in page.text
    assert "line 3" in page.text
    assert "arguments: {amount: {min: 5.0}}" in page.text
    assert page.text.count("Too much.") >= 4
    assert "never" in page.text
    assert "/policy?rule=no-refund" in page.links
    filtered = read_page(pages, "/policy?rule=no-refund&action=deny")
    assert sum("/span/" in link for link in filtered.links) == 3
    assert "No decision is stored that these filters match" in read_page(pages, "/policy?action=ask").text


def test_the_form_begins_with_the_policy_in_force(pages):
    text = pages.text("/policy/whatif")
    assert "id: no-refund" in text
    assert "id: no-refund" not in text.partition("<textarea")[0]


def test_a_draft_is_replayed_over_the_stored_calls(pages):
    draft = "rules:\n  - {id: mail, tool: send_email, action: ask}\n  - {id: other, tool: nothing, action: deny}\n"
    answer = pages.post("/policy/whatif", draft=draft, days="7", agent="", do="try")
    assert answer.status_code == 200
    found = tiles(answer.text)
    assert found == {"Calls replayed": "16", "Would be denied": "0", "Would ask a person": "8", "Unchanged": "5"}
    changes = re.findall(r'<tr data-row><td><code>([^<]+)</code>.*?">(\w+)</span>.*?">(\w+)</span>', answer.text)
    assert changes == [("send_email", "allow", "ask"), ("refund", "deny", "allow")]
    assert "Rules that decided no call: <code>other</code>" in answer.text


def test_the_same_policy_changes_nothing(pages):
    answer = pages.post("/policy/whatif", draft=POLICY, days="30", do="try")
    assert tiles(answer.text)["Unchanged"] == "16"
    assert "No stored call would have been decided otherwise" in answer.text
    nobody = pages.post("/policy/whatif", draft=POLICY, days="30", agent="nobody", do="try")
    assert "No facts of tool calls are stored" in nobody.text


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        ("rules: [{id: a, tol: x, action: deny}]", "did you mean `tool`"),
        ("rules: [", "draft"),
        ("- a", "draft"),
        ("rules: [{id: a, action: " + HOSTILE.replace("{", "").replace("}", "") + "}]", "draft"),
        ("a: &a [x]\nb: [*a, *a]", "draft"),
        ("\0", "draft"),
        ("[" * 5000, "draft"),
    ],
)
def test_a_wrong_draft_is_named_with_its_line(pages, draft, message):
    answer = pages.post("/policy/whatif", draft=draft, do="try")
    assert answer.status_code == 400
    assert message in answer.text
    assert "<script>alert" not in answer.text


def test_a_long_draft_is_refused(pages):
    assert pages.post("/policy/whatif", draft="#" * 60_000, do="try").status_code == 413


def test_the_draft_is_given_as_a_file_and_nothing_is_applied(pages, place):
    answer = pages.post("/policy/whatif", draft="rules: []\r\n", do="download")
    assert answer.headers["content-disposition"] == 'attachment; filename="policy.yaml"'
    assert answer.text == "rules: []\n"
    assert (place / "policy.yaml").read_text() == POLICY


def test_a_policy_is_learned_from_the_calls(pages):
    text = pages.text("/policy/whatif?learn=7d")
    assert "allow-1-support.refund" in text
    draft = text.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0].replace("&#34;", '"')
    assert pages.post("/policy/whatif", draft=draft, do="try").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"origin": "http://evil.test"}])
def test_a_draft_of_another_page_is_not_read(pages, headers):
    data = {"form_token": pages.form_token, "draft": POLICY}
    assert pages.client.post("/policy/whatif", data=data, headers=headers).status_code == 403


def test_without_a_policy_the_page_says_how_to_begin(browser):
    assert "cylestio policy learn" in read_page(browser, "/policy").text
    assert "no-drop" in browser.text("/policy/whatif")


def test_a_policy_that_cannot_be_used_is_said(tmp_path, bench):
    (tmp_path / "policy.yaml").write_text("rules: [{id: a, tol: x, action: deny}]")
    with browsing(bench.path, policy=str(tmp_path / "policy.yaml")) as pages:
        assert "did you mean `tool`" in read_page(pages, "/policy").text
    with browsing(bench.path, policy=str(tmp_path / "missing.yaml")) as pages:
        read_page(pages, "/policy")
        read_page(pages, "/policy/whatif")
