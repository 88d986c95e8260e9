"""Everything by keyboard: a focus that can be seen, every control in reach, and the keys of the pages."""

from __future__ import annotations

import re

import pytest

from web.routes import ROUTES

pytestmark = pytest.mark.e2e

# Where the focus is: an element that the page can name, and whether anything shows that it is there.
_FOCUS = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element), box = element.getBoundingClientRect();
  const covered = document.querySelector('.bar')?.getBoundingClientRect().bottom || 0;
  return {
    at: [...document.querySelectorAll('*')].indexOf(element),
    name: `${element.tagName} ` +
      (element.getAttribute("href") || element.name || element.textContent.trim().slice(0, 40)),
    outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    // Below the bar that stays at the top, and inside the window.
    inView: box.bottom > 0 && box.top < innerHeight &&
      (element.closest('.bar, .side, .skip') !== null || box.bottom > covered),
  };
}"""
# Every control that a pointer reaches: drawn, enabled, and not a second way to a link beside it.
_CONTROLS = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary')]
  .filter((element) => element.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true}))
  .filter((element) => !element.disabled && element.type !== 'hidden' && element.getAttribute('aria-hidden') !== 'true')
  .map((element) => [...document.querySelectorAll('*')].indexOf(element))"""
_MOST = 400


def tab_through(page):
    """Presses Tab until the focus comes back; gives where it was, in order."""
    found = []
    for _ in range(_MOST):
        page.keyboard.press("Tab")
        focus = page.evaluate(_FOCUS)
        if focus is None or (found and focus["at"] == found[0]["at"]):
            return found
        found.append(focus)
    raise AssertionError(f"more than {_MOST} stops")


@pytest.mark.parametrize("route", ROUTES)
def test_each_control_is_reached_and_seen(example, route):
    with example.window(reduced_motion="reduce") as watched:
        page = watched.open(example.paths[route])
        stops = tab_through(page)
        assert "#main" in stops[0]["name"]
        reached = [stop["at"] for stop in stops]
        controls = page.evaluate(_CONTROLS)
        # Of radio buttons only one is a stop; there are none here.
        missed = page.evaluate(
            "(all) => all.map((at) => document.querySelectorAll('*')[at].outerHTML.slice(0, 200))",
            [at for at in controls if at not in reached],
        )
        assert missed == []
        assert [stop["name"] for stop in stops if not stop["outlined"]] == []
        assert [stop["name"] for stop in stops if not stop["inView"]] == []


def test_the_skip_link_leads_past_the_navigation(example):
    with example.window() as watched:
        page = watched.open("/findings")
        page.keyboard.press("Tab")
        assert page.locator(".skip").bounding_box()["y"] >= 0
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")


def test_the_keys_of_the_pages(example):
    with example.window() as watched:
        page = watched.open("/")
        for keys, address in (("gf", "/findings"), ("gr", "/runs"), ("gt", "/tools")):
            for key in keys:
                page.keyboard.press(key)
            page.wait_for_url(f"**{address}")
        page.goto(f"{watched.origin}/runs")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        first = page.locator("[data-row]").first
        assert first.evaluate("(row) => row.contains(document.activeElement)")
        page.keyboard.press("Enter")
        page.wait_for_url("**/t/*")
        page.keyboard.press("t")
        page.wait_for_url("**/timeline")
        page.keyboard.press("c")
        page.wait_for_url(re.compile(r"/t/[0-9a-f]{32}$"))
        page.keyboard.press("/")
        page.keyboard.type("parcel g f")
        assert page.url.endswith(page.url.rpartition("/")[2])
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=parcel*")
        page.locator("h1").click()
        page.keyboard.press("?")
        assert page.locator("dialog.keys").is_visible()
        page.keyboard.press("Escape")
        assert page.locator("dialog.keys").is_hidden()
        assert watched.problems() == []


def test_the_keys_can_be_switched_off(example):
    with example.window() as watched:
        page = watched.open("/")
        page.keyboard.press("?")
        page.locator("[data-keys-on]").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        page.keyboard.press("f")
        page.reload()
        page.keyboard.press("?")
        assert page.locator("dialog.keys").is_hidden()
        assert page.url.rstrip("/") == watched.origin


def test_a_finding_leads_to_its_note_and_back(example):
    with example.window(reduced_motion="reduce") as watched:
        page = watched.open(example.paths["/findings"])
        page.locator("main .title", has_text="git_log").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/findings/*")
        page.get_by_role("link", name="In conversation").press("Enter")
        page.wait_for_url("**/t/*")
        page.locator("a.number").first.press("Enter")
        note = page.url.rpartition("#")[2]
        assert page.locator(f"#{note}").bounding_box()["y"] >= 56, "the bar covers the note"
        page.locator(f"#{note} .note-head a").press("Enter")
        assert page.url.endswith(note.replace("f", "#m"))
