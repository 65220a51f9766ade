"""One Chromium for all tests of pages, and a fresh session of it for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from engine.sandbox.serving import Served

from .chromium import ARGUMENTS, found
from .visits import Visit

HERE = Path(__file__).parent
PATIENCE = 15_000  # milliseconds, for machines that do more than this

expect.set_options(timeout=PATIENCE)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder before any is chosen by its mark."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser. `python -m tests` installs it where it is missing."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, serve: Callable[[Any], str]) -> Iterator[Callable[..., Visit]]:
    """Begin a session: `visit()`, or `visit(stubs={"https://js.stripe.com/": SCRIPT}, **options of new_context)`.

    At the end of the test no session has asked for anything elsewhere, and no page did anything wrong.
    """
    del serve  # a page that still asks for something must be closed before its server is
    visits: list[Visit] = []

    def begin(stubs: dict[str, str] | None = None, **options: Any) -> Visit:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(PATIENCE)
        visits.append(Visit(context, stubs or {}))
        return visits[-1]

    yield begin
    for one in visits:
        one.context.close()
    assert [one.strays for one in visits if one.strays] == []
    assert [one.wrongs for one in visits if one.wrongs] == []


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Serve a WSGI app until the test ends; gives its address."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(Served(app)).url
