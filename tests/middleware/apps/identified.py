"""The same application in several frameworks: each answers with the identity that its code runs with."""

from __future__ import annotations

import json
import os

from cylestio_monitor import ASGIMiddleware, Identity, WSGIMiddleware
from cylestio_monitor.identity import current


def who(place: str) -> str:
    """The place and the identity there, as one line of JSON."""
    here = current()
    return json.dumps([place, here.user_id, list(here.roles), here.session_id, here.agent_id]) + "\n"


def identify_request(request):
    """The names in the headers of the request."""
    if request.headers.get("x-fails"):
        raise LookupError("no such token: " + request.headers["x-fails"])
    if "x-user" not in request.headers:
        return None
    roles = request.headers.get("x-roles", "").split()
    return Identity(user_id=request.headers["x-user"], roles=tuple(roles), session_id=request.headers.get("x-session"))


async def identify_request_later(request):
    """The same, as a coroutine."""
    import asyncio

    await asyncio.sleep(0)
    return identify_request(request)


IDENTIFY = identify_request_later if os.environ.get("IDENTIFY") == "async" else identify_request


def pieces():
    """A streamed body; what it holds open across its pieces stays as it was."""
    from cylestio_monitor import identify

    yield who("first").encode()
    with identify(agent_id="inner"):
        yield who("second").encode()
        yield who("third").encode()
    yield who("last").encode()


def make_flask():
    from flask import Flask, Response

    app = Flask("identified")

    @app.get("/")
    def index():
        return who("view")

    @app.get("/stream")
    def stream():
        return Response(pieces(), mimetype="text/plain")

    app.wsgi_app = WSGIMiddleware(app.wsgi_app, IDENTIFY)
    return app


def configure_django():
    import django
    from django.conf import settings
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path

    urls = [
        path("", lambda _: HttpResponse(who("view"))),
        path("stream", lambda _: StreamingHttpResponse(pieces())),
    ]
    settings.configure(SECRET_KEY="k", ALLOWED_HOSTS=["*"], ROOT_URLCONF=tuple(urls), MIDDLEWARE=[])
    django.setup()


def make_django():
    configure_django()
    from django.core.wsgi import get_wsgi_application

    return WSGIMiddleware(get_wsgi_application(), IDENTIFY)


def make_django_asgi():
    configure_django()
    from django.core.asgi import get_asgi_application

    return ASGIMiddleware(get_asgi_application(), IDENTIFY)
