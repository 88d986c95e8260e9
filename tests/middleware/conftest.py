from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import closing, contextmanager

import pytest


def free_port():
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ask(port, path, **headers):
    """The lines of the answer, each as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, body
        return [json.loads(line) for line in body.splitlines()]
    finally:
        connection.close()


@contextmanager
def served(app, lifespan="off"):
    """The port of a real uvicorn in a thread of this process."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, port=free_port(), log_level="error", ws="none", lifespan=lifespan, access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield server.config.port
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def callers(monitor):
    """Runs with the callers of this machine trusted, or others."""

    def trust(*callers):
        monitor.configure(identity={"trusted_callers": list(callers)})
        return monitor

    return trust
