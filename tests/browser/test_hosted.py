"""The pages that a sandbox hosts in the gateway's place: a person presses a button, and comes back to the shop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from playwright.sync_api import expect

from engine.core import Engine
from engine.dispatcher import Dispatcher
from engine.reloading import Files
from engine.sandbox import Material, Sandbox
from engine.seals import new_key
from engine.store.memory import MemoryStore

from .visits import Visit, look


@pytest.fixture(scope="module")
def material() -> Material:
    return Material.read()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes at the end of the test what was opened."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("name", "data", "button", "heading"),
    [
        (
            "create_payment_intent",
            {"amount": 2050, "currency": "usd", "confirmation_token": "ctoken_authenticationRequired", "confirm": True},
            "Yes, it is me",
            "Is it you who pays?",
        ),
        (
            "create_checkout_session",
            {"line_items": [{"price_data": {"currency": "jpy", "unit_amount": 700, "product_data": {"name": "Tea"}}}]},
            "Pay with Visa 4242",
            "Pay",
        ),
        ("create_account_link", {}, "Fill in all that is missing", "A connected account"),
    ],
)
def test_a_hosted_page_is_for_everybody(
    visit: Callable[..., Visit],
    serve: Callable[[Any], str],
    material: Material,
    opened: ExitStack,
    name: str,
    data: dict[str, Any],
    button: str,
    heading: str,
) -> None:
    """In the light and in the dark, on a telephone too; its button leads back, and then there is nothing left to do."""
    box = Sandbox(material, gateways=["stripe"])
    at = serve(box)
    environment = {**box.secrets, "CALLSHEET_ENCRYPTION_KEY": new_key(), "CALLSHEET_SANDBOX": at}
    files = Files(None, {"*": at}, reload=False)
    dispatcher = opened.enter_context(closing(Dispatcher()))
    engine = Engine(store=MemoryStore(), environment=environment, files=files, dispatcher=dispatcher)
    back = f"{at}/back"
    if name == "create_account_link":
        account = engine.send("stripe/create_account", {"country": "US", "email": "bob@example.com"}).response["id"]
        data = {"account_id": account, "refresh_url": back, "return_url": back}
    else:
        data |= {"return_url": back} if "confirm" in data else {"success_url": back}
    page = visit().open(str(engine.send(f"stripe/{name}", data).redirect))
    address = page.url
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    if "amount" in data:
        expect(page.get_by_text("20.50 USD")).to_be_visible()
    look(page, f"hosted-{name}")
    page.get_by_role("button", name=button).click()
    expect(page).to_have_url(re.compile(f"{re.escape(back)}.*"))
    page.goto(address)
    expect(page.get_by_role("button", name=button)).to_have_count(0)
