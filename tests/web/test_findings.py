"""Findings as groups: the list, one group, and the decisions about it, which the audit trail keeps."""

from __future__ import annotations

import json
import re

import pytest

from cylestio_monitor.model import Finding
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite.records import CallFactsRow, ValueOrigin


def finding(rule="injection.ignore-instructions", severity="high", match="5bc4", path="result", start=0, **fields):
    alert = "dangerous" if severity in {"high", "critical"} else "suspicious"
    values = {"target": "input", "subtype": "tool_result", **fields}
    return Finding(
        rule,
        "prompt_injection",
        severity,
        alert,
        values["target"],
        values["subtype"],
        path,
        start,
        start + 9,
        ("LLM01:2025",),
        ("AML.T0051.001",),
        match,
    )


def rows(bench, query, *values):
    with queries.connect(bench.path) as connection:
        return [dict(row) for row in connection.execute(query, values)]


@pytest.fixture
def group(bench):
    """A text of git_log that two runs saw, that was sent on, and whose words one run put into run_sql."""
    both = [finding(), finding("injection.addressed-to-model", "medium", "77aa", start=4)]
    for run in (1, 2):
        bench.store.add_findings(run, 1, both, tool="git_log", agent_id=f"agent {run}", operation="execute_tool")
        bench.store.add_findings(run, 2, both, agent_id=f"agent {run}", operation="chat", action="audit")
    place = {"trace_id": f"{1:032x}", "span_id": f"{2:016x}"}
    bench.store.add_record(CallFactsRow(**place, time_ns=1, tool="run_sql", facts="{}"))
    bench.store.add_record(
        ValueOrigin(**place, argument="statement", kind="phrase", shape="prose", origin="tool:git_log", value_hash="v")
    )
    bench.flush()
    (row,) = rows(bench, "SELECT group_id FROM finding_group")
    return row["group_id"]


def test_the_list_has_one_row_for_a_text(browser, group):
    text = browser.text("/findings")
    assert text.count('name="group"') == 1
    assert f'href="/findings/{group}"' in text
    assert "in a git_log result" in text


def test_a_group_says_what_entered_was_carried_and_acted(browser, group):
    text = re.sub(r"<[^>]+>", " ", browser.text(f"/findings/{group}"))
    text = " ".join(text.split())
    assert "first said by git_log" in text
    assert "1 of 2" in text
    assert "run_sql called with words of it" in text
    assert "no call with words of it" in text
    assert "2 rules match the text" in text
    assert "sent on 1 time" in text
    assert "LLM01:2025, AML.T0051.001" in text


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 1),
        ("?status=all", 1),
        ("?status=resolved", 0),
        ("?agent=agent+2", 1),
        ("?agent=nobody", 0),
        ("?severity=critical", 0),
        ("?severity=medium", 1),
        ("?since=1h", 1),
        ("?tool=git_log", 1),
        ("?tool=git", 0),
        ("?rule=injection.ignore-instructions", 1),
        ("?category=secret", 0),
    ],
)
def test_filters_of_the_list(browser, group, query, count):
    text = browser.text(f"/findings{query}")
    assert text.count('name="group"') == count
    if not count:
        assert "No group of findings matches" in text


def test_the_state_is_changed_with_a_reason_and_audited(browser, bench, group):
    assert browser.post(f"/findings/{group}/state", state="in_review").headers["location"] == f"/findings/{group}"
    assert browser.post(f"/findings/{group}/state", state="false_alarm").status_code == 400
    answer = browser.post(f"/findings/{group}/state", state="false_alarm", reason="ours", until="2999-01-31")
    assert answer.status_code == 400  # beyond what a time can be
    answer = browser.post(f"/findings/{group}/state", state="false_alarm", reason="ours", until="2099-01-31")
    assert answer.status_code == 303
    (row,) = rows(bench, "SELECT state, reason, until_ns, changed_by FROM finding_group")
    assert (row["state"], row["reason"]) == ("false_alarm", "ours")
    assert row["until_ns"] == 4073587200 * 10**9
    assert row["changed_by"]
    events = rows(bench, "SELECT data FROM event WHERE event_type = 'finding_group_changed' ORDER BY id")
    assert [json.loads(event["data"])["state"] for event in events] == ["in_review", "false_alarm"]
    assert 'name="group"' not in browser.text("/findings")
    assert "False alarm" in browser.text(f"/findings/{group}")


def test_a_dismissal_that_has_ended_is_open_again(browser, bench, group):
    browser.post(f"/findings/{group}/state", state="accepted_risk", reason="for now", until="2099-01-31")
    from cylestio_monitor.store.sqlite import database

    with database.writable(bench.path, bench.store.settings) as connection:
        connection.execute("UPDATE finding_group SET until_ns = 1")
    assert browser.text("/findings").count('name="group"') == 1


@pytest.mark.parametrize("fields", [{"state": "gone"}, {}, {"state": "test_data", "reason": " "}])
def test_a_state_that_does_not_exist_is_refused(browser, bench, group, fields):
    assert browser.post(f"/findings/{group}/state", **fields).status_code == 400
    assert rows(bench, "SELECT state FROM finding_group") == [{"state": "open"}]


@pytest.mark.parametrize("until", ["tomorrow", "2020-01-01", "31.12.2099"])
def test_an_end_that_is_no_coming_day_is_refused(browser, group, until):
    answer = browser.post(f"/findings/{group}/state", state="test_data", reason="r", until=until)
    assert answer.status_code == 400


def test_several_groups_at_once(browser, bench, group):
    bench.store.add_findings(3, 1, [finding("secret.aws-access-key-id", match="99")], tool="git_show")
    bench.flush()
    ids = [row["group_id"] for row in rows(bench, "SELECT group_id FROM finding_group")]
    answer = browser.post("/findings", group=ids, state="resolved", here="/findings?status=all")
    assert answer.headers["location"] == "/findings?status=all"
    assert {row["state"] for row in rows(bench, "SELECT state FROM finding_group")} == {"resolved"}
    assert browser.post("/findings", state="resolved").status_code == 400


def test_a_note_and_a_silence(browser, bench, group):
    assert browser.post(f"/findings/{group}/note", text="looked at <it>").status_code == 303
    assert "looked at &lt;it&gt;" in browser.text(f"/findings/{group}")
    entry = browser.text(f"/findings/{group}/silence")
    assert "- rule: injection.ignore-instructions" in entry
    assert "match_hash: 5bc4" in entry
    assert rows(bench, "SELECT * FROM silence") == []
    assert browser.post(f"/findings/{group}/silence", reason="known").status_code == 303
    (row,) = rows(bench, "SELECT rule_id, group_id, reason FROM silence")
    assert row == {"rule_id": "injection.ignore-instructions", "group_id": group, "reason": "known"}
    assert browser.post(f"/findings/{group}/note", text=" ").status_code == 400
    assert browser.post(f"/findings/{group}/silence", reason="").status_code == 400


@pytest.mark.parametrize(
    "path", ["/findings/none", "/findings/..%2F..%2Fetc", "/findings/%00", "/findings/" + "a" * 99]
)
def test_a_group_that_does_not_exist(browser, group, path):
    assert browser.get(path).status_code == 404
    for name in ("state", "note", "silence"):
        fields = {"state": "resolved", "text": "t", "reason": "r"}
        assert browser.post(f"{path}/{name}", **fields).status_code == 404


def test_overview_names_the_group_first(browser, group):
    text = browser.text("/")
    assert f'<a href="/findings/{group}">' in text
    assert "a tool call used words of this source in 1" in text
    assert "1 open group of findings" in text
