"""A store that findings are added to, and rounds of alerts over it at a clock of the test's."""

from __future__ import annotations

import sqlite3

import pytest

from alerts.servers import SECRET, Webhook
from cylestio_monitor import config
from cylestio_monitor.model import Finding
from cylestio_monitor.store.alerts import sender
from cylestio_monitor.store.sqlite.rows import timestamp
from store.filling import Bench

MINUTE = 60_000_000_000


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("OPS_SECRET", SECRET)
    made = Bench(tmp_path / "data" / "store.db")
    yield made
    made.close()


@pytest.fixture
def webhook():
    with Webhook() as running:
        yield running


class Clock:
    """The time that rounds of alerts see."""

    def __init__(self):
        self.now_ns = 1_795_878_400 * 1_000_000_000  # a Saturday, 15:06:40 UTC

    def pass_minutes(self, minutes):
        self.now_ns += int(minutes * MINUTE)

    def time_ns(self):
        return self.now_ns


@pytest.fixture
def clock(monkeypatch):
    import time

    made = Clock()
    monkeypatch.setattr(sender, "time", FakeTime(made, time))
    return made


class FakeTime:
    """The module `time`, with the clock's wall time."""

    def __init__(self, clock, real):
        self.time_ns, self.monotonic, self.sleep = clock.time_ns, real.monotonic, real.sleep


def settings(webhook, *, conditions=None, **more):
    return config.AlertSettings(
        conditions=tuple(config.ConditionSettings(**one) for one in conditions or [{"name": "severe"}]),
        targets=(config.TargetSettings(name="ops", webhook=webhook.url, webhook_secret="OPS_SECRET"),),
        **{"gather_s": 0, **more},
    )


def round_of(bench, chosen):
    return sender.AlertRound(bench.path, config.StoreSettings(), chosen)


def find(bench, clock, rule="secret.aws", *, severity="high", category="secret", agent="a", span=None, **labels):
    """Stores one finding of this moment."""
    number = span or next(_numbers)
    finding = Finding(
        rule, category, severity, "dangerous", "input", "tool_result", "result[0]", 0, 4, (), (), f"h{number}"
    )
    bench.store.add_findings(1, number, [finding], agent_id=agent, session_id="s", **labels)
    bench.flush()
    with sqlite3.connect(bench.path) as connection:  # the store took its time from the machine
        moment = timestamp(clock.now_ns)
        connection.execute("UPDATE findings SET timestamp = ? WHERE span_id = ?", (moment, f"{number:016x}"))
    connection.close()


_numbers = iter(range(1, 1_000_000))
