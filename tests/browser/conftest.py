"""The browser, and the web UI over two stores: an example of a week's work, and one that an attacker wrote."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from browser import chromium, example_store
from browser.served import Served, served
from store.filling import Bench
from web import hostile_store
from web.routes import ROUTES, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_PAGES = 150
_SEVERAL = {"/t/{trace}"}
"""Pages of a kind of which one does not link to all that another links to."""


def pytest_addoption(parser):
    parser.addoption("--screenshots", metavar="FOLDER", help="write the pictures of the documentation")


class OpenSite:
    """A server that the browser is logged in to.

    Attributes:
        served: The server.
        path: The database.
        variant: How the content is hostile, where it is.
    """

    def __init__(self, browser: Any, server: Served, variant: str = "", ids: Mapping[str, str] | None = None) -> None:
        self.served = server
        self.path = server.path
        self.variant = variant
        self._browser = browser
        self._state = server.login(browser)
        self._ids = ids

    def window(self, **options: Any) -> Any:
        """Opens a page that is watched, in a context of its own."""
        return chromium.watched(self._browser, self.served.origin, self._state, **options)

    @cached_property
    def paths(self) -> dict[str, str]:
        """A path of each route that some page links to, and of each whose ids are known."""
        found = linked(self._browser, self.served.origin, self._state)
        if self._ids is None:
            return found
        return {**{route: path_of(route, self._ids) for route in ROUTES if "{" in route}, **found}


@pytest.fixture(scope="session")
def browser():
    with chromium.running() as running:
        yield running


@contextmanager
def opened(browser, path, variant="", ids=None, **variables):
    with served(path, variables=variables) as server:
        yield OpenSite(browser, server, variant, ids)


@contextmanager
def week(browser, folder):
    """The web UI over a week's work of three agents, up to now, in a folder."""
    path = folder / "data" / "cylestio.db"
    with example_store.clock(time.time_ns()) as moment:
        example_store.fill(path, folder / "cache", moment)
    with opened(browser, path, CYLESTIO_POLICY=str(path.with_name("policy.yaml"))) as site:
        yield site


def linked(browser, origin, state):
    """A path of each route, found by following the links of the pages as they are without script."""
    context = browser.new_context(storage_state=state)
    waiting, seen, visited, found = ["/runs", "/search?q=alert", "/"], set(), 0, {}
    try:
        while waiting and visited < _MOST_PAGES and len(found) < len(ROUTES):
            path = waiting.pop(0)
            route = route_of(path)
            if not route or (route in found and route not in _SEVERAL):
                continue
            visited += 1
            answer = context.request.get(origin + path)
            if not answer.ok:
                continue
            found.setdefault(route, path)
            for link in re.findall(r'href="([^"#]+)', answer.text()):
                target = link.replace("&amp;", "&")
                target = path.partition("?")[0] + target if target.startswith("?") else target
                if target.startswith("/") and target not in seen:
                    seen.add(target)
                    # A page of a kind that was not seen yet comes first.
                    waiting.insert(0 if route_of(target) not in found else len(waiting), target)
    finally:
        context.close()
    return found


def route_of(path):
    plain = path.partition("?")[0]
    kinds = {route: re.sub(r"{\w+:path}", ".+", route) for route in ROUTES}
    matching = [route for route, kind in kinds.items() if re.fullmatch(re.sub(r"{\w+}", "[^/]+", kind), plain)]
    return min(matching, key=lambda route: route.count("{"), default="")


@pytest.fixture(scope="session")
def example(browser, tmp_path_factory):
    """A week's work of three agents, up to now."""
    with week(browser, tmp_path_factory.mktemp("example")) as site:
        yield site


@pytest.fixture(scope="session", params=hostile_store.VARIANTS)
def hostile(request, browser, tmp_path_factory):
    """A store whose every text was written by an attacker."""
    path = tmp_path_factory.mktemp("hostile") / "data" / "cylestio.db"
    bench = Bench(path)
    try:
        ids = hostile_store.fill(bench, request.param)
    finally:
        bench.close()
    with opened(browser, path, request.param, ids) as site:
        yield site
