"""One person at a page: what may be fetched, what a page must not do wrong, and pictures of it.

Hides: how Playwright is told that nothing leaves this machine, and how axe-core is put into a page that allows no
script but its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Route, expect

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
PICTURES = "CALLSHEET_SCREENSHOTS"  # the folder they are written to
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (1280, 360)
LOCAL = {"127.0.0.1", "localhost"}

# Without preload: it would fetch stylesheets, which a page that was opened as a file may not.
_ASK_AXE = "only => axe.run({resultTypes: ['violations'], preload: false, ...only}).then(found => found.violations)"
COLOURS = ["color-contrast", "link-in-text-block"]  # all that another scheme can do wrong


@dataclass
class Visit:
    """A fresh session of the browser.

    `stubs` stand in for pages elsewhere: the beginning of a URL → the script that is answered. Any other request that
    would leave this machine is stopped, and `strays` names it. `wrongs` are errors of scripts, and what the page's own
    Content-Security-Policy refused it.
    """

    context: BrowserContext
    stubs: Mapping[str, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.route("**/*", self._guard)
        self.context.on("weberror", lambda error: self.wrongs.append(str(error.error)))
        self.context.on("console", self._listen)

    def open(self, url: str) -> Page:
        """A new page, at `url`, with its test cards: where they come in the midst of a click, the button moves away."""
        page = self.context.new_page()
        page.goto(url)
        expect(page.locator("[data-test-cards] [data-callsheet-frame]:empty")).to_have_count(0)
        return page

    def _guard(self, route: Route) -> None:
        url = route.request.url
        stub = next((body for start, body in self.stubs.items() if url.startswith(start)), None)
        if stub is not None:
            route.fulfill(body=stub, content_type="text/javascript")
        elif urlsplit(url).hostname in LOCAL or urlsplit(url).scheme == "file":
            route.continue_()
        else:
            self.strays.append(url)
            route.abort()

    def _listen(self, message: ConsoleMessage) -> None:
        # A refused form is answered with 4xx, which Chromium also calls an error.
        if message.type == "error" and not message.text.startswith("Failed to load resource: the server responded"):
            self.wrongs.append(message.text)


def look(page: Page, name: str) -> None:
    """Demand of a page that everybody can use it, in the light and in the dark, on a telephone too; take its pictures.

    They are `name-light-1280.png` and so on, in the folder that CALLSHEET_SCREENSHOTS names, else in `screenshots/`.
    """
    folder = Path(os.environ.get(PICTURES) or "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide on a screen of {width}"
            page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
        assert violations(page, rules=COLOURS if scheme == "dark" else None) == [], (name, scheme)
    page.emulate_media(color_scheme="null", reduced_motion="null")
    page.set_viewport_size(before or {"width": 1280, "height": 800})


def violations(page: Page, rules: list[str] | None = None) -> list[str]:
    """What axe-core calls serious or critical, by all its rules or by `rules`; one line each with the element."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    return [
        f"{one['impact']}: {one['help']}: {node['html']}"
        for one in page.evaluate(_ASK_AXE, {"runOnly": rules} if rules else {})
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]
