"""Each page in a real browser: nothing refused by the content policy, nothing executed, accessible, and no wider than
its window, in both themes and down to 320 pixels."""

from __future__ import annotations

import pytest

from browser.chromium import WIDTHS
from web.routes import ROUTES

pytestmark = pytest.mark.e2e


def look(watched, path, *, statuses=frozenset({200}), themes=("light", "dark")):
    """Loads a page and looks at it in each theme and width; gives what is wrong with it."""
    page = watched.page
    wrong = []
    for theme in themes:
        page.set_viewport_size(dict(zip(("width", "height"), WIDTHS["desktop"], strict=True)))
        page.emulate_media(color_scheme=theme)
        answer = page.goto(watched.origin + path, wait_until="load")
        assert answer.status in statuses, (path, answer.status, page.inner_text("main")[:300])
        # The theme changes colours and nothing else.
        wrong += [f"{theme}: {one}" for one in watched.axe(*(() if theme == "light" else ("color-contrast",)))]
    for size, (width, height) in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        wrong += [f"{size}: too wide: {one}" for one in watched.overflow()]
        if size == "phone" and len(themes) > 1:
            wrong += [f"{size}: {one}" for one in watched.axe()]
    return wrong + watched.problems()


def test_every_page_is_linked_from_another(example):
    assert set(ROUTES) == set(example.paths)


@pytest.mark.parametrize("route", ROUTES)
def test_the_page_is_sound(example, route):
    with example.window() as watched:
        assert look(watched, example.paths[route]) == []


@pytest.mark.parametrize("route", ROUTES)
def test_hostile_content_stays_text(hostile, route):
    with hostile.window() as watched:
        # Ids that the attacker wrote lead nowhere.
        themes = ("light", "dark") if hostile.variant == "markup" else ("light",)
        assert look(watched, hostile.paths.get(route, route), statuses={200, 404}, themes=themes) == []
        assert "54439" not in watched.page.content()


@pytest.mark.parametrize("route", ROUTES)
def test_the_page_works_without_script(example, route):
    with example.window(java_script_enabled=False) as watched:
        page = watched.open(example.paths[route])
        assert page.locator("h1").count() == 1
        assert page.locator("main").inner_text().strip()
        # What only works with a script is not offered.
        assert page.locator(".only-script:visible").count() == 0
