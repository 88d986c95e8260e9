"""A store with something in it, and a browser that has logged in to its pages."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from cylestio_monitor import config
from cylestio_monitor.cli.start import example_agent
from cylestio_monitor.web.access.sessions import Sessions
from cylestio_monitor.web.app import create_app
from store.filling import Bench
from web.recording import recording

ORIGIN = "http://127.0.0.1:8765"
HOSTS = frozenset({"127.0.0.1:8765", "localhost:8765"})


class Browser:
    """A client of the application; `get` and `post` as a browser on one of its own pages sends them.

    Attributes:
        sessions: The sessions of the server.
        client: The client underneath.
    """

    def __init__(self, path, **settings):
        self.sessions = Sessions()
        loaded = config.load({}, overrides={"store": {"path": str(path)}, **settings})
        app = create_app(path, loaded, sessions=self.sessions, hosts=HOSTS)
        self.client = TestClient(app, base_url=ORIGIN, raise_server_exceptions=False, follow_redirects=False)

    def login(self):
        return self.client.get(f"/login/{self.sessions.new_link()}")

    def get(self, path, **headers):
        return self.client.get(path, headers=headers)

    def text(self, path):
        answer = self.get(path)
        assert answer.status_code == 200, answer.text[:2000]
        return answer.text

    @property
    def form_token(self):
        return self.sessions.form_token(self.client.cookies["cylestio"])

    def post(self, path, **fields):
        headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        return self.client.post(path, data={"form_token": self.form_token, **fields}, headers=headers)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for the compiled rules of the stores of a module."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def demo(tmp_path_factory, cache):
    """The path of a store with one run of the example agent."""
    path = tmp_path_factory.mktemp("demo") / "store.db"
    with recording(path, cache, agent_id="release-notes"):
        example_agent.run()
    return path


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "data" / "store.db")
    yield made
    made.close()


@contextmanager
def browsing(path, **settings):
    made = Browser(path, **settings)
    assert made.login().status_code == 303
    try:
        yield made
    finally:
        made.client.close()


@pytest.fixture
def browser(bench):
    """A browser that has logged in to the pages of `bench`."""
    with browsing(bench.path) as made:
        yield made
