"""The ASGI middleware under uvicorn: the identity holds for all that is done for a request, and for nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from cylestio_monitor import ASGIMiddleware, Identity, identify, tool
from cylestio_monitor.identity import NOBODY, current
from middleware.apps.identified import identify_request, identify_request_later, pieces, who
from middleware.conftest import ask, served

ADA = ["ada", ["admin", "staff"], "s-1", None]
HEADERS = {"x_user": "ada", "x_roles": "admin staff", "x_session": "s-1"}
done = []


@tool
def look_up(order):
    return order


async def view(request):
    look_up(7)
    return PlainTextResponse(who("view"))


def view_in_thread(request):
    return PlainTextResponse(who("thread pool"))


async def stream(request):
    async def parts():
        yield who("first")
        await asyncio.sleep(0.01)
        yield await asyncio.to_thread(who, "thread")
        yield who("last")

    return StreamingResponse(parts())


async def stream_in_thread(request):
    return StreamingResponse(pieces())


async def background(request):
    def later():
        thread = threading.Thread(target=contextvars.copy_context().run, args=(lambda: done.append(who("later")),))
        thread.start()
        thread.join()

    return PlainTextResponse(who("view"), background=BackgroundTask(later))


def application(identify):
    routes = [
        Route("/", view),
        Route("/pool", view_in_thread),
        Route("/stream", stream),
        Route("/pieces", stream_in_thread),
        Route("/background", background),
        Route("/address", lambda request: JSONResponse([current().session_id])),
    ]
    return Starlette(routes=routes, middleware=[Middleware(ASGIMiddleware, identify_request=identify)])


@pytest.fixture(scope="module", params=[identify_request, identify_request_later], ids=["function", "coroutine"])
def port(request):
    with served(application(request.param)) as port:
        yield port


@pytest.mark.parametrize(
    ("path", "places"),
    [
        ("/", ["view"]),
        ("/pool", ["thread pool"]),
        ("/stream", ["first", "thread", "last"]),
        ("/background", ["view"]),
    ],
)
def test_the_identity_holds_for_the_whole_request(port, path, places):
    assert ask(port, path, **HEADERS) == [[place, *ADA] for place in places]
    assert ask(port, path) == [[place, None, [], None, None] for place in places]


def test_the_identity_holds_in_a_streamed_body_that_runs_in_threads(port):
    assert [line[:4] for line in ask(port, "/pieces", **HEADERS)] == [
        [place, *ADA[:3]] for place in ("first", "second", "third", "last")
    ]


def test_the_identity_holds_in_what_runs_after_the_response(port):
    ask(port, "/background", x_user="eve")
    until = 200
    while not (lines := [json.loads(line) for line in done if "eve" in line]) and (until := until - 1):
        threading.Event().wait(0.05)
    assert lines == [["later", "eve", [], None, None]]
    done.clear()


def test_calls_carry_the_user_of_their_request(port, monitor):
    ask(port, "/", **HEADERS)
    attributes = monitor.span().attributes
    assert attributes["enduser.id"] == "ada"
    assert attributes["cylestio.session.id"] == "s-1"
    ask(port, "/")
    assert "enduser.id" not in monitor.span().attributes


def test_requests_at_the_same_time_do_not_see_each_other(port):
    answers = {}
    threads = [
        threading.Thread(target=lambda name=f"u{number}": answers.update({name: ask(port, "/stream", x_user=name)}))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 12
    for name, lines in answers.items():
        assert {line[1] for line in lines} == {name}


@pytest.mark.parametrize("kind", [identify_request, identify_request_later])
def test_a_callable_that_raises_makes_requests_anonymous_and_is_reported_once(caplog, kind):
    with caplog.at_level(logging.WARNING, "cylestio_monitor"), served(application(kind)) as port:
        for _ in range(3):
            assert ask(port, "/", x_fails="tok-123", **HEADERS) == [["view", None, [], None, None]]
        assert ask(port, "/", **HEADERS) == [["view", *ADA]]
    (record,) = [record for record in caplog.records if "anonymous" in record.getMessage()]
    assert "LookupError" in record.getMessage()
    assert "tok-123" not in caplog.text


@pytest.mark.parametrize("answer", ["ada", {"user_id": "ada"}, 7, Identity(user_id="ada", roles=3)])
def test_an_answer_that_is_no_identity_makes_the_request_anonymous(answer):
    with served(application(lambda request: answer)) as port:
        assert ask(port, "/") == [["view", None, [], None, None]]


def test_the_callable_sees_the_request():
    seen = []

    def look(request):
        seen.append(request)
        return Identity(session_id=request.client)

    with served(application(look)) as port:
        assert ask(port, "/address?x=1", X_Custom="a b") == [["127.0.0.1"]]
    (request,) = seen
    assert (request.method, request.path, request.headers["x-custom"]) == ("GET", "/address", "a b")
    assert request.native["query_string"] == b"x=1"


def test_a_repeated_header_and_a_websocket_are_read():
    async def app(scope, receive, send):
        seen.append(current().user_id)

    async def run():
        headers = [(b"X-User", b"a"), (b"x-user", b"b")]
        middleware = ASGIMiddleware(app, identify_request)
        await middleware({"type": "websocket", "headers": headers, "path": "/"}, None, None)
        await middleware({"type": "lifespan"}, None, None)

    seen = []
    asyncio.run(run())
    assert seen == ["a, b", None]


def test_the_user_of_a_block_around_the_server_is_no_user_of_its_requests():
    app = ASGIMiddleware(application(lambda _: None).router, lambda _: None)
    with identify(agent_id="shop", user_id="operator", session_id="start"):
        context = contextvars.copy_context()
    seen = []

    async def inner(scope, receive, send):
        seen.append(current())

    app.app = inner
    context.run(asyncio.run, app({"type": "http", "headers": []}, None, None))
    assert seen == [Identity(agent_id="shop")]


def test_what_the_application_raises_and_a_cancelled_identification_pass_through():
    async def broken(scope, receive, send):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(ASGIMiddleware(broken, lambda _: None)({"type": "http"}, None, None))

    async def hangs(request):
        await asyncio.sleep(60)

    async def run():
        task = asyncio.ensure_future(ASGIMiddleware(broken, hangs)({"type": "http"}, None, None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert current() == NOBODY
