"""Forms in a real browser: in a hurry, with a keyboard only, without a script, with ill will, in other languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template_string
from hosts import Told, ok
from playwright.sync_api import Page, expect
from shop_host import ShopHost, shop_host

from engine.core import Engine
from engine.store.memory import MemoryStore
from engine.web import Callsheet

from .visits import Visit, look

Begin = Callable[..., Visit]
Serve = Callable[[Flask], str]

PAY = "Pay 5.00 USD"


@pytest.fixture
def shop(tmp_path: Path, serve: Serve) -> Iterator[ShopHost]:
    with shop_host(tmp_path, serve) as host:
        yield host


def choose(page: Page, card: str) -> None:
    """Choose a test card by the beginning of its name."""
    page.get_by_role("radio", name=re.compile(f"^{card}")).first.check()


# In a hurry -----------------------------------------------------------------------------------------------------------


def test_a_double_click_pays_once(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/charge")
    choose(page, "Visa 4242")
    page.get_by_role("button", name=PAY).dblclick()
    expect(page.locator("p.said")).to_have_text("You have paid.")
    assert (shop.calls("create_payment"), len(shop.find("payment"))) == (["succeeded"], 1)


def test_a_double_click_without_a_script_gives_back_once(shop: ShopHost, visit: Begin) -> None:
    """No script holds the button; the second post is shown what came of the first."""
    charge = shop.engine.send("stripe/create_payment", PAID).response["id"]
    page = visit(java_script_enabled=False).open(f"{shop.address}/charge")
    page.get_by_role("button", name="Refund").dblclick()
    expect(page.locator("p.said").first).to_have_text("The payment was refunded.")
    assert shop.calls("create_refund") == ["succeeded"]
    assert [one["charge"] for one in shop.find("refund")] == [charge]


PAID = {"amount": 500, "currency": "usd", "source": "tok_visa", "external_id": "tea"}


def test_two_windows_give_a_payment_back_once(shop: ShopHost, visit: Begin) -> None:
    shop.engine.send("stripe/create_payment", PAID)
    begun = visit()
    first, second = (begun.open(f"{shop.address}/charge") for _ in range(2))
    first.get_by_role("button", name="Refund").click()
    expect(first.locator("p.said")).to_have_text("The payment was refunded.")
    second.get_by_role("button", name="Refund").click()
    expect(second.get_by_role("alert")).to_contain_text("has already been refunded")
    shop.settled()
    assert (sorted(shop.calls("create_refund")), len(shop.find("refund"))) == (["declined", "succeeded"], 1)


def test_back_and_forth_and_a_reload_pay_nothing_more(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/charge")
    page.get_by_role("button", name=PAY).click()
    expect(page.locator("p.said")).to_have_text("You have paid.")
    page.reload()
    expect(page.locator("p.said")).to_have_count(0)
    expect(page.locator(".ledger li")).to_have_count(1)
    page.go_back()
    page.go_forward()
    expect(page.locator(".ledger li")).to_have_count(1)
    assert len(shop.find("payment")) == 1
    page.go_back()
    page.get_by_role("button", name=PAY).click()
    expect(page.locator(".ledger li")).to_have_count(2)  # a page that was asked for anew has a form of its own


def test_a_refusal_can_be_shown_again(shop: ShopHost, visit: Begin) -> None:
    """The reload of its page posts again, and is told what came of the first."""
    page = visit().open(f"{shop.address}/charge")
    choose(page, "Declined Visa 0002")
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("alert").first).to_contain_text("Your card was declined.")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.get_by_role("alert").first).to_contain_text("Your card was declined.")
    assert shop.calls("create_payment") == ["declined"]


def test_an_answer_that_is_lost_is_waited_for(shop: ShopHost, visit: Begin) -> None:
    """It is sent again with its key until there is one; meanwhile the page says that it is not known yet."""
    page = visit().open(f"{shop.address}/charge")
    page.get_by_text("Something goes wrong on the way").click()
    choose(page, "The answer is lost")
    page.get_by_role("button", name=PAY).click()
    expect(
        page.get_by_text("You have paid.").or_(page.get_by_role("button", name="See what became of it"))
    ).to_be_visible()
    shop.settled()
    assert {one["state"] for one in shop.find("payment")} <= {"paid"}


def test_a_card_that_was_not_the_trouble_is_still_chosen(shop: ShopHost, visit: Begin) -> None:
    """The gateway had no time. The same form sends the same again; for another card there is another form."""
    page = visit().open(f"{shop.address}/charge")
    page.get_by_text("Something goes wrong on the way").click()
    choose(page, "Too many requests")
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not done")
    expect(page.get_by_role("radio", name="Too many requests")).to_be_checked()
    look(page, "form-not-done")
    choose(page, "Mastercard")
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("alert").first).to_contain_text("Please open the page again to begin anew.")
    page.get_by_role("link", name="Back to the page").click()
    page.get_by_role("button", name=PAY).click()
    expect(page.locator("p.said")).to_have_text("You have paid.")
    assert [one["state"] for one in shop.find("payment")] == ["paid"]


# A declined card ------------------------------------------------------------------------------------------------------


def test_a_declined_card_says_why_beside_the_form_and_keeps_what_was_typed(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/charge")
    page.get_by_label("E-mail").fill("ada@example.com")
    choose(page, "Declined for insufficient funds")
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("That did not work")
    expect(page.get_by_role("alert").first).to_be_focused()
    expect(page.get_by_role("alert").first).to_have_text("Your card has insufficient funds.")
    expect(page.get_by_label("E-mail")).to_have_value("ada@example.com")
    look(page, "form-declined")
    choose(page, "Mastercard")
    page.get_by_role("button", name=PAY).click()
    expect(page.locator("p.said")).to_have_text("You have paid.")
    assert [(one["state"], one["failure_message"]) for one in shop.find("payment")] == [
        ("failed", "Your card has insufficient funds."),
        ("paid", None),
    ]


# Ill will -------------------------------------------------------------------------------------------------------------


def tampered(page: Page, change: str) -> None:
    """Change the token that stands in the first form, as somebody does in the browser's own tools."""
    page.evaluate(f"(() => {{ const it = document.querySelector('[name=callsheet_token]'); it.value = {change} }})()")


@pytest.mark.parametrize(
    "change",
    ["it.value.slice(0, -2) + (it.value.endsWith('AA') ? 'BB' : 'AA')", "''", "'x'", "it.value.replace('.', '.e')"],
)
def test_a_changed_form_is_refused_with_a_clear_page(shop: ShopHost, visit: Begin, change: str) -> None:
    page = visit().open(f"{shop.address}/charge")
    tampered(page, change)
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("That did not work")
    expect(page.get_by_role("alert")).to_have_text("This form is no longer valid. Please open its page again.")
    assert (shop.find("payment"), shop.find("call")) == ([], [])
    if change == "'x'":
        look(page, "form-changed")


def test_an_input_that_was_added_is_refused_beside_the_form(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/charge")
    page.evaluate(
        "document.querySelector('form').insertAdjacentHTML('beforeend', '<input type=hidden name=amount value=1>')"
    )
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("alert").first).to_contain_text("is not asked for by this form")
    assert (shop.find("payment"), shop.find("call")) == ([], [])


def test_a_form_of_another_browser_is_refused(shop: ShopHost, visit: Begin) -> None:
    mine, theirs = visit().open(f"{shop.address}/charge"), visit().open(f"{shop.address}/charge")
    stolen = mine.locator("[name=callsheet_token]").first.input_value()
    tampered(theirs, repr(stolen))
    theirs.get_by_role("button", name=PAY).click()
    expect(theirs.get_by_role("alert")).to_contain_text("no longer valid")
    assert shop.find("payment") == []


# Without a mouse, without a script ------------------------------------------------------------------------------------


def test_a_keyboard_is_enough(shop: ShopHost, visit: Begin) -> None:
    page = visit().open(f"{shop.address}/charge")
    expect(page.get_by_role("radio", name="Visa debit")).to_be_visible()
    page.get_by_label("E-mail").focus()
    page.keyboard.type("ada@example.com")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Visa debit")).to_be_checked()
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.get_by_role("button", name=PAY).evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("p.said")).to_have_text("You have paid.")


def test_no_script_is_needed_where_no_card_is(shop: ShopHost, visit: Begin) -> None:
    page = visit(java_script_enabled=False).open(f"{shop.address}/account")
    page.get_by_label("E-mail").fill("berta@example.com")
    page.get_by_label("Country").select_option("US")
    page.get_by_label("Kind of business").select_option("individual")
    page.get_by_role("button", name="Open account").click()
    expect(page.locator("p.said")).to_have_text("The account is open.")
    page.get_by_role("button", name="Go on at the payment service").click()
    page.get_by_role("button", name="Fill in all that is missing").click()
    expect(page.locator(".counter .state").first).to_have_text("verified")
    page.get_by_role("button", name="Transfer 3.00 USD").click()
    expect(page.locator("p.said")).to_have_text("The money was transferred.")
    page.goto(f"{shop.address}/charge")
    expect(page.get_by_text("that takes JavaScript").first).to_be_visible()


# Every kind of input --------------------------------------------------------------------------------------------------

EVERYTHING = """\
summary: Ask for everything that a form can ask for.
method: POST
url: /customers
body: {description: "{{ data.name }}"}
expect: {body: {type: object, required: [id]}}
data:
  required: [name, size, agreed, place]
  properties:
    name: {type: string, maxLength: 40, title: Your name, description: As on paper.}
    mail: {type: string, format: email}
    day: {type: string, format: date}
    when: {type: string, format: date-time}
    count: {type: integer, minimum: 1, maximum: 9, default: 3}
    size: {enum: [small, large]}
    agreed: {const: true, title: I agree}
    newsletter: {type: boolean, default: true}
    secret: {type: string, writeOnly: true}
    tags: {type: array, items: {type: string}}
    metadata: {type: object, additionalProperties: {type: string}}
    place: {type: object, required: [city], properties: {city: {type: string}, floor: {type: integer}}}
"""


def site(root: Path, page: str, gateway: Any = None, **environment: str) -> Flask:
    """A host with one page, at /; without a sandbox."""
    keys = {
        "CALLSHEET_SECRET_KEY": "k" * 40,
        "CALLSHEET_ENCRYPTION_KEY": f"{'k' * 43}=",
        "STRIPE_SECRET_KEY": "sk_test_1",
    }
    environment = {**keys, "STRIPE_PUBLISHABLE_KEY": "pk_test_1", **environment}
    engine = Engine(root, store=MemoryStore(), environment=environment, dispatcher=gateway or Told())
    app = Flask("site", root_path=str(root))
    Callsheet(app, engine=engine, worker=False)
    shell = '{% extends "callsheet/page.html" %}{% block title %}A page{% endblock %}{% block content %}<h1>A page</h1>'
    shell += "{% for text in get_flashed_messages() %}<p class=said>{{ text }}</p>{% endfor %}"
    app.add_url_rule("/", "page", lambda: render_template_string(shell + page + "{% endblock %}"))
    return app


def test_a_form_without_a_file_asks_for_everything(tmp_path: Path, visit: Begin, serve: Serve) -> None:
    (tmp_path / "request_types/stripe").mkdir(parents=True)
    (tmp_path / "request_types/stripe/everything.yml").write_text(EVERYTHING)
    gateway = Told(ok({"id": "x_1"}))
    page = visit().open(serve(site(tmp_path, '{{ request_form("stripe/everything") }}', gateway)))
    look(page, "form-generated")
    page.get_by_label("Count").fill("3")
    page.locator("form").evaluate("form => form.noValidate = true")  # what a browser checks is checked once more
    page.get_by_label("Mail").fill("no address")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Something is missing")
    expect(page.get_by_label("Your name")).to_be_focused()
    assert page.get_by_label("Your name").get_attribute("aria-invalid") == "true"
    described = str(page.get_by_label("Your name").get_attribute("aria-describedby")).split()
    assert [page.locator(f"#{id}").inner_text() for id in described] == ["As on paper.", "is required"]
    expect(page.get_by_label("Mail")).to_have_value("no address")
    expect(page.get_by_role("alert")).to_contain_text("Mail is no e-mail address")
    look(page, "form-invalid")
    page.get_by_role("alert").get_by_role("link", name="Size").click()
    expect(page.get_by_label("Size")).to_be_focused()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Mail").fill("ada@example.com")
    page.get_by_label("Size").select_option("large")
    page.get_by_label("I agree").check()
    page.get_by_label("City").fill("Paris")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("p.said")).to_have_text("Done.")


@pytest.mark.parametrize(("language", "label"), [("de", "Land"), ("pl", "Kraj")])
def test_a_form_speaks_another_language(tmp_path: Path, visit: Begin, serve: Serve, language: str, label: str) -> None:
    form = f'{{{{ request_form("stripe/create_account", {{}}, language="{language}") }}}}'
    page = visit().open(serve(site(tmp_path, form)))
    expect(page.get_by_label(label)).to_be_visible()
    assert page.locator("form").get_attribute("lang") == language
    page.locator("form").evaluate("form => form.noValidate = true")
    page.get_by_role("button").click()
    assert page.locator("html").get_attribute("lang") == language
    look(page, f"form-{language}")


# The gateway's own script ---------------------------------------------------------------------------------------------

# As much of it as the forms use: fields that somebody types into, tokens, and a bank that asks.
STRIPE_JS = """
window.told = [];
window.Stripe = (key, options) => {
  window.told.push({key, options});
  const field = (kind, settings) => {
    const input = document.createElement("input");
    window.told.push({kind, settings});
    return {
      mount: (frame) => { input.ariaLabel = kind; frame.append(input); },
      on: (event, listen) => input.addEventListener("input", () => listen(
        {error: input.value.includes("x") ? {message: "Digits only."} : undefined})),
      focus: () => input.focus(),
      made: (start) => input.value.startsWith("4242")
        ? [null, {id: start + "visa"}] : [{message: "Your card number is incomplete."}, null],
    };
  };
  return {
    elements: (settings) => ({
      create: (kind, more) => (window.field = field(kind, {...settings, ...more})), submit: async () => ({})}),
    createToken: async (card) => { const [error, token] = card.made("tok_"); return {error, token}; },
    createConfirmationToken: async () => {
      const [error, confirmationToken] = window.field.made("ctoken_"); return {error, confirmationToken}; },
    handleNextAction: async (what) => {
      window.told.push(what);
      const answer = sessionStorage.getItem("answer") || "fails";
      sessionStorage.setItem("answer", "consents");
      if (answer === "fails") return {error: {message: "Your bank is not there."}};
      return {paymentIntent: {status: "succeeded"}};
    },
  };
};
"""
STUBS = {"https://js.stripe.com/": STRIPE_JS}
CHARGE = {"id": "ch_1", "status": "succeeded", "captured": True, "amount": 500, "currency": "usd"}
INTENT = {"id": "pi_1", "object": "payment_intent", "amount": 500, "currency": "usd", "client_secret": "pi_1_secret_1"}
ASKING = ok({**INTENT, "status": "requires_action", "next_action": {"type": "use_stripe_sdk"}, "latest_charge": None})
PAID_INTENT = ok({**INTENT, "status": "succeeded", "latest_charge": CHARGE})


def test_a_card_is_typed_into_the_gateways_field(tmp_path: Path, visit: Begin, serve: Serve) -> None:
    gateway = Told(ok(CHARGE))
    form = '{{ request_form("stripe/create_payment", {"amount": 500, "currency": "usd", "account_id": "acct_1"}) }}'
    page = visit(stubs=STUBS).open(serve(site(tmp_path, form, gateway)))
    frame = page.locator("[data-callsheet-frame]")
    assert frame.evaluate("it => [getComputedStyle(it).borderTopWidth, getComputedStyle(it).paddingTop]") != [
        "0px",
        "0px",
    ]
    look(page, "form-card")
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("alert")).to_have_text("Your card number is incomplete.")
    assert page.evaluate("document.activeElement.ariaLabel") == "card"
    expect(page.get_by_role("button", name=PAY)).to_be_enabled()
    page.get_by_label("card", exact=True).fill("4242x")
    expect(page.get_by_role("alert")).to_have_text("Digits only.")
    page.get_by_label("card", exact=True).fill("4242424242424242")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert page.evaluate("window.told[0]") == {"key": "pk_test_1", "options": {"stripeAccount": "acct_1"}}
    page.get_by_role("button", name=PAY).dblclick()
    expect(page.locator("p.said")).to_have_text("You have paid.")
    assert len(gateway.requests) == 1
    assert b"source=tok_visa" in gateway.requests[0].body
    assert b"4242" not in gateway.requests[0].body


def test_a_field_that_cannot_be_loaded_says_so(tmp_path: Path, visit: Begin, serve: Serve) -> None:
    form = '{{ request_form("stripe/create_customer") }}'
    page = visit(stubs={"https://js.stripe.com/": "// nothing"}).open(serve(site(tmp_path, form)))
    expect(page.get_by_role("alert")).to_have_text("The card field could not be loaded. Please reload the page.")


def test_a_payment_goes_on_at_the_bank_and_is_told_afterwards(tmp_path: Path, visit: Begin, serve: Serve) -> None:
    """The gateway's own script asks the bank; its page can be reloaded, and the payment is made once."""
    gateway = Told(ASKING, ASKING, ASKING, PAID_INTENT)
    form = '{{ request_form("stripe/create_payment_intent", {"amount": 500, "currency": "usd"}) }}'
    page = visit(stubs=STUBS).open(serve(site(tmp_path, form, gateway)))
    page.get_by_label("payment", exact=True).fill("4242")
    elements = page.evaluate("window.told[1].settings")
    assert elements == {"mode": "payment", "amount": 500, "currency": "usd", "appearance": {"theme": "stripe"}}
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your bank wants to hear from you")
    expect(page.get_by_role("status")).to_have_text("Your bank is not there.")
    assert page.evaluate("window.told.at(-1)") == {"clientSecret": "pi_1_secret_1"}
    look(page, "form-action")
    page.get_by_role("button", name="See what became of it").click()
    expect(page.locator("p.said")).to_have_text("You have paid.")
    created = [request for request in gateway.requests if request.method == "POST"]
    assert len(created) == 1
    assert b"confirmation_token=ctoken_visa" in created[0].body
    assert b"confirm=true" in created[0].body
    assert b"return_url=http%3A%2F%2F127.0.0.1" in created[0].body
