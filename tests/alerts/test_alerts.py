"""Alerts are made once, grouped, sent once, and tried again: over a real store and a real receiver."""

from __future__ import annotations

import json

import pytest

from alerts.conftest import find, round_of, settings
from alerts.servers import Webhook
from cylestio_monitor import config
from cylestio_monitor.store import Event
from cylestio_monitor.store.alerts import alert_table, targets
from cylestio_monitor.store.alerts import rows as alert_rows
from cylestio_monitor.store.audit import trail
from cylestio_monitor.store.read import queries


def rows(bench):
    with queries.connect(bench.path) as connection:
        return alert_rows.alerts(connection)


def test_findings_of_a_group_are_one_signed_message_without_content(bench, clock, webhook):
    made = round_of(bench, settings(webhook))
    for _ in range(3):
        find(bench, clock, user_id="ann", tool="read")
    assert made.run() == (1, 0)
    ((_, message),) = webhook.taken
    data = message["data"]
    assert (message["type"], data["condition"], data["severity"], data["findings"]) == (
        "cylestio.alert",
        "severe",
        "high",
        3,
    )
    assert data["group"] == {"rule": "secret.aws", "agent": "a"}
    assert data["finding"]["trace_id"] == f"{1:032x}"
    assert "ann" not in json.dumps(message)
    assert made.run() == (0, 0)
    assert len(webhook.seen) == 1


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"severity": "critical"}, {"c"}),
        ({"severity": "high"}, {"a", "b", "c"}),
        ({"severity": "low", "categories": ("jailbreak",)}, {"d"}),
        ({"severity": "low", "rules": ("secret.*",)}, {"a", "b"}),
        ({"severity": "low", "rules": ("secret.aws", "other.x")}, {"a", "c"}),
        ({"severity": "low", "rules": ("secret",)}, set()),
        ({"severity": "low", "agents": ("sup*",)}, {"d"}),
        ({"severity": "low", "rules": ("*",), "agents": ("a",)}, {"a", "b", "c"}),
    ],
)
def test_a_condition_counts_what_fits_all_of_it(bench, clock, webhook, condition, expected):
    made = round_of(bench, settings(webhook, conditions=[{"name": "n", "group_by": ("session", "rule"), **condition}]))
    find(bench, clock, "secret.aws")
    find(bench, clock, "secret.github")
    find(bench, clock, "other.x", severity="critical", category="exfiltration")
    find(bench, clock, "jailbreak.role", severity="low", category="jailbreak", agent="support")
    names = {"secret.aws": "a", "secret.github": "b", "other.x": "c", "jailbreak.role": "d"}
    made.run()
    assert {names[message["data"]["finding"]["rule_id"]] for _, message in webhook.taken} == expected


@pytest.mark.parametrize(
    ("minutes", "count", "expected"),
    [((0, 0, 0), 3, 1), ((0, 0.5, 1.2), 3, 0), ((0, 0.9, 0.95, 1.05), 3, 1), ((0,), 2, 0)],
)
def test_a_rate_counts_findings_in_any_period_of_that_length(bench, clock, webhook, minutes, count, expected):
    chosen = settings(webhook, conditions=[{"name": "many", "count": count, "within": "minute"}])
    made, begun = round_of(bench, chosen), clock.now_ns
    for number, minute in enumerate(minutes):
        clock.now_ns = begun + int(minute * 60_000_000_000)
        find(bench, clock)
        find(bench, clock, severity="low")
        find(bench, clock, agent=f"another {number}")
        made.run()
    assert len(webhook.taken) == expected


def test_a_group_is_silent_for_the_window_and_the_next_message_says_how_much(bench, clock, webhook):
    made = round_of(bench, settings(webhook, window_minutes=30))
    find(bench, clock)
    made.run()
    for _ in range(4):
        clock.pass_minutes(5)
        find(bench, clock)
        made.run()
    find(bench, clock, agent="another")
    made.run()
    assert [message["data"]["group"]["agent"] for _, message in webhook.taken] == ["a", "another"]
    clock.pass_minutes(11)
    find(bench, clock)
    made.run()
    assert [message["data"]["findings_suppressed_before"] for _, message in webhook.taken] == [0, 0, 4]
    assert len({message_id for message_id, _ in webhook.taken}) == 3


def test_a_finding_of_a_higher_severity_is_sent_within_the_window(bench, clock, webhook):
    made = round_of(bench, settings(webhook, conditions=[{"name": "n", "group_by": ("agent",)}]))
    for severity in ("high", "high", "critical", "high", "critical"):
        find(bench, clock, severity=severity)
        made.run()
    assert [message["data"]["severity"] for _, message in webhook.taken] == ["high", "critical"]


def test_a_first_finding_waits_for_more_of_its_group(bench, clock, webhook):
    made = round_of(bench, settings(webhook, gather_s=60))
    find(bench, clock)
    assert made.run() == (0, 0)
    clock.pass_minutes(0.5)
    find(bench, clock)
    assert made.run() == (0, 0)
    clock.pass_minutes(0.6)
    assert made.run() == (1, 0)
    assert webhook.taken[0][1]["data"]["findings"] == 2


def test_the_last_round_of_a_process_does_not_wait(bench, clock, webhook):
    made = round_of(bench, settings(webhook, gather_s=600))
    find(bench, clock)
    assert made.run(is_last=True) == (1, 0)


@pytest.mark.parametrize(
    ("hours", "zone", "is_quiet"),
    [
        ("15:00-16:00", "UTC", True),
        ("16:00-17:00", "UTC", False),
        ("22:00-15:30", "UTC", True),
        ("22:00-15:00", "UTC", False),
        ("16:00-17:00", "Europe/Berlin", True),
        ("10:00-11:00", "America/New_York", True),
    ],
)
def test_alerts_wait_for_the_end_of_quiet_hours_and_become_one(bench, clock, webhook, hours, zone, is_quiet):
    made = round_of(bench, settings(webhook, quiet_hours=hours, timezone=zone))
    for _ in range(3):
        find(bench, clock)
        made.run()
        made.run(is_last=True)
        clock.pass_minutes(2)
    assert len(webhook.taken) == (0 if is_quiet else 1)
    find(bench, clock, "other.x", severity="critical")
    made.run()
    assert webhook.taken[-1][1]["data"]["severity"] == "critical"
    clock.pass_minutes(55)
    made.run()
    assert len(webhook.taken) == 2
    if is_quiet:
        assert webhook.taken[-1][1]["data"]["findings"] == 3


def test_quiet_hours_end_at_the_same_time_of_day_when_the_clock_changes():
    from datetime import datetime, timezone

    chosen = config.AlertSettings(quiet_hours="22:00-07:00", timezone="Europe/Berlin")
    for evening, morning in (
        ("2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00"),
        ("2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"),
        ("2026-10-25T02:30:00+01:00", "2026-10-25T07:00:00+01:00"),
    ):
        now = int(datetime.fromisoformat(evening).timestamp()) * 1_000_000_000
        end = alert_table.quiet_until(chosen, now)
        assert datetime.fromtimestamp(end / 1e9, timezone.utc) == datetime.fromisoformat(morning)


@pytest.mark.parametrize("fault", [500, 503, 400, 401, 404, 429, "drop", "hang", "redirect"])
def test_a_message_that_was_not_taken_is_sent_again_with_the_same_id(bench, clock, fault, monkeypatch, caplog):
    monkeypatch.setattr(targets, "TIMEOUT_S", 0.3)
    with Webhook([fault, fault]) as webhook:
        made = round_of(bench, settings(webhook))
        find(bench, clock)
        assert made.run() == (0, 1)
        assert made.run() == (0, 0)
        assert rows(bench)[0].state == "waiting"
        clock.pass_minutes(2)
        assert made.run() == (0, 1)
        clock.pass_minutes(2)
        assert made.run() == (1, 0)
        assert len({headers["webhook-id"] for headers, _ in webhook.seen}) == 1
        assert len(webhook.taken) == 1
    (row,) = rows(bench)
    assert (row.state, row.attempts, row.error) == ("sent", 3, None)
    assert len([record for record in caplog.records if "not sent to ops" in record.message]) == 1
    for secret in ("very-secret-token", "whsec_"):
        assert secret not in caplog.text


def test_a_target_says_how_long_to_wait(bench, clock):
    with Webhook([429]) as webhook:
        made = round_of(bench, settings(webhook))
        find(bench, clock)
        made.run()
        clock.pass_minutes(1)
        assert made.run() == (0, 0)
        clock.pass_minutes(0.5)
        assert made.run() == (1, 0)


@pytest.mark.parametrize(("fault", "hours"), [(410, 0), (500, 25)])
def test_a_message_that_is_given_up_is_recorded(bench, clock, fault, hours):
    with Webhook([fault] * 2) as webhook:
        made = round_of(bench, settings(webhook))
        find(bench, clock)
        made.run()
        if hours:
            clock.pass_minutes(60 * hours)
            made.run()
        (row,) = rows(bench)
        assert (row.state, row.error) == ("failed", f"it answered HTTP {fault}")
        clock.pass_minutes(60)
        assert made.run() == (0, 0)
    types = [one["event_type"] for one in bench.rows("SELECT event_type FROM event WHERE seq IS NOT NULL")]
    assert types == ["alert_failed"]
    problems = trail.verify(bench.path).problems
    assert {problem.seq for problem in problems} == {1}  # the finding whose time `find` has changed


def test_a_target_that_fails_does_not_keep_another_from_its_messages(bench, clock, webhook):
    with Webhook([500] * 9) as broken:
        chosen = config.AlertSettings(
            conditions=(config.ConditionSettings(name="n"),),
            targets=(
                config.TargetSettings(name="broken", webhook=broken.url, webhook_secret="OPS_SECRET"),
                config.TargetSettings(name="ops", webhook=webhook.url, webhook_secret="OPS_SECRET"),
            ),
            gather_s=0,
        )
        made = round_of(bench, chosen)
        for number in range(5):
            find(bench, clock, f"secret.{number}")
        assert made.run() == (5, 5)
        assert (len(webhook.taken), len(broken.seen)) == (5, 1)


@pytest.mark.parametrize(
    ("named", "expected"), [(("two",), {"two"}), (("none",), {"one", "two"}), ((), {"one", "two"})]
)
def test_a_condition_chooses_targets_and_an_unknown_name_means_all(bench, clock, webhook, named, expected):
    place = {"webhook": webhook.url, "webhook_secret": "OPS_SECRET"}
    chosen = config.AlertSettings(
        conditions=(config.ConditionSettings(name="n", targets=named),),
        targets=(config.TargetSettings(name="one", **place), config.TargetSettings(name="two", **place)),
        gather_s=0,
    )
    made = round_of(bench, chosen)
    find(bench, clock)
    made.run()
    assert {row.target for row in rows(bench)} == expected


@pytest.mark.parametrize("value", [None, "", "only-a-word", "whsec_???", "whsec_YQ=="])
def test_a_secret_that_is_missing_or_weak_sends_nothing(bench, clock, webhook, value, monkeypatch, caplog):
    if value is None:
        monkeypatch.delenv("OPS_SECRET")
    else:
        monkeypatch.setenv("OPS_SECRET", value)
    made = round_of(bench, settings(webhook))
    find(bench, clock)
    assert made.run() == (0, 1)
    assert webhook.seen == []
    assert not value or value not in caplog.text


def test_findings_from_before_the_first_alert_setting_make_no_alert(bench, clock, webhook):
    find(bench, clock)
    clock.pass_minutes(10)
    made = round_of(bench, settings(webhook))
    assert made.run() == (0, 0)
    find(bench, clock, "secret.github")
    assert made.run() == (1, 0)


def test_rows_that_get_the_ids_of_removed_ones_are_seen(bench, clock, webhook):
    import sqlite3

    made = round_of(bench, settings(webhook))
    for _ in range(3):
        find(bench, clock)
    made.run()
    with sqlite3.connect(bench.path) as connection:
        connection.execute("DELETE FROM findings")
    connection.close()
    clock.pass_minutes(1)
    find(bench, clock, "secret.github")
    assert made.run() == (1, 0)


def test_very_many_findings_are_read_in_parts(bench, clock, webhook, monkeypatch):
    monkeypatch.setattr(alert_table, "BATCH", 7)
    made = round_of(bench, settings(webhook))
    for number in range(30):
        find(bench, clock, f"secret.{number % 3}")
    assert made.run() == (3, 0)
    assert sum(row.findings + row.suppressed for row in rows(bench)) == 30


@pytest.mark.parametrize("agent", ["\x1b[31m", "a\r\nBcc: x@y", "x" * 5000, "\u202e", "\ud800", '"}{'])
def test_a_hostile_name_is_one_bounded_line(bench, clock, webhook, agent):
    made = round_of(bench, settings(webhook))
    find(bench, clock, agent=agent)
    made.run()
    shown = webhook.taken[0][1]["data"]["group"]["agent"]
    assert len(shown) < 300
    assert not any(ord(character) < 32 or character == "\u202e" for character in shown)


def test_a_logged_event_makes_no_alert_and_leaves_the_position(bench, clock, webhook):
    made = round_of(bench, settings(webhook))
    bench.store.add_event(Event("a", "x", "SYSTEM", "INFO", clock.now_ns, {}))
    bench.flush()
    assert made.run() == (0, 0)
