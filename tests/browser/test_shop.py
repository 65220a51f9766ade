"""The example shop, clicked through in a real browser from an empty database to the last record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Locator, Page, expect
from shop_host import ShopHost, shop_host

from engine.store.memory import MemoryStore
from engine.web import Callsheet

from .visits import Visit, look

Begin = Callable[..., Visit]


@pytest.fixture
def shop(tmp_path: Path, serve: Callable[[Flask], str]) -> Iterator[ShopHost]:
    with shop_host(tmp_path, serve) as host:
        yield host


def card(page: Page, name: str) -> None:
    """Choose a test card by its beginning."""
    page.get_by_role("radio", name=re.compile(f"^{name}")).first.check()


def said(page: Page, text: str) -> None:
    """The page says so, above everything else."""
    expect(page.locator("p.said").first).to_have_text(text)


def ledger(page: Page) -> Locator:
    """What the page's list has, newest first."""
    return page.locator(".ledger li")


# Before anything is bought --------------------------------------------------------------------------------------------


def test_a_developer_finds_the_shop(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(shop.address.removesuffix("/shop") + "/")
    look(page, "overview")
    page.get_by_role("link", name="The example shop").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Try it: four stories")


def test_a_shop_without_keys_says_what_it_needs(tmp_path: Path, visit: Begin, serve: Callable[[Flask], str]) -> None:
    app = Flask("shop", root_path=str(tmp_path))
    app.debug = True
    Callsheet(app, worker=False, store=MemoryStore(), environment={"CALLSHEET_SECRET_KEY": "x" * 32})
    page = visit().open(f"{serve(app)}/callsheet/shop/charge")
    expect(page.get_by_role("alert")).to_contain_text("STRIPE_PUBLISHABLE_KEY: is not set")
    look(page, "shop-unable")


# Charge ---------------------------------------------------------------------------------------------------------------


def test_a_payment_is_made_found_and_given_back(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/")
    look(page, "shop-index")
    page.get_by_role("link", name="Charge a card").first.click()
    expect(ledger(page)).to_have_text("Nobody has bought any yet.")
    expect(page.get_by_role("radio", name="Visa debit")).to_be_visible()
    look(page, "shop-charge-empty")
    page.get_by_role("button", name="Pay 5.00 USD").click()
    said(page, "You have paid.")
    expect(ledger(page).first).to_contain_text("5.00 USD paid")
    (payment,) = shop.find("payment")
    assert (payment["state"], payment["amount_cents"], payment["external_id"]) == ("paid", 500, "tea")
    look(page, "shop-charge-paid")

    page.get_by_role("button", name="Refund 5.00 USD").click()
    said(page, "The payment was refunded.")
    expect(ledger(page).first).to_contain_text("5.00 USD refunded")
    expect(page.get_by_role("button", name="Refund")).to_have_count(0)
    look(page, "shop-charge-refunded")
    shop.settled()
    (refund,) = shop.find("refund")
    assert (refund["state"], refund["amount_cents"], refund["payment_id"]) == ("succeeded", 500, payment.id)
    assert shop.find("payment")[0]["state"] == "refunded"


def test_a_payment_is_looked_into_and_refunded_in_the_console(shop: ShopHost, visit: Begin) -> None:
    """Every page leads on to the next: the record, the call that made it, what can be done, and what came of that."""
    page = visit().open(f"{shop.address}/charge")
    page.get_by_role("button", name="Pay 5.00 USD").click()
    said(page, "You have paid.")
    shop.settled()
    page.get_by_role("link", name="See it in the console").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment paid")
    look(page, "console-payment")
    page.get_by_role("region", name="What changed it").get_by_role("link", name="stripe/create_payment").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("stripe/create_payment succeeded")
    page.get_by_role("region", name="What it changed").get_by_role("link", name="payment").click()
    page.get_by_role("region", name="What can be done with it").get_by_role("link", name="Give back a payment").click()
    (payment,) = shop.find("payment")
    expect(page.get_by_label(re.compile("^charge"))).to_have_value(payment["gateway_id"])
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("stripe/create_refund succeeded")
    page.get_by_role("region", name="What it changed").get_by_role("link", name="payment").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment refunded")
    expect(page.get_by_role("region", name="Records that name it").get_by_role("link", name="refund")).to_be_visible()
    expect(page.get_by_role("link", name="Give back a payment")).to_have_count(0)
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Example shop").click()
    page.get_by_role("link", name="Charge a card").first.click()
    expect(ledger(page).first).to_contain_text("5.00 USD refunded")


def test_a_declined_payment_leads_to_its_call(shop: ShopHost, visit: Begin) -> None:
    """From the form that says so, inside the shop still, to what was sent and answered."""
    page = visit().open(f"{shop.address}/charge")
    card(page, "Declined for insufficient funds")
    page.get_by_role("button", name="Pay 5.00 USD").click()
    expect(page.get_by_role("alert").first).to_have_text("Your card has insufficient funds.")
    expect(page.get_by_role("navigation", name="Stories").get_by_role("link", name="Charge a card")).to_be_visible()
    look(page, "shop-charge-declined")
    page.get_by_role("link", name="See the call in the console").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("stripe/create_payment declined")
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("a refusal: Your card has insufficient funds.")
    look(page, "console-call-declined")
    page.go_back()
    page.get_by_role("link", name="Back to the page").click()
    expect(ledger(page).first).to_contain_text("5.00 USD failed")


def test_a_payment_on_the_gateways_own_page_comes_by_its_event(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/charge")
    page.get_by_text(re.compile("^Pay on the gateway.s own page$")).click()
    page.get_by_role("button", name="Go to the payment page").click()
    pay = page.get_by_role("button", name="Pay with Visa 4242")
    expect(pay).to_be_visible()
    look(page, "hosted-pay")
    pay.click()
    page.wait_for_url(f"{shop.address}/charge")
    shop.settled()
    page.reload()
    expect(page.get_by_role("heading", name=re.compile("On the gateway.s page"))).to_be_visible()
    expect(ledger(page).last).to_contain_text("5.00 USD paid")
    (session,) = shop.find("checkout_session")
    assert (session["state"], session["payment_status"]) == ("complete", "paid")
    assert shop.find("payment", payment_intent=session["payment_intent"])[0]["state"] == "paid"


# Customer -------------------------------------------------------------------------------------------------------------


def test_a_card_is_kept_pays_by_a_click_and_by_a_script_and_goes(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/customer")
    look(page, "shop-customer-empty")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_role("button", name="Save card").click()
    said(page, "Your card is saved.")
    expect(ledger(page).first).to_contain_text("Visa ending in 4242")
    page.get_by_role("button", name="Pay 5.00 USD").click()
    said(page, "You have paid.")
    page.get_by_role("button", name="Pay 10.00 USD by a script").click()
    said(page, "You have paid.")
    expect(page.locator(".ledger ul").last).to_contain_text("10.00 USD paid")
    look(page, "shop-customer")
    assert [(one["amount_cents"], one["state"]) for one in shop.find("payment")] == [(500, "paid"), (1000, "paid")]
    (kept,) = shop.find("credit_card")
    assert {one["credit_card_id"] for one in shop.find("payment")} == {kept.id}
    page.get_by_role("button", name="Remove card").click()
    said(page, "The card was removed.")
    expect(ledger(page).first).to_have_text("No card is kept.")
    assert shop.find("credit_card") == []


def test_a_card_that_is_declined_says_so_and_can_still_be_removed(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/customer")
    card(page, "Can be kept and is declined")
    page.get_by_role("button", name="Save card").click()
    expect(ledger(page).first).to_contain_text("Visa ending in 0341")
    page.get_by_role("button", name="Pay 5.00 USD").click()
    said(page, "Your card was declined.")
    page.get_by_role("button", name="Pay 10.00 USD by a script").click()
    expect(page.locator(".ledger ul").last).to_contain_text("10.00 USD failed")
    said(page, "Your card was declined.")
    page.get_by_role("button", name="Remove card").click()
    said(page, "The card was removed.")
    assert (shop.find("credit_card"), {one["state"] for one in shop.find("payment")}) == ([], {"failed"})


def test_another_card_stands_behind_its_button(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/customer")
    page.get_by_role("button", name="Save card").click()
    page.get_by_role("button", name="Add another card").click()
    card(page, "Mastercard")
    page.get_by_role("button", name="Add card").click()
    expect(ledger(page).first).to_contain_text("MasterCard ending in 4444")
    assert [one["last4"] for one in shop.find("credit_card")] == ["4242", "4444"]


# Elements -------------------------------------------------------------------------------------------------------------


def test_an_amount_is_held_captured_and_refunded(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/elements")
    look(page, "shop-elements-empty")
    page.get_by_role("button", name="Hold 48.00 USD").click()
    said(page, "The amount is held. You pay when it is captured.")
    expect(ledger(page).first).to_contain_text("48.00 USD held")
    look(page, "shop-elements-held")
    assert [one["state"] for one in shop.find("payment")] == ["authorized"]
    page.get_by_role("button", name="Capture 48.00 USD").click()
    said(page, "The payment was captured.")
    expect(ledger(page).first).to_contain_text("48.00 USD paid")
    page.get_by_role("button", name="Refund 48.00 USD").click()
    said(page, "The payment was refunded.")
    expect(ledger(page).first).to_contain_text("48.00 USD refunded")
    shop.settled()
    assert [one["state"] for one in shop.find("payment")] == ["refunded"]
    assert [one["state"] for one in shop.find("payment_intent")] == ["succeeded"]


def test_what_is_held_can_be_released(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/elements")
    page.get_by_role("button", name="Hold 48.00 USD").click()
    page.get_by_role("button", name="Release 48.00 USD").click()
    said(page, "The amount is no longer held.")
    expect(ledger(page).first).to_contain_text("48.00 USD canceled")
    assert [one["state"] for one in shop.find("payment")] == ["canceled"]


@pytest.mark.parametrize(
    ("answer", "message", "state", "kept"),
    [
        ("Yes, it is me", "The amount is held. You pay when it is captured.", "held", "requires_capture"),
        ("No, it is not", "The payer did not consent.", "failed", "requires_payment_method"),
    ],
)
def test_a_bank_asks_for_consent(
    shop: ShopHost, visit: Begin, answer: str, message: str, state: str, kept: str
) -> None:
    page = visit().open(f"{shop.address}/elements")
    card(page, "Asks for consent")
    page.get_by_role("button", name="Hold 48.00 USD").click()
    expect(page.get_by_role("heading", name="Is it you who pays?")).to_be_visible()
    look(page, "hosted-consent")
    page.get_by_role("button", name=answer).click()
    said(page, message)
    assert page.url == f"{shop.address}/elements"
    expect(ledger(page).first).to_contain_text(f"48.00 USD {state}")
    assert [one["state"] for one in shop.find("payment_intent")] == [kept]


def test_a_payer_who_turns_back_from_the_bank_finds_the_order_waiting(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/elements")
    card(page, "Asks for consent")
    page.get_by_role("button", name="Hold 48.00 USD").click()
    expect(page.get_by_role("heading", name="Is it you who pays?")).to_be_visible()
    page.go_back()
    expect(ledger(page).first).to_contain_text("48.00 USD waits for the bank")


# Account --------------------------------------------------------------------------------------------------------------


def opened(shop: ShopHost, visit: Begin, kind: str, country: str = "United States", **options: object) -> Page:
    """Berta's account, just opened."""
    page = visit(**options).open(f"{shop.address}/account")
    page.get_by_label("E-mail").fill("berta@example.com")
    page.get_by_label("Country").select_option(label=country)
    page.get_by_label("Kind of business").select_option(label=kind)
    page.get_by_role("button", name="Open account").click()
    said(page, "The account is open.")
    return page


def test_a_seller_answers_here_is_paid_and_leaves(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/account")
    look(page, "shop-account-empty")
    page.close()
    page = opened(shop, visit, "A person")
    expect(page.get_by_text("Payments disabled")).to_be_visible()
    expect(page.get_by_text("Before this account can take payments, we need")).to_be_visible()
    expect(page.locator(".callsheet-needs li")).to_have_text(
        ["A bank account", "First name (yours)", "Last name (yours)", "The terms, accepted"]
    )
    page.get_by_text("Bank account", exact=True).first.click()
    look(page, "shop-account-questions")

    page.get_by_label("Name of the holder").fill("Berta Benz")
    page.get_by_label("Routing number").fill("110000000")
    page.get_by_label("Account number").fill("000123456789")
    page.get_by_role("button", name="Save bank account").click()
    said(page, "The bank account is saved.")
    page.get_by_label("First name").fill("Berta")
    page.get_by_label("Last name").fill("Benz")
    page.get_by_label("Social security number").fill("000000000")
    page.get_by_label("Day").fill("3")
    page.get_by_label("Month").fill("5")
    page.get_by_label("Year").fill("1849")
    page.get_by_label("Year").fill("1949")
    page.get_by_label("I accept the terms").check()
    page.get_by_role("button", name="Save", exact=True).click()
    said(page, "Your answers are saved.")
    expect(page.locator(".counter .state").first).to_have_text("verified")
    look(page, "shop-account-verified")
    (account,) = shop.find("account")
    assert (account["state"], account["charges_enabled"], account["currently_due"]) == ("verified", True, [])
    page.get_by_text("Answer the questions here", exact=True).click()
    expect(page.get_by_label("First name")).to_have_value("Berta")
    expect(page.get_by_label("Social security number")).to_have_value("")
    assert "000000000" not in page.content()
    assert "000123456789" not in page.content()

    page.get_by_role("button", name="Transfer 3.00 USD").click()
    said(page, "The money was transferred.")
    expect(ledger(page).first).to_contain_text("3.00 USD paid")
    page.get_by_role("button", name="Delete account").click()
    said(page, "The account was deleted.")
    expect(page.get_by_role("heading", name="Berta sells cups")).to_be_visible()
    shop.settled()
    assert (shop.find("account"), [one["amount_cents"] for one in shop.find("transfer")]) == ([], [300])


def test_a_seller_answers_at_the_gateway(shop: ShopHost, visit: Begin) -> None:
    page = opened(shop, visit, "A person")
    page.get_by_role("button", name="Go on at the payment service").click()
    fill_in = page.get_by_role("button", name="Fill in all that is missing")
    expect(fill_in).to_be_visible()
    look(page, "hosted-onboarding")
    fill_in.click()
    expect(page.get_by_text("Payments enabled")).to_be_attached()
    page.reload()
    expect(page.locator(".counter .state").first).to_have_text("verified")


def test_a_company_names_its_people_in_the_words_of_its_country(shop: ShopHost, visit: Begin) -> None:
    page = opened(shop, visit, "A company", "United Kingdom")
    page.get_by_label("Name of the company").fill("Benz Cups")
    page.get_by_label("Company registration number").fill("12345678")
    page.get_by_label("I accept the terms").check()
    page.get_by_role("button", name="Save", exact=True).click()
    said(page, "Your answers are saved.")
    page.get_by_text("Bank account", exact=True).first.click()
    page.get_by_label("Name of the holder").fill("Benz Cups")
    page.get_by_label("Currency").select_option("gbp")
    page.get_by_label("Sort code").fill("108800")
    page.get_by_label("Account number").fill("00012345")
    page.get_by_role("button", name="Save bank account").click()
    said(page, "The bank account is saved.")
    expect(page.locator(".counter .state").first).to_have_text("verified")
    page.get_by_text("People", exact=True).click()
    page.get_by_label("First name").fill("Carl")
    page.get_by_label("Last name").fill("Benz")
    page.get_by_label("National insurance number").fill("AB123456C")
    page.get_by_label("speaks for it").check()
    look(page, "shop-account-person")
    page.get_by_role("button", name="Add person").click()
    said(page, "The person was added.")
    page.get_by_text("People", exact=True).click()
    page.get_by_text("Carl Benz").click()
    page.get_by_role("button", name="Save person").click()
    said(page, "The person was saved.")
    (person,) = shop.find("person")
    assert (person["first_name"], person["representative"]) == ("Carl", True)
    assert "AB123456C" not in page.content()
