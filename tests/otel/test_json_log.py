"""The JSON log writes only files that it created, and no path makes it hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode

from cylestio_monitor import config
from cylestio_monitor.otel.json_log.writer import JsonLog
from cylestio_monitor.otel.processor import CylestioSpanProcessor
from cylestio_monitor.store import Event


def event(**data):
    return Event("agent", "signed_in", "AUTH", "INFO", 1_700_000_000_123_456_789, data, "ab" * 16, "cd" * 8)


def opened(path, **settings):
    return JsonLog(config.LogSettings(file=str(path), **settings))


FOREIGN = {
    "shell start file": b"# my bashrc\n",
    "key list": b"ssh-ed25519 AAAA me\n",
    "empty file": b"",
    "JSON of another program": b'{"timestamp": 1, "level": "INFO"}\n',
    "JSON that is no object": b"[1, 2]\n",
    "binary": b"\x00\x01\xff" * 100,
    "one endless line": b"x" * 3_000_000,
    "deep JSON": b"[" * 100_000,
    "half a line of ours": b'{"timestamp":"2023-11-14T22:13:20Z","agent_id":"a","event_',
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_program_is_left_as_it_is(tmp_path, kind):
    file = tmp_path / "file"
    file.write_bytes(FOREIGN[kind])
    file.chmod(0o600)
    with pytest.raises(OSError, match="is not a log of Cylestio"):
        opened(file)
    assert file.read_bytes() == FOREIGN[kind]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file"),
        (lambda path: path.symlink_to("/dev/null"), "symbolic link"),
        (lambda path: path.symlink_to("missing"), "symbolic link"),
        (lambda path: path.symlink_to(path.name), "symbolic link"),
        (lambda path: opened(path).write(event()) or path.chmod(0o666), "writable by other users"),
        (lambda path: opened(path).write(event()) or os.link(path, path.with_name("second")), "hard link"),
    ],
)
def test_what_is_no_private_file_is_refused(tmp_path, make, reason):
    make(tmp_path / "log")
    with pytest.raises(OSError, match=reason):
        opened(tmp_path / "log")


@pytest.mark.parametrize("path", ["/dev/null", "/proc/self/status", "/etc/passwd/log"])
def test_no_place_of_the_system_is_written(path):
    with pytest.raises(OSError, match=r"Cylestio|regular file|Not a directory|folder"):
        opened(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_log_of_another_user_is_refused(tmp_path):
    opened(tmp_path / "log").write(event())
    os.chown(tmp_path / "log", 65534, -1)
    with pytest.raises(OSError, match="belongs to another user"):
        opened(tmp_path / "log")


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_folder_that_others_may_write_is_refused(tmp_path, mode):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(mode)
    with pytest.raises(OSError, match="writable by other users"):
        opened(tmp_path / "shared" / "log")


def test_missing_folders_are_private_under_any_umask(tmp_path):
    old = os.umask(0)
    try:
        opened(tmp_path / "a" / "b" / "c" / "log").close()
    finally:
        os.umask(old)
    assert [(tmp_path / path).stat().st_mode & 0o777 for path in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_it_continues_its_own_file(tmp_path):
    for number in range(2):
        log = opened(tmp_path / "log")
        log.write(event(number=number))
        log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["data"]["number"] for line in lines] == [0, 1]


def test_a_rotation_neither_moves_nor_removes_a_foreign_file(tmp_path, caplog):
    (tmp_path / "log.2").write_text("mine")
    log = opened(tmp_path / "log", max_mb=1, backups=2)
    for _ in range(30):
        log.write(event(filler="x" * 100_000))
    log.close()
    assert (tmp_path / "log.2").read_text() == "mine"
    assert not (tmp_path / "log.1").exists()
    assert (tmp_path / "log").stat().st_size <= 1 << 20
    assert [record.getMessage().count("is not a log of Cylestio") for record in caplog.records] == [1]


def test_without_backups_the_file_starts_anew(tmp_path):
    log = opened(tmp_path / "log", max_mb=1, backups=0)
    for number in range(15):
        log.write(event(number=number, filler="x" * 100_000))
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["data"]["number"] == 14


def test_processes_share_a_log_and_lose_no_line(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "from otel.test_json_log import opened, event\n"
        "log = opened(sys.argv[1], max_mb=1, backups=9)\n"
        "[log.write(event(number=number, who=sys.argv[2], filler='x' * 20_000)) for number in range(100)]\n"
    )
    tests = str(Path(__file__).parents[1])
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log"), name, tests]) for name in ("a", "b")
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    lines = [json.loads(line)["data"] for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sorted((line["who"], line["number"]) for line in lines) == [(n, k) for n in "ab" for k in range(100)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_its_own_lines(tmp_path):
    log = opened(tmp_path / "log")
    child = os.fork()
    if child == 0:
        log.write(event(who="child"))
        os._exit(0)
    os.waitpid(child, 0)
    log.write(event(who="parent"))
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["data"]["who"] for line in lines] == ["child", "parent"]


def test_a_monitored_call_is_one_line_with_its_findings(tmp_path):
    log = opened(tmp_path / "log")
    provider = TracerProvider()
    provider.add_span_processor(CylestioSpanProcessor(json_log=log))
    tracer = provider.get_tracer("test")
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 3,
        "cylestio.agent.id": "mine",
        "cylestio.security.severity": "high",
        "cylestio.security.rules": ("secret.x",),
    }
    with tracer.start_as_current_span("request of the application"):
        span = tracer.start_span("chat m", attributes=call)
        span.add_event("cylestio.security.finding", {"cylestio.security.finding.rule": "secret.x"})
        span.add_event("another event", {"a": 1})
        span.end()
        failed = tracer.start_span("tools/list", attributes={"mcp.method.name": "tools/list"})
        failed.set_status(Status(StatusCode.ERROR))
        failed.end()
    log.close()
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (first["event_type"], first["channel"], first["level"]) == ("llm_call", "LLM", "WARNING")
    assert (first["agent_id"], first["span_id"]) == ("mine", f"{span.get_span_context().span_id:016x}")
    assert first["data"]["findings"] == [{"rule": "secret.x"}]
    assert (first["data"]["model"], first["data"]["input_tokens"], first["data"]["rules"]) == ("m", 3, ["secret.x"])
    assert (second["event_type"], second["level"], second["data"]["findings"]) == ("mcp_request", "ERROR", [])


@pytest.mark.parametrize("operation", [7, "\x1b[31m\u202e", "x" * 100_000])
def test_a_hostile_span_of_another_instrumentation_ends_no_line_early(tmp_path, operation):
    log = opened(tmp_path / "log")
    provider = TracerProvider()
    provider.add_span_processor(CylestioSpanProcessor(json_log=log))
    attributes = {
        "gen_ai.operation.name": operation,
        "mcp.method.name": "tools/call\n{}",
        "gen_ai.request.model": "a\nb",
    }
    provider.get_tracer("test").start_span("one\ntwo", attributes=attributes).end()
    log.close()
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["data"]["name"] == "one\ntwo"
    assert "\x1b" not in line
