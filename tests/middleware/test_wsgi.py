"""The WSGI middleware: a body has the identity of its request, under wsgiref, gunicorn, Flask and Django."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest

from cylestio_monitor import Identity, WSGIMiddleware, identify, tool
from cylestio_monitor.identity import NOBODY, current
from middleware.apps.identified import identify_request, identify_request_later, pieces, who
from middleware.conftest import ask, free_port
from peers.environment import ROOT, environment

APPS = Path(__file__).parent / "apps"
ADA = ["ada", ["admin", "staff"], "s-1"]
HEADERS = {"HTTP_X_USER": "ada", "HTTP_X_ROLES": "admin staff", "HTTP_X_SESSION": "s-1"}


def run(app, **environ):
    """The body as a server of the standard library reads it."""
    setup_testing_defaults(environ)
    out = io.BytesIO()
    SimpleHandler(io.BytesIO(), out, io.StringIO(), environ).run(app)
    return [json.loads(line) for line in out.getvalue().partition(b"\r\n\r\n")[2].splitlines()]


def streaming(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return pieces()


@tool
def look_up(order):
    return order


@pytest.mark.parametrize("kind", [identify_request, identify_request_later])
def test_every_piece_of_a_body_has_the_identity_and_keeps_its_own_blocks(kind):
    inner = [["second", *ADA, "inner"], ["third", *ADA, "inner"]]
    lines = run(WSGIMiddleware(streaming, kind), **HEADERS)
    assert lines == [["first", *ADA, None], *inner, ["last", *ADA, None]]
    assert current() == NOBODY


def test_calls_in_a_streamed_body_carry_the_user(monitor):
    def app(environ, start_response):
        start_response("200 OK", [])

        def body():
            look_up(7)
            yield b"[]\n"

        return body()

    run(WSGIMiddleware(app, identify_request), **HEADERS)
    assert monitor.span().attributes["enduser.id"] == "ada"


def test_a_coroutine_is_awaited_also_where_a_loop_runs_in_the_thread():
    async def inside_a_loop():
        return run(WSGIMiddleware(streaming, identify_request_later), **HEADERS)[0]

    assert asyncio.run(inside_a_loop()) == ["first", *ADA, None]


async def _fails(request):
    raise OSError("no directory")


@pytest.mark.parametrize("broken", [lambda _: 1 / 0, lambda _: "ada", _fails])
def test_a_callable_that_fails_never_breaks_the_request(broken, caplog):
    app = WSGIMiddleware(streaming, broken)
    for _ in range(2):
        assert run(app, **HEADERS)[0] == ["first", None, [], None, None]
    assert sum("anonymous" in record.getMessage() for record in caplog.records) == 1


def test_bodies_without_code_are_the_servers_own():
    body = [b"[]\n"]
    app = WSGIMiddleware(lambda environ, start_response: body, identify_request)
    assert app({}, None) is body
    file = FileWrapper(io.BytesIO(b"x"))
    app = WSGIMiddleware(lambda environ, start_response: file, identify_request)
    assert app({"wsgi.file_wrapper": FileWrapper}, None) is file


def test_a_body_is_closed_with_the_identity_also_by_another_thread():
    class Body:
        def __iter__(self):
            return self

        def __next__(self):
            entered.set()
            assert release.wait(20)
            return b""

        def close(self):
            closed.append(current().user_id)

    entered, release, closed = threading.Event(), threading.Event(), []
    body = WSGIMiddleware(lambda environ, start_response: Body(), identify_request)(dict(HEADERS), None)
    thread = threading.Thread(target=lambda: next(iter(body)))
    thread.start()
    assert entered.wait(20)
    body.close()
    release.set()
    thread.join(20)
    assert closed == ["ada"]


def test_the_agent_around_the_server_stays_and_a_user_does_not():
    app = WSGIMiddleware(lambda environ, start_response: [who("here").encode()], lambda _: Identity(user_id="ada"))
    with identify(agent_id="shop", user_id="operator", session_id="start", roles=["root"]):
        assert json.loads(app({}, None)[0]) == ["here", "ada", [], None, "shop"]
        assert current().user_id == "operator"


SERVED = {
    "flask": ["gunicorn", "--workers", "1", "identified:make_flask()"],
    "flask, threads": ["gunicorn", "--workers", "1", "--threads", "4", "identified:make_flask()"],
    "django": ["gunicorn", "--workers", "1", "identified:make_django()"],
    "django, asgi": ["uvicorn", "--factory", "identified:make_django_asgi"],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["function", "async"])
@pytest.mark.parametrize("name", SERVED)
def test_frameworks_under_their_servers(tmp_path, name, kind):
    port = free_port()
    module, *words = SERVED[name]
    place = ["--bind", f"127.0.0.1:{port}"] if module == "gunicorn" else ["--port", str(port), "--log-level", "error"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CYLESTIO_", "COV"))}
    path = os.pathsep.join([str(ROOT / "src"), str(APPS)])
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [environment("servers"), "-m", module, *place, *words],
            cwd=tmp_path,
            env={**inherited, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "IDENTIFY": kind},
            stdout=out,
            stderr=out,
        )
    try:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            try:
                ask(port, "/")
                break
            except OSError:
                time.sleep(0.05)
        headers = {"x_user": "ada", "x_roles": "admin staff", "x_session": "s-1"}
        assert ask(port, "/", **headers) == [["view", *ADA, None]]
        assert ask(port, "/") == [["view", None, [], None, None]]
        assert ask(port, "/", x_fails="1", **headers) == [["view", None, [], None, None]]
        lines = ask(port, "/stream", **headers)
        assert [line[:4] for line in lines] == [[where, *ADA] for where in ("first", "second", "third", "last")]
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in log.read_text()


def test_the_import_brings_no_web_framework():
    program = (
        "import sys, cylestio_monitor.middleware; print(sorted({'starlette', 'flask', 'django'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
