"""What survives under servers that fork, spawn and end their workers: the real ones, with real signals."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from peers.environment import ROOT, environment
from store.conftest import eventually

pytestmark = pytest.mark.slow
APPS = Path(__file__).parent / "apps"
REQUESTS = 16


@pytest.fixture(scope="session")
def python():
    return environment("servers")


@pytest.fixture
def port():
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """A server in a process group of its own."""

    def __init__(self, tmp_path, collector, command, **variables):
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CYLESTIO_", "COV"))
        }
        self.path = tmp_path / "s.db"
        self.log = tmp_path / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=tmp_path,
                env={
                    **inherited,
                    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(APPS)]),
                    "PYTHONWARNINGS": "ignore",
                    "CYLESTIO_DB_PATH": str(self.path),
                    "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                    **variables,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stored(self):
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return Counter(name for (name,) in connection.execute("SELECT name FROM span WHERE name LIKE '/%'"))

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        assert self.process.wait(20) is not None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return int(connection.getresponse().read())
    finally:
        connection.close()


def answers(server, port):
    assert server.process.poll() is None, server.log.read_text()
    try:
        return bool(ask(port, "/ready"))
    except (OSError, http.client.HTTPException):
        return False


def gunicorn(python, port, *more):
    return [python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", *more, "served:wsgi"]


def uvicorn(python, port):
    return [python, "-m", "uvicorn", "--port", str(port), "--workers", "2", "--log-level", "error", "served:asgi"]


SERVERS = {
    "gunicorn, each worker for six requests": lambda python, port: gunicorn(python, port, "--max-requests", "6"),
    "gunicorn with preload": lambda python, port: gunicorn(python, port, "--preload"),
    "uvicorn with workers": uvicorn,
}


@pytest.mark.parametrize("name", SERVERS)
def test_every_request_of_every_worker_is_stored_and_sent_once(tmp_path, collector, python, port, name):
    with Server(tmp_path, collector, SERVERS[name](python, port)) as server:
        eventually(lambda: answers(server, port), 30)
        workers = {ask(port, f"/{number}") for number in range(REQUESTS)}
        server.stop()
    expected = Counter(f"/{number}" for number in range(REQUESTS))
    assert server.process.pid not in workers
    assert {name: count for name, count in server.stored().items() if name != "/ready"} == expected
    assert set(collector.spans.values()) <= {1}
    assert set(collector.names) <= {*expected, "/ready"}


def test_killed_workers_lose_at_most_the_last_moment_and_the_next_ones_send_it(tmp_path, collector, python, port):
    collector.fault = 503
    with Server(tmp_path, collector, gunicorn(python, port, "--preload")) as server:
        eventually(lambda: answers(server, port), 30)
        killed = {ask(port, f"/{number}") for number in range(REQUESTS)}
        time.sleep(0.2)  # more than the 50 ms after which everything is on disk
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: answers(server, port) and ask(port, "/later") not in killed, 30)
        collector.fault = None
        expected = {f"/{number}" for number in range(REQUESTS)}
        eventually(lambda: expected <= set(collector.names), 30)
        server.stop()
    assert expected <= set(server.stored())
    assert set(collector.spans.values()) == {1}


def test_celery_workers_lose_nothing_when_they_are_replaced_or_stopped(tmp_path, collector, python):
    queue = tmp_path / "queue"
    for folder in ("in", "control"):
        (queue / folder).mkdir(parents=True)
    celery = [python, "-m", "celery", "-A", "served:tasks"]
    worker = [
        *celery, "worker", "--pool", "prefork", "--concurrency", "2", "--max-tasks-per-child", "5", "--loglevel",
        "error", "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip
    variables = {"QUEUE_FOLDER": str(queue)}
    send = f"import served; [served.task.delay('/%d' % n) for n in range({REQUESTS})]"
    with Server(tmp_path, collector, [python, "-c", send], **variables) as sender:
        assert sender.process.wait(30) == 0, sender.log.read_text()
    with Server(tmp_path, collector, worker, C_FORCE_ROOT="1", **variables) as server:
        done = [queue / str(number) for number in range(REQUESTS)]
        eventually(lambda: all(file.exists() for file in done), 60)
        server.stop()
    assert len({file.read_text() for file in done}) > 2  # more processes than run at a time
    assert server.stored() == Counter(f"/{number}" for number in range(REQUESTS))
    assert set(collector.spans.values()) <= {1}
