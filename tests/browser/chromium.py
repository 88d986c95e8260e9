"""Chromium under Playwright: found or installed, driven from an environment of its own, and pages that are watched."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from e2e import programs
from peers.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WIDTHS = {"desktop": (1440, 900), "phone": (390, 844), "narrow": (320, 640)}
"""Sizes of the window: a desk, a phone, and the narrowest that content must reflow to."""

# What runs before the scripts of a page: hostile content calls `alert` and its like, or reports a refusal.
_WATCH = """
window.__seen = [];
for (const name of ['alert', 'confirm', 'prompt', 'print'])
  window[name] = () => { window.__seen.push('executed: ' + name); };
document.addEventListener('securitypolicyviolation', (event) => {
  window.__seen.push('policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample);
});
"""
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def packages() -> Path:
    """The folder of the packages that only these tests use; imports find them from here on."""
    (folder,) = (environment("browser").parents[1] / "lib").glob("python3*/site-packages")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: what both environments have comes from that of the suite
    return folder


@contextmanager
def running() -> Iterator[Any]:
    """The browser, Debian's Chromium without a window."""
    program = programs.installed("chromium")
    packages()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root, as which CI runs, can use no sandbox; the pages are our own.
        arguments = ["--no-sandbox", "--force-color-profile=srgb"]
        yield playwright.chromium.launch(executable_path=program, args=arguments)


class Watched:
    """A page of the browser that remembers whatever a sound page never does.

    Attributes:
        page: The page of Playwright.
        requests: Addresses that were loaded.
    """

    def __init__(self, context: Any, origin: str) -> None:
        self.origin = origin
        self.page = context.new_page()
        self.requests: list[str] = []
        self._problems: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._problems.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", self._response)

    def _console(self, message: Any) -> None:
        # The responses themselves tell it, with their status and address.
        if not message.text.startswith("Failed to load resource"):
            self._problems.append(f"console {message.type}: {message.text}")

    def _response(self, response: Any) -> None:
        if response.status >= 400 and response.request.resource_type != "document":
            self._problems.append(f"{response.status} {response.url}")

    def _dialog(self, dialog: Any) -> None:
        self._problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str, status: int = 200) -> Any:
        """Loads a page and gives Playwright's page."""
        # Not "networkidle": the stream of live counts never ends.
        answer = self.page.goto(self.origin + path, wait_until="load")
        assert answer.status == status, (path, answer.status, self.page.inner_text("body")[:500])
        return self.page

    def problems(self) -> list[str]:
        """Messages of the console, refusals of the content policy, scripts that ran, and foreign addresses."""
        seen = self.page.evaluate("window.__seen || []") if self.page.url.startswith(self.origin) else []
        foreign = [url for url in self.requests if not url.startswith((self.origin, "about:"))]
        return [*self._problems, *seen, *(f"foreign address: {url}" for url in foreign)]

    def overflow(self) -> list[str]:
        """The elements that make the page wider than its window; empty where nothing does."""
        return self.page.evaluate(
            """() => {
              const width = document.documentElement.clientWidth;
              if (document.documentElement.scrollWidth <= width) return [];
              return [...document.querySelectorAll('body *')]
                .filter((element) => element.getBoundingClientRect().right > width + 1)
                .slice(0, 5)
                .map((element) => `${element.tagName}.${element.getAttribute('class')} ` +
                  `${Math.round(element.getBoundingClientRect().right)} > ${width}`);
            }"""
        )

    def axe(self, *rules: str) -> list[str]:
        """The serious and critical findings of axe about the page.

        Args:
            rules: Ids of rules of axe; all rules of WCAG 2.2 AA without one.
        """
        script = packages() / "axe_playwright_python" / "axe.min.js"
        # In the browser's own frame of the page: a script element would be one that the content policy refuses.
        self.page.evaluate(script.read_text("utf-8"))
        found = self.page.evaluate(
            "(runOnly) => axe.run(document, {runOnly, resultTypes: ['violations']})",
            {"type": "rule" if rules else "tag", "values": list(rules) or _TAGS},
        )
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"][:3]
        ]


@contextmanager
def watched(browser: Any, origin: str, state: Any, *, size: str = "desktop", **options: Any) -> Iterator[Watched]:
    """A page in a context of its own, with the session of `state`.

    Args:
        browser: The browser.
        origin: Of the server.
        state: Cookies and storage, as Playwright keeps them; `None` for none.
        size: One of `WIDTHS`.
        options: More options of the context, such as `color_scheme`.
    """
    width, height = WIDTHS[size]
    viewport = {"width": width, "height": height}
    context = browser.new_context(viewport=viewport, storage_state=state, timezone_id="UTC", **options)
    context.set_default_timeout(20_000)
    context.add_init_script(_WATCH)
    try:
        yield Watched(context, origin)
    finally:
        context.close()
