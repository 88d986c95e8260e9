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


def test_what_waits_is_shown_sent_and_what_was_refused_tried_again(filled, collector):
    waiting = json.loads(cylestio(filled, "outbox", "--json").stdout)
    assert [(row["signal"], row["reason"], row["records"]) for row in waiting] == [("traces", "", 11)]
    none = cylestio(filled, "flush", env={"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    assert none.exit_code == 3
    collector.fault = "poison"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    sent = cylestio(filled, "flush", "--json", env=environment)
    assert sent.exit_code == 0, sent.output
    assert json.loads(sent.stdout)["signals"]["traces"]["quarantined"] == 1
    assert "HTTP 400" in cylestio(filled, "outbox").stdout
    collector.fault = None
    assert "1 records" in cylestio(filled, "outbox", "--retry").stderr
    assert cylestio(filled, "flush", env=environment).exit_code == 0
    assert len(collector.spans) == 11
    assert "empty" in cylestio(filled, "outbox").stderr


def test_a_flush_that_does_not_get_through_says_so(filled, collector):
    collector.fault = 503
    answer = cylestio(filled, "flush", "--timeout", "0.5", env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}"})
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
