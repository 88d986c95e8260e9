"""Incidents: what a name means, where it began, what it touched, and that one can be handled to its end."""

from __future__ import annotations

import sqlite3
import time

import pytest

from cylestio_monitor import config
from cylestio_monitor.model import PROVENANCE
from cylestio_monitor.store import StoreError, triage
from cylestio_monitor.store.read import incidents, lists, pages, queries
from cylestio_monitor.store.sqlite.records import ValueOrigin
from incidents.conftest import Attack, call
from store.filling import Bench


def opened(attack, *items, **more):
    return triage.open_incident(
        attack.path, attack.settings, "a title", by="ann", severity_number=3, items=items, **more
    )


def examined(attack, incident_id):
    with queries.connect(attack.path) as connection:
        return incidents.examine(connection, incidents.find(connection, incident_id))


def finding_id(attack, rule):
    with queries.connect(attack.path) as connection:
        return str(connection.execute("SELECT min(id) FROM findings WHERE rule_id = ?", (rule,)).fetchone()[0])


@pytest.fixture(params=["finding", "trace", "session"])
def whole(request, attack):
    ref = {"finding": finding_id(attack, "secret.aws"), "trace": attack.trace_id, "session": "s1"}[request.param]
    return examined(attack, opened(attack, (request.param, ref)))


def test_an_incident_begins_where_the_untrusted_value_came_in(attack, whole):
    entry = whole.entry
    assert (entry.kind, entry.span_id, entry.source) == ("value", attack.spans["read"], "tool:mail/read")


def test_the_blast_radius_names_what_was_touched_from_there_on(attack, whole):
    radius = whole.radius
    assert [(one.tool, one.calls, one.severity) for one in radius.tools] == [("read", 1, "high"), ("send", 1, "high")]
    assert [(one.tool, one.argument, one.origin) for one in radius.values] == [("send", "to", "tool:mail/read")]
    assert [one.name for one in radius.hosts] == ["evil.example"]
    assert [(one.name, one.count, one.distinct) for one in radius.secrets] == [("secret.aws", 1, 1)]
    assert [one.name for one in radius.users] == ["ann"]
    assert [one.name for one in radius.sessions] == ["s1"]
    assert whole.is_complete


def test_the_same_text_elsewhere_is_found_by_its_keyed_hash(attack, whole):
    (other,) = whole.radius.elsewhere
    assert (other.trace_id, other.session_id, other.agent_id, other.user_id) == (attack.other, "s2", "sales", "bob")


def test_the_same_value_elsewhere_is_found_by_its_keyed_hash(tmp_path):
    bench = Bench(tmp_path / "data" / "store.db")
    traces = {}
    for session, value in (("s1", "v"), ("s2", "v"), ("s3", "w")):
        with bench.tracer.start_as_current_span(session) as root:
            traces[session] = f"{root.get_span_context().trace_id:032x}"
            sender = call(bench, "execute_tool send", "execute_tool", session, tool="send", agent=f"agent of {session}")
        place = {"trace_id": traces[session], "span_id": sender, "argument": "to", "kind": "email", "shape": "prose"}
        bench.store.add_record(ValueOrigin(**place, origin="tool:mail/read", value_hash=value))
    bench.flush()
    bench.close()
    stored = Attack(bench.path, config.StoreSettings(), traces["s1"], {}, traces["s2"], traces["s3"])
    (other,) = examined(stored, opened(stored, ("trace", traces["s1"]))).radius.elsewhere
    assert (other.rule_id, other.trace_id, other.count) == (PROVENANCE, traces["s2"], 1)
    assert (other.session_id, other.agent_id) == ("s2", "agent of s2")


def test_the_timeline_is_in_order_and_has_calls_findings_and_decisions(attack, whole):
    times = [one.time_ns for one in whole.timeline]
    assert times == sorted(times)
    kinds = {one.kind for one in whole.timeline}
    assert {"call", "finding", "decision", "event"} <= kinds
    assert attack.unrelated not in {one.trace_id for one in whole.timeline}


def test_an_incident_on_one_finding_began_no_later_than_it(attack):
    found = examined(attack, opened(attack, ("finding", finding_id(attack, "injection.order"))))
    assert found.entry.span_id == attack.spans["read"]


def test_a_name_is_a_finding_a_trace_or_a_session(attack):
    with queries.connect(attack.path) as connection:
        first = finding_id(attack, "injection.order")
        assert incidents.resolve(connection, first).kind == "finding"
        assert incidents.resolve(connection, attack.trace_id[:10]).ref == attack.trace_id
        assert incidents.resolve(connection, attack.trace_id.upper()).kind == "trace"
        assert incidents.resolve(connection, "s1").kind == "session"
        assert incidents.resolve(connection, "s1", "session").severity_number == 3


@pytest.mark.parametrize(
    "name", ["", " ", "nothing", "9" * 30, "-1", "1e3", "0" * 32, "' OR 1=1 --", "\ud800", "٣", "s1\x00", "%"]
)
@pytest.mark.parametrize("kind", [None, "finding", "trace", "session", "group"])
def test_a_name_of_nothing_is_a_clear_error(attack, name, kind):
    with queries.connect(attack.path) as connection, pytest.raises(StoreError):
        incidents.resolve(connection, name, kind)


def test_an_ambiguous_name_is_refused_with_what_it_names(attack, tmp_path):
    with queries.connect(attack.path) as connection:
        traces = [row[0] for row in connection.execute("SELECT trace_id FROM run")]
        assert len(traces) > 1
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.executescript(
        "CREATE TABLE findings (id INTEGER, rule_id, subtype, target, severity);"
        "CREATE TABLE run (trace_id, name, severity_number);"
        "CREATE TABLE entity (kind, name, severity_number);"
        "CREATE TABLE finding_group (group_id, rule_id, subtype, severity_number);"
        "INSERT INTO findings VALUES (1234, 'r', 'llm', 'input', 'low');"
        "INSERT INTO run VALUES ('1234aa', 'n', 1), ('1234bb', 'n', 1);"
        "INSERT INTO entity VALUES ('session', '1234', 1);"
    )
    with pytest.raises(StoreError, match="names several things: finding 1234 and trace 1234aa"):
        incidents.resolve(connection, "1234")
    assert incidents.resolve(connection, "1234", "finding").ref == "1234"
    with pytest.raises(StoreError, match="several things"):
        incidents.resolve(connection, "1234", "trace")
    assert incidents.resolve(connection, "1234bb").ref == "1234bb"
    connection.close()


def test_an_incident_is_noted_assigned_closed_and_opened_again(attack):
    made = opened(attack, ("session", "s1"))
    triage.add_note(attack.path, attack.settings, "incident", made, by="bob", text="revoked")
    triage.change_incident(attack.path, attack.settings, made, by="bob", owner="ann")
    triage.change_incident(attack.path, attack.settings, made, by="bob", state="closed")
    closed = examined(attack, made)
    assert (closed.row.state, closed.row.owner) == ("closed", "ann")
    assert [one.text for one in closed.notes] == ["revoked"]
    triage.change_incident(attack.path, attack.settings, made, by="bob", owner="eve")
    assert examined(attack, made).row.closed_ns == closed.row.closed_ns
    triage.change_incident(attack.path, attack.settings, made, by="bob", state="open")
    assert examined(attack, made).row.closed_ns is None
    with queries.connect(attack.path) as connection:
        rows = connection.execute(
            "SELECT event_type FROM event WHERE seq IS NOT NULL AND coalesce(json_extract(data, '$.id'), "
            "json_extract(data, '$.ref')) = ? ORDER BY id",
            (made,),
        )
        assert [row[0] for row in rows] == ["incident_opened", "note_added", *["incident_changed"] * 4]


@pytest.mark.parametrize(("subject", "text"), [("incident", "x"), ("group", "x")])
def test_a_note_on_nothing_is_refused(attack, subject, text):
    with pytest.raises(StoreError, match=f"there is no {subject}"):
        triage.add_note(attack.path, attack.settings, subject, "0" * 12, by="ann", text=text)


@pytest.mark.parametrize("text", ["", " \n", "\t"])
def test_an_empty_note_and_an_empty_title_are_refused(attack, text):
    made = opened(attack)
    with pytest.raises(StoreError, match="text"):
        triage.add_note(attack.path, attack.settings, "incident", made, by="ann", text=text)
    with pytest.raises(StoreError, match="title"):
        triage.open_incident(attack.path, attack.settings, text, by="ann", severity_number=1)


def test_an_incident_without_anything_left_in_the_store_is_still_shown(attack):
    found = examined(attack, opened(attack, ("trace", "f" * 32), ("finding", "999999")))
    assert (found.runs, found.entry, found.radius.tools) == ([], None, [])


def test_what_is_read_is_bounded_and_says_so(attack, monkeypatch):
    made = opened(attack, ("session", "s1"))
    monkeypatch.setattr(incidents, "MOST_ROWS", 2)
    found = examined(attack, made)
    assert len(found.spans) == 2
    assert not found.is_complete


def test_an_id_of_an_incident_may_be_shortened(attack):
    made = opened(attack)
    with queries.connect(attack.path) as connection:
        assert incidents.find(connection, made[:11]).id == made
        for wrong in ("", "zz", "g" * 12):
            with pytest.raises(StoreError, match="no incident"):
                incidents.find(connection, wrong)
        assert pages.read_page(connection, lists.INCIDENTS, {"state": "open"}).rows[0].opened_ns <= time.time_ns()
