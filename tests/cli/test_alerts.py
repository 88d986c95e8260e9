"""`cylestio alerts` as a person uses it."""

from __future__ import annotations

import sqlite3

import pytest

from alerts.servers import SECRET, Webhook
from cylestio_monitor.model import Finding
from store.filling import Bench


@pytest.fixture
def webhook(monkeypatch):
    with Webhook() as running:
        yield running


@pytest.fixture
def configured(place, webhook, monkeypatch):
    """Settings with one condition and two targets, of which one has no secret."""
    monkeypatch.setenv("CYLESTIO_CONFIG", str(place / "settings.yaml"))
    monkeypatch.setenv("OPS_SECRET", SECRET)
    (place / "settings.yaml").write_text(
        "alerts:\n  conditions:\n    - name: severe\n      targets: [ops]\n  targets:\n"
        f"    - {{name: ops, webhook: '{webhook.url}', webhook_secret: OPS_SECRET}}\n"
        f"    - {{name: bad, webhook: '{webhook.url}', webhook_secret: MISSING}}\n"
    )
    return place


def fill(place):
    bench = Bench(place / "data" / "cylestio.db")
    finding = Finding("secret.aws", "secret", "high", "dangerous", "input", "llm", "x", 0, 4, (), (), "h")
    bench.store.add_findings(1, 2, [finding], agent_id="\x1b[31ma")
    bench.flush()
    bench.close()


def test_a_test_message_goes_to_each_target_and_says_what_became_of_it(cylestio, configured, webhook):
    done = cylestio("alerts", "test")
    assert done.code == 1
    assert done.out.splitlines() == ["ops: sent", "bad: not sent: the environment variable MISSING is not set"]
    assert webhook.taken[0][1]["data"]["condition"] == "test"
    assert cylestio("alerts", "test", "ops").code == 0
    assert len({message_id for message_id, _ in webhook.taken}) == 2
    unknown = cylestio("alerts", "test", "opps")
    assert unknown.code == 2
    assert "there are ops, bad" in unknown.err
    assert webhook.url not in done.out + done.err + unknown.err


def test_without_a_target_the_command_says_where_to_configure_one(cylestio, place):
    done = cylestio("alerts", "test")
    assert (done.code, done.out) == (1, "")
    assert "alerts.targets" in done.err


def test_a_wrong_target_is_named_with_its_line(cylestio, configured):
    text = (configured / "settings.yaml").read_text().replace("http://127.0.0.1", "http://example.org")
    (configured / "settings.yaml").write_text(text)
    done = cylestio("alerts", "test")
    assert f"{configured / 'settings.yaml'}:6: alerts.targets[0].webhook: must be `https`" in done.err


def test_what_waits_is_sent_and_listed(cylestio, configured, webhook, monkeypatch):
    monkeypatch.setenv("CYLESTIO_DB_PATH", str(configured / "data" / "cylestio.db"))
    assert cylestio("alerts", "send").code == 3  # there is no store yet
    fill(configured)
    assert cylestio("alerts", "list").err == "no alerts\n"
    assert cylestio("alerts", "send").out == "0 messages sent, 0 not sent\n"  # from before there were alerts
    with sqlite3.connect(configured / "data" / "cylestio.db") as connection:
        connection.execute('UPDATE meta SET value = \'{"id":0,"time":""}\' WHERE key = \'alerts.cursor\'')
    connection.close()
    assert cylestio("alerts", "send").out == "1 message sent, 0 not sent\n"
    (line,) = cylestio("alerts", "list", "--json").lines
    assert (line["state"], line["condition"], line["target"], line["findings"]) == ("sent", "severe", "ops", 1)
    shown = cylestio("alerts", "list").out
    assert "severe" in shown
    assert "\x1b" not in shown
