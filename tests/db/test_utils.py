from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone

import pytest

from cylestio_monitor import config
from cylestio_monitor.db import utils
from cylestio_monitor.store import Event, Store

DOCUMENTED = """
SELECT * FROM events
WHERE json_extract(data, '$.alert') = 'suspicious' AND timestamp > datetime('now', '-1 day')
ORDER BY timestamp DESC
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("CYLESTIO_DB_PATH", str(tmp_path / "data" / "agent.db"))
    opened = Store.open(tmp_path / "data" / "agent.db", config.StoreSettings())
    yield opened
    opened.close()


def add(store, age_hours=0.0, *, agent="a", kind="login", channel="SYSTEM", level="INFO", **data):
    when = time.time_ns() - int(age_hours * 3.6e12)
    store.add_event(Event(agent, kind, channel, level, when, data))
    assert store.flush(5)


def test_the_path_is_that_of_the_settings_where_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("CYLESTIO_DB_PATH", str(tmp_path / "x.db"))
    assert utils.get_db_path() == str(tmp_path / "x.db")


def test_events_are_found_by_each_of_their_columns(store):
    add(store, kind="login", level="INFO", user="ann")
    add(store, kind="upload", channel="LLM", level="WARNING", agent="b")
    add(store, 30, kind="login", agent="b")
    assert [row["event_type"] for row in utils.get_recent_events()] == ["upload", "login", "login"]
    assert [row["agent_id"] for row in utils.get_events_by_type("login")] == ["a", "b"]
    assert [row["event_type"] for row in utils.get_events_by_channel("llm")] == ["upload"]
    assert [row["event_type"] for row in utils.get_events_by_level("warning")] == ["upload"]
    assert len(utils.get_events_last_hours(24)) == 2
    assert len(utils.get_events_last_days(2)) == 3
    now = datetime.now(timezone.utc)
    assert len(utils.get_events_by_timeframe(now - timedelta(hours=40), now - timedelta(hours=20))) == 1
    assert [row["data"] for row in utils.search_events("ANN")] == [{"user": "ann"}]
    assert utils.search_events("%") == []


def test_counts_are_by_agent_type_channel_and_level(store):
    add(store, alert="suspicious")
    add(store, agent="b", kind="upload", level="ERROR", alert="dangerous")
    add(store, agent="b")
    assert utils.get_event_type_distribution() == {"login": 2, "upload": 1}
    assert utils.get_channel_distribution("b") == {"SYSTEM": 2}
    assert utils.get_level_distribution() == {"INFO": 2, "ERROR": 1}
    stats = {row["agent_id"]: row for row in utils.get_agent_stats()}
    assert (stats["a"]["suspicious"], stats["b"]["dangerous"], stats["b"]["events"]) == (1, 1, 2)
    assert [row["agent_id"] for row in utils.get_agent_stats("a")] == ["a"]


def test_an_event_is_written_with_and_without_a_running_monitor(store):
    assert utils.log_to_db("a", "first", {"n": float("nan")})
    store.close()
    assert utils.log_to_db(
        None, "second", level="warning", timestamp=datetime.fromisoformat("2026-01-02T03:04:05.000006")
    )
    rows = utils.get_recent_events()
    assert [(row["event_type"], row["level"]) for row in rows] == [("first", "INFO"), ("second", "WARNING")]
    assert rows[0]["data"] == {"n": "NaN"}
    assert rows[1]["timestamp"] == "2026-01-02 03:04:05.000006"


def test_old_events_are_removed_counted_and_recorded(store):
    add(store, 24 * 40)
    add(store, 1)
    assert utils.cleanup_old_events(30) == 1
    assert {row["event_type"] for row in utils.get_recent_events()} == {"login", "store_gap"}
    (gap,) = utils.get_events_by_type("store_gap")
    assert (gap["data"]["reason"], gap["data"]["events"]) == ("request", 1)
    utils.optimize_database()


def test_own_queries_run_on_a_connection_that_only_reads(store):
    add(store)
    manager = utils.get_db_manager()
    assert [row["n"] for row in manager.query("SELECT count(*) AS n FROM events")] == [1]
    with pytest.raises(Exception, match="readonly"):
        list(manager.query("DELETE FROM event"))


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_the_documented_query_finds_the_last_day_in_any_time_zone(store, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        add(store, 0.01, alert="suspicious")
        add(store, 23.9, alert="suspicious")
        add(store, 24.1, alert="suspicious")
        add(store, 1, alert="dangerous")
        rows = list(utils.get_db_manager().query(DOCUMENTED))
        assert len(rows) == 2
        assert rows[0]["timestamp"] > rows[1]["timestamp"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_files_are_the_owners_alone_under_any_umask(tmp_path, monkeypatch):
    monkeypatch.setenv("CYLESTIO_DB_PATH", str(tmp_path / "new" / "agent.db"))
    before = os.umask(0)
    try:
        assert utils.log_to_db("a", "x")
        store = Store.open(tmp_path / "new" / "agent.db", config.StoreSettings())
        add(store)
        modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "new").iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert modes == dict.fromkeys(["agent.db", "agent.db-wal", "agent.db-shm", "agent.db.key"], 0o600)
