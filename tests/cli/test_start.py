"""The first minute: help, no store, the example, the files of a collector, and the other product of this name."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def compiled_once(place, cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "data"))


def test_without_a_command_the_help_is_printed(cylestio):
    answer = cylestio()
    assert answer.code == 0
    assert answer.out == cylestio("--help").out


@pytest.mark.parametrize("command", ["trace", "events", "findings", "check", "outbox"])
def test_without_a_store_a_command_says_how_to_start(cylestio, command):
    answer = cylestio(command)
    assert (answer.code, answer.out) == (3, "")
    assert "opentelemetry-instrument python agent.py" in answer.err
    assert "cylestio demo" in answer.err


def test_the_example_shows_a_trace_with_findings_and_the_next_command(cylestio, place, monkeypatch):
    monkeypatch.delenv("CYLESTIO_DB_PATH")
    answer = cylestio("demo")
    assert (answer.code, answer.err) == (0, "")
    assert "injection.ignore-instructions" in answer.out
    assert "secret.aws-access-key-id" in answer.out
    store = place / "data" / "cylestio-monitor" / "demo" / "cylestio.db"
    assert f"cylestio --db {store} findings" in answer.out
    assert cylestio("--db", store, "findings").code == 0
    assert not (place / "data" / "cylestio-monitor" / "cylestio.db").exists()


def test_the_example_in_mode_block_is_stopped(cylestio, place):
    answer = cylestio("--db", place / "own.db", "demo", "--block")
    assert answer.code == 0
    assert "answer: stopped: Cylestio blocked this call" in answer.out
    assert "execute_tool run_sql" not in answer.out


def test_the_example_holds_no_key_and_leaks_none(cylestio, place):
    from cylestio_monitor.cli.start import example_agent

    key = example_agent._leaked_key()
    assert key not in (ROOT / "src" / "cylestio_monitor" / "cli" / "start" / "example_agent.py").read_text("utf-8")
    assert key not in cylestio("--db", place / "own.db", "demo").out
    assert key.encode() not in (place / "own.db").read_bytes()


def test_the_files_of_a_collector_are_written_once(cylestio, place):
    answer = cylestio("collector-config", "new/collector")
    assert answer.code == 0
    names = {path.relative_to(place / "new" / "collector").as_posix() for path in (place / "new").rglob("*.yaml")}
    assert {"local.yaml", "agent.yaml", "gateway.yaml", "prometheus/rules/security.yaml"} <= names
    (place / "new" / "collector" / "local.yaml").write_text("mine")
    again = cylestio("collector-config", "new/collector")
    assert again.code == 3
    assert "exists already" in again.err
    assert (place / "new" / "collector" / "local.yaml").read_text() == "mine"


def test_the_older_product_of_this_name_is_detected(cylestio, place, monkeypatch):
    info = place / "cylestio_monitor-0.1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cylestio-monitor\nVersion: 0.1.2\n")
    monkeypatch.syspath_prepend(str(place))
    answer = cylestio("doctor", "--no-probe", "--json")
    (check,) = [row for row in answer.json["checks"] if row["subject"] == "package"]
    assert not check["ok"]
    assert "0.1.2" in check["found"]
    assert "pip uninstall" in check["remedy"]


def test_doctor_says_what_will_be_hooked(cylestio):
    assert "will be hooked" in cylestio("doctor", "--no-probe").out
