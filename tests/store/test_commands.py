"""`cylestio outbox`, `flush` and `audit` over a real store and a real collector."""

from __future__ import annotations

import json
import sqlite3

import pytest
from click.testing import CliRunner

from cylestio_monitor.cli import main
from store.filling import Bench


@pytest.fixture
def filled(tmp_path, collector):
    """A store whose ten spans and one poison span no collector has taken."""
    bench = Bench(tmp_path / "s.db")
    bench.store.forward(frozenset({"traces"}), None, lambda: None)
    for number in range(10):
        bench.span(f"chat {number}", attributes={"gen_ai.operation.name": "chat"})
    bench.span("poison")
    bench.close()
    return tmp_path / "s.db"


def cylestio(path, *words, env=None):
    return CliRunner().invoke(main, ["--db", str(path), *words], env=env)


def at(collector):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


def test_what_waits_is_shown_sent_and_what_was_refused_tried_again(filled, collector):
    waiting = json.loads(cylestio(filled, "outbox", "--json").stdout)
    assert [(row["signal"], row["reason"], row["records"]) for row in waiting] == [("traces", "", 11)]
    none = cylestio(filled, "flush", env={"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    assert none.exit_code == 3
    collector.fault = "poison"
    environment = at(collector)
    sent = cylestio(filled, "flush", "--json", env=environment)
    assert sent.exit_code == 0, sent.output
    assert json.loads(sent.stdout)["signals"]["traces"]["quarantined"] == 1
    assert "HTTP 400" in cylestio(filled, "outbox").stdout
    collector.fault = None
    assert "1 record\n" in cylestio(filled, "outbox", "--retry").stderr
    assert cylestio(filled, "flush", env=environment).exit_code == 0
    assert len(collector.spans) == 11
    assert "empty" in cylestio(filled, "outbox").stderr


def test_what_is_in_doubt_is_listed_and_only_sent_again_or_dropped_when_told_so(filled, collector):
    environment = at(collector)
    collector.fault = "partial"
    assert cylestio(filled, "flush", env=environment).exit_code == 0
    assert len(collector.spans) == 10
    listed = json.loads(cylestio(filled, "outbox", "--refused", "--json").stdout)
    assert sorted(row["name"] for row in listed) == [*(f"chat {number}" for number in range(10)), "poison"]
    assert {row["reason"] for row in listed} == {"1 of 11 refused by the collector, which does not say which"}
    with sqlite3.connect(filled) as connection:
        stored = set(connection.execute("SELECT trace_id, span_id FROM span"))
    connection.close()
    assert {(row["trace_id"], row["span_id"]) for row in listed} == stored
    assert "poison" in cylestio(filled, "outbox", "--refused").stdout

    collector.fault = None
    assert "0 records" in cylestio(filled, "outbox", "--retry").stderr
    assert cylestio(filled, "flush", env=environment).exit_code == 0
    assert set(collector.spans.values()) == {1}
    assert "0 records" in cylestio(filled, "outbox", "--retry", "--in-doubt", "--signal", "logs").stderr
    assert "11 records" in cylestio(filled, "outbox", "--retry", "--in-doubt").stderr
    assert cylestio(filled, "flush", env=environment).exit_code == 0
    assert len(collector.spans) == 11


def test_what_is_given_up_stays_in_the_store(filled, collector):
    collector.fault = "poison"
    assert cylestio(filled, "flush", env=at(collector)).exit_code == 0
    assert "0 records" in cylestio(filled, "outbox", "--drop", "--signal", "metrics").stderr
    dropped = cylestio(filled, "outbox", "--drop")
    assert "given up: 1 record\n" in dropped.stderr
    assert "empty" in dropped.stderr
    assert "nothing was refused" in cylestio(filled, "outbox", "--refused").stderr
    with sqlite3.connect(filled) as connection:
        assert connection.execute("SELECT count(*) FROM span").fetchone() == (11,)
    connection.close()
    assert cylestio(filled, "outbox", "--drop", "--retry").exit_code == 2
    assert cylestio(filled, "outbox", "--in-doubt").exit_code == 2


def test_a_flush_that_does_not_get_through_says_so(filled, collector):
    collector.fault = 503
    answer = cylestio(filled, "flush", "--timeout", "0.5", env=at(collector))
    assert answer.exit_code == 1
    assert "11 wait" in answer.stdout


def test_the_trail_is_sealed_exported_and_verified(filled, tmp_path):
    line = json.loads(cylestio(filled, "audit", "checkpoint").stdout)
    assert line["seq"] == 10
    kept = tmp_path / "kept"
    kept.write_text(json.dumps(line))
    assert cylestio(filled, "audit", "checkpoint").stdout == ""
    sound = cylestio(filled, "audit", "verify", "--checkpoints", str(kept), "--json")
    assert sound.exit_code == 0
    key = json.loads(sound.stdout)["public_key"]
    out = tmp_path / "evidence"
    assert key in cylestio(filled, "audit", "export", str(out)).stdout
    check = cylestio(filled, "audit", "verify", "--evidence", str(out), "--public-key", key)
    assert check.exit_code == 0, check.output
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE span SET name = 'x' WHERE id = 2")
    connection.close()
    broken = cylestio(filled, "audit", "verify")
    assert broken.exit_code == 1
    assert "edited at 2: span 2 is not what it was" in broken.stdout
    assert cylestio(filled, "audit", "verify", "--evidence", str(out)).exit_code == 2
