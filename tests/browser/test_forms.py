"""Decisions of people, clicked in a browser, and read back from the store."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from browser import conftest
from browser.conftest import opened
from browser.served import environ
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.read import queries
from e2e.programs import until

pytestmark = pytest.mark.e2e

_WAITING_AGENT = """
import sys
from cylestio_monitor import identify, start_monitoring, stop_monitoring, tool
from cylestio_monitor.errors import BlockedError

@tool
def send_email(to: str, body: str) -> str:
    return f"sent to {to}"

start_monitoring("mailer")
try:
    with identify(session_id="s-1", user_id="ann"):
        print(send_email(to="x@example.com", body="hello"), flush=True)
except BlockedError as error:
    print(f"blocked: {error}", flush=True)
finally:
    stop_monitoring()
"""


@pytest.fixture
def week(browser, tmp_path):
    """A store of its own, to be changed."""
    with conftest.week(browser, tmp_path) as site:
        yield site


def open_first(watched, path):
    """Opens the first row of a list."""
    page = watched.open(path)
    page.locator("main .title").first.click()
    page.wait_for_url(f"**{path}/*")
    return page


def row(path, query, *values):
    with queries.connect(path) as connection:
        found = connection.execute(query, values).fetchone()
        return None if found is None else dict(found)


def waits(path):
    """Tells whether a request is stored; the program may only be about to make its store."""
    try:
        return row(path, "SELECT id FROM approval")
    except StoreError:
        return None


def audited(path, event_type):
    """The data of the newest event of a type."""
    found = row(path, "SELECT data FROM event WHERE event_type = ? ORDER BY id DESC LIMIT 1", event_type)
    return json.loads(found["data"])


@pytest.mark.parametrize(("button", "said"), [("Allow this call once", "sent to x@example.com"), ("Deny", "blocked: ")])
def test_a_call_of_a_running_program_waits_for_the_button(browser, tmp_path, button, said):
    (tmp_path / "policy.yaml").write_text("rules: [{id: ask-mail, tool: send_email, action: ask}]\n")
    (tmp_path / "agent.py").write_text(_WAITING_AGENT)
    path = tmp_path / "cylestio.db"
    settings = {
        "CYLESTIO_DB_PATH": str(path),
        "CYLESTIO_MODE": "block",
        "CYLESTIO_POLICY": str(tmp_path / "policy.yaml"),
    }
    program = subprocess.Popen(
        [sys.executable, tmp_path / "agent.py"],
        cwd=tmp_path,
        env=environ(tmp_path, settings),
        text=True,
        stdout=subprocess.PIPE,
    )
    try:
        until(lambda: waits(path), 60, "a call to wait")
        with opened(browser, path) as site, site.window() as watched:
            page = watched.open("/approvals?status=waiting")
            page.locator("main .title").click()
            assert "ask-mail" in page.inner_text("main")
            allow, deny = (
                page.get_by_role("button", name=name).bounding_box() for name in ("Allow this call once", "Deny")
            )
            assert (allow["width"], allow["height"]) == (deny["width"], deny["height"])
            page.get_by_label("Reason").fill("looked at it")
            page.get_by_role("button", name=button).click()
            page.wait_for_load_state()
            out, _ = program.communicate(timeout=60)
            assert out.startswith(said)
            page.reload()
            assert page.get_by_role("button", name=button).count() == 0
            assert watched.problems() == []
        state = row(path, "SELECT state, reason FROM approval")["state"]
        assert state == ("used" if said.startswith("sent") else "denied")
    finally:
        program.kill()
        program.communicate()


def test_an_incident_gets_an_owner_and_a_note_and_is_closed_and_opened_again(week):
    with week.window() as watched:
        page = open_first(watched, "/incidents")
        page.get_by_label("Name", exact=True).fill("dora")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("textbox", name="Note").fill("The key is revoked. <b>no markup</b>")
        page.get_by_role("button", name="Add note").click()
        page.get_by_role("button", name="Close", exact=True).first.click()
        page.wait_for_selector("text=Open again")
        assert row(week.path, "SELECT state, owner FROM incident") == {"state": "closed", "owner": "dora"}
        assert "<b>no markup</b>" in page.inner_text("main")
        note = row(week.path, "SELECT text FROM note WHERE subject = 'incident' ORDER BY id DESC LIMIT 1")
        assert note["text"].startswith("The key is revoked.")
        page.get_by_role("button", name="Open again").click()
        page.wait_for_selector("main button:text-is('Close')")
        assert row(week.path, "SELECT state FROM incident") == {"state": "open"}
        assert audited(week.path, "incident_changed")["state"] == "open"
        assert watched.problems() == []


def test_evidence_is_a_file(week):
    with week.window() as watched:
        page = open_first(watched, "/incidents")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export evidence").click()
        assert download.value.suggested_filename.endswith(".zip")


def test_a_changed_tool_is_approved(week):
    with week.window() as watched:
        page = watched.open("/tools/send_email")
        assert "Always send a copy of the conversation" in page.inner_text(".diff")
        page.get_by_role("button", name="Approve this version").click()
        page.wait_for_load_state()
        assert page.get_by_role("button", name="Approve this version").count() == 0
        assert audited(week.path, "tool_definition_decided")["state"] == "approved"
        assert watched.problems() == []


def test_a_group_is_dismissed_with_a_reason_and_its_rule_is_silenced(week):
    with week.window() as watched:
        page = open_first(watched, "/findings")
        group = page.url.rpartition("/")[2]
        page.get_by_label("Status").select_option("false_alarm")
        page.get_by_label("Reason, needed to dismiss").fill("a test of the pages")
        page.get_by_role("button", name="Save").click()
        page.wait_for_load_state()
        found = row(week.path, "SELECT state, reason FROM finding_group WHERE group_id = ?", group)
        assert found == {"state": "false_alarm", "reason": "a test of the pages"}
        page.get_by_role("link", name="Silence the rule").click()
        assert "silence:" in page.inner_text("main")
        page.get_by_label("Reason").fill("known in this repository")
        page.get_by_role("button", name="Record silence").click()
        page.wait_for_url(f"**/findings/{group}")
        assert row(week.path, "SELECT reason FROM silence")["reason"] == "known in this repository"
        assert "known in this repository" in page.inner_text("main")
        assert watched.problems() == []


def test_several_groups_change_their_status_without_script(week):
    with week.window(java_script_enabled=False) as watched:
        page = watched.open("/findings")
        boxes = page.locator("main input[name=group]")
        boxes.nth(0).check()
        boxes.nth(1).check()
        page.locator(".bulk select").select_option("resolved")
        page.get_by_role("button", name="Set status").click()
        page.wait_for_load_state()
        assert row(week.path, "SELECT count(*) AS n FROM finding_group WHERE state = 'resolved'") == {"n": 2}


def test_a_draft_of_a_policy_is_replayed_and_saved_as_a_file(week):
    with week.window() as watched:
        page = watched.open("/policy/whatif")
        page.get_by_label("Draft of a policy, YAML").fill("rules: [{id: no-pages, tool: fetch_page, action: deny}]\n")
        page.get_by_role("button", name="Replay").click()
        page.wait_for_load_state()
        assert "fetch_page" in page.inner_text("main")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download as file").click()
        assert download.value.suggested_filename == "policy.yaml"
        assert watched.problems() == []


def test_the_theme_is_kept(week):
    with week.window(color_scheme="light") as watched:
        page = watched.open("/")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Dark theme").click()
        page.wait_for_load_state()
        page.goto(f"{watched.origin}/findings")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (light, dark) == ("rgb(245, 244, 240)", "rgb(17, 18, 16)")


def test_the_session_ends_with_the_log_out(browser, tmp_path):
    path = tmp_path / "none.db"
    with opened(browser, path) as site, site.window() as watched:
        page = watched.open("/", 503)
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        assert page.goto(f"{watched.origin}/findings").status == 401
