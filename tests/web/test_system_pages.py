"""Incidents, delivery and cost, the audit trail and the settings."""

from __future__ import annotations

import io
import json
import re
import zipfile

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.incidents import bundle
from cylestio_monitor.store.sqlite import database
from web.conftest import browsing
from web.test_findings import finding, rows


def plain(text):
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


@pytest.fixture
def flagged(bench):
    labels = {semconv.CYLESTIO_AGENT_ID: "release", semconv.CYLESTIO_SESSION_ID: "s1"}
    used = {semconv.USAGE_INPUT_TOKENS: 1200, semconv.USAGE_OUTPUT_TOKENS: 34, semconv.USAGE_COST: 0.25}
    with bench.tracer.start_as_current_span("write notes", attributes=labels) as root:
        bench.span(
            "chat m1", attributes={semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "m1", **labels, **used}
        )
        place = root.get_span_context()
        bench.store.add_findings(place.trace_id, place.span_id, [finding()], tool="git_log", agent_id="release")
    bench.flush()
    return f"{place.trace_id:032x}"


@pytest.mark.parametrize("kind", ["group", "trace", "finding", "session"])
def test_an_incident_from_open_to_closed(browser, bench, flagged, kind):
    (group,) = rows(bench, "SELECT group_id FROM finding_group")
    ref = {"group": group["group_id"], "trace": flagged[:8], "finding": "1", "session": "s1"}[kind]
    answer = browser.post("/incidents", kind=kind, ref=ref)
    assert answer.status_code == 303
    address = answer.headers["location"]
    text = plain(browser.text(address))
    assert "owner nobody" in text
    assert "injection.ignore-instructions" in text
    assert browser.post(f"{address}/change", owner="ann").status_code == 303
    assert browser.post(f"{address}/note", text="key <revoked>").status_code == 303
    assert browser.post(f"{address}/change", state="closed").status_code == 303
    text = plain(browser.text(address))
    assert "owner ann" in text
    assert "key &lt;revoked&gt;" in text
    assert "Open again" in text
    assert address not in browser.text("/incidents")
    assert address in browser.text("/incidents?status=closed")
    decisions = plain(browser.text("/audit"))
    for event in ("incident opened", "incident changed", "note added"):
        assert event in decisions


def test_the_evidence_of_an_incident_can_be_verified(browser, flagged, tmp_path):
    address = browser.post("/incidents", kind="trace", ref=flagged).headers["location"]
    answer = browser.post(f"{address}/export")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment; ")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    (folder,) = tmp_path.glob("incident-*")
    report = bundle.verify(folder, answer.headers["x-cylestio-public-key"])
    assert not report.problems
    assert report.trail.sound


@pytest.mark.parametrize(
    "fields", [{"kind": "trace", "ref": "ffff"}, {"kind": "all", "ref": "1"}, {"kind": "group"}, {}, {"ref": "' OR 1"}]
)
def test_no_incident_about_nothing(browser, bench, flagged, fields):
    assert browser.post("/incidents", **fields).status_code in {400, 404}
    assert rows(bench, "SELECT * FROM incident") == []


@pytest.mark.parametrize("name", ["none", "abc", "%27", "a" * 40])
def test_an_incident_that_does_not_exist(browser, flagged, name):
    assert browser.get(f"/incidents/{name}").status_code == 404
    for action, fields in (("note", {"text": "t"}), ("change", {"owner": "o"}), ("export", {})):
        assert browser.post(f"/incidents/{name}/{action}", **fields).status_code == 404


def test_tokens_and_cost_by_agent_model_and_day(browser, flagged):
    text = plain(browser.text("/delivery"))
    assert "1,200 34 0.25" in text
    for name in ("release", "m1"):
        assert name in text
    assert "The outbox is empty" in text


def test_refused_records_are_told_and_sent_once_more(browser, bench, flagged):
    with database.writable(bench.path, bench.store.settings) as connection:
        connection.execute("INSERT INTO outbox SELECT 'traces', id, 'HTTP 400: <bad>' FROM span")
    for path in ("/", "/delivery"):
        assert "refused" in browser.text(path)
    assert "HTTP 400: &lt;bad&gt;" in browser.text("/delivery")
    assert "records refused by the collector" in browser.text("/")
    assert browser.post("/delivery/retry", signal="logs").status_code == 303
    assert rows(bench, "SELECT count(reason) AS n FROM outbox") == [{"n": 2}]
    assert browser.post("/delivery/retry", signal="smoke").status_code == 400
    assert browser.post("/delivery/retry", signal="traces").status_code == 303
    assert rows(bench, "SELECT count(reason) AS n FROM outbox") == [{"n": 0}]


def test_the_trail_is_verified_and_a_change_is_found(browser, bench, flagged):
    assert "Verify the trail" in browser.text("/audit")
    answer = browser.post("/audit/verify")
    assert answer.status_code == 200
    assert "The trail is sound" in answer.text
    with database.writable(bench.path, bench.store.settings) as connection:
        connection.execute("UPDATE findings SET severity = 'low'")
    answer = browser.post("/audit/verify")
    assert "The trail is not sound" in answer.text


def test_settings_show_where_each_was_set_and_no_secret(bench, flagged, monkeypatch):
    with browsing(bench.path, mode="block", approvals={"webhook_secret": "VARIABLE_OF_A_SECRET"}) as browser:
        text = browser.text("/settings")
    assert "VARIABLE_OF_A_SECRET" not in text
    told = plain(text)
    assert "approvals.webhook_secret" in told
    assert "set, not shown" in told
    assert re.search(r"mode .{0,200} block argument", told)


def test_a_page_reads_only(browser, bench, flagged):
    before = rows(bench, "SELECT name, (SELECT group_concat(state) FROM finding_group) AS s FROM sqlite_master")
    count = json.dumps(rows(bench, "SELECT count(*) AS n FROM audit"))
    for path in ("/", "/findings", "/runs", "/incidents", "/delivery", "/audit", "/settings"):
        browser.text(path)
    assert rows(bench, "SELECT name, (SELECT group_concat(state) FROM finding_group) AS s FROM sqlite_master") == before
    assert json.dumps(rows(bench, "SELECT count(*) AS n FROM audit")) == count
