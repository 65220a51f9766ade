"""The reference as somebody reads it who opened its folder: no server is there, and nothing may be fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from engine.catalog import load, shipped
from engine.reference import Site, write
from engine.store.memory import MemoryStore
from engine.web import Callsheet

from .visits import Visit, look

PAGES = (
    "index",
    "gateways/stripe",
    "request_types/stripe/create_account",
    "request_types/stripe/create_refund",
    "events/stripe/charge.refunded",
    "records/payment",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference of the shipped files."""
    made = tmp_path_factory.mktemp("reference")
    write(Site(load([shipped()]), [shipped()]), made, iter)
    return made


@pytest.fixture
def opened(visit: Callable[..., Visit], folder: Path) -> Iterator[Page]:
    """Its first page. Whatever is asked for afterwards lies in the folder."""
    begun, asked = visit(), list[str]()
    begun.context.on("request", lambda request: asked.append(request.url))
    yield begun.open((folder / "index.html").as_uri())
    assert [url for url in asked if not url.startswith(f"{folder.as_uri()}/") and url != "data:,"] == []


@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_read_it(opened: Page, folder: Path, name: str) -> None:
    """In the light and in the dark, on a telephone too, with what is folded up unfolded."""
    opened.goto((folder / f"{name}.html").as_uri())
    for part in opened.locator("summary").all():
        part.click()
    look(opened, f"reference-{name.replace('/', '-')}")


def test_a_search_needs_no_mouse(opened: Page) -> None:
    """A slash begins it, arrows go through what is found, Enter opens it."""
    opened.keyboard.press("/")
    opened.keyboard.type("whole or in part")
    expect(opened.get_by_role("status")).to_have_text("1 found")
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("status")).to_be_empty()
    opened.keyboard.type("refund charge")
    links = opened.locator("#results a")
    expect(links.first).to_have_text("stripe/charge.refunded")
    opened.keyboard.press("ArrowDown")
    expect(links.first).to_be_focused()
    opened.keyboard.press("ArrowDown")
    expect(links.nth(1)).to_be_focused()
    opened.keyboard.press("ArrowUp")
    look(opened, "reference-search")
    opened.keyboard.press("Enter")
    expect(opened.get_by_role("heading", level=1)).to_have_text("stripe/charge.refunded")


def test_a_search_goes_on_from_any_page(opened: Page, folder: Path) -> None:
    """By the name of a parameter too; Enter in the box opens the best one; what is not there is said."""
    opened.goto((folder / "events/stripe/charge.refunded.html").as_uri())
    box = opened.get_by_role("searchbox")
    box.fill("no such thing at all")
    expect(opened.get_by_role("status")).to_have_text("Nothing found")
    box.fill("stripe")
    expect(opened.get_by_role("status")).to_contain_text("found, the first 20 of them here")
    box.fill("error_on_requires_action")
    box.press("Enter")
    expect(opened.get_by_role("heading", level=1)).to_have_text("stripe/create_payment_intent")


def test_a_host_serves_it_too(visit: Callable[..., Visit], serve: Callable[[Flask], str], tmp_path: Path) -> None:
    """Under the host's own policy, in development."""
    app = Flask("shop", root_path=str(tmp_path))
    app.debug = True
    Callsheet(app, worker=False, store=MemoryStore(), environment={"CALLSHEET_SECRET_KEY": "x" * 32})
    page = visit().open(f"{serve(app)}/callsheet/")
    page.get_by_role("link", name="The reference of these files").click()
    box = page.get_by_role("searchbox")
    box.fill("login_link")
    box.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("stripe/create_login_link")
    look(page, "reference-served")
