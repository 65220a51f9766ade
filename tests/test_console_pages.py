"""The console's pages: what they show of calls, events and records, what can be done there, and what is kept of it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from console_host import DECLINED, LOST, STRANGE, ConsoleHost
from hosts import SECRETS, write
from html_pages import Page

from engine.calls import NEXT
from engine.catalog import shipped
from engine.errors import StoreError
from engine.purging import purge
from engine.records import Change, Record, Scope
from engine.seals import SEALED
from engine.store.sql import SqlStore
from engine.stories import steps
from engine.web.console import charts, overview, records, searching, shown

CONSOLE = "/callsheet/console"
_NOTED = "payment.noted"
LIVE_KEY = "live_4eC39HqLyjWDarjtT1zdp7dc"


@pytest.fixture
def console(tmp_path: Path, request: pytest.FixtureRequest) -> ConsoleHost:
    """A host that ann has signed in to; with a parameter, it follows its files."""
    made = ConsoleHost(tmp_path, reload=getattr(request, "param", False))
    made.sign_in()
    return made


def said(page: Page) -> str:
    """The page's text in one line."""
    return " ".join(page.text.split())


def links(page: Page, start: str) -> list[str]:
    """Where the page leads, of what begins so."""
    return [one["href"] for one in page.all("a") if one.get("href", "").startswith(CONSOLE + start)]


def follow(console: ConsoleHost, answer: Any) -> str:
    """What the page says that an action led to."""
    assert answer.status_code == 303, answer.text
    return said(Page(console.client.get(answer.location).text))


def limits_of(console: ConsoleHost, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows the store is asked for at most, at each look from now on."""
    limits: list[int] = []
    find = console.engine.store.find

    def counted(type: str, **how: Any) -> list[Record]:
        limits.append(how["limit"])
        return find(type, **how)

    monkeypatch.setattr(console.engine.store, "find", counted)
    return limits


# Lists ----------------------------------------------------------------------------------------------------------------


def test_a_list_is_paged_to_its_end_and_back(console: ConsoleHost) -> None:
    made = [console.pay(5).id for _ in range(120)][::-1]
    seen, path = [], "/calls"
    while path:
        page = Page(console.client.get(CONSOLE + path).text)
        seen.append([one.rpartition("/")[2] for one in links(page, "/calls/")])
        older = [one["href"] for one in page.all("a") if one.get("rel") == "next"]
        path = older[0].removeprefix(CONSOLE) if older else ""
    assert [id for page in seen for id in page] == made
    back = [one["href"] for one in page.all("a") if one.get("rel") == "prev"]
    assert [one.rpartition("/")[2] for one in links(Page(console.client.get(back[0]).text), "/calls/")] == made[50:100]


@pytest.mark.parametrize("wrong", ["'", "%00", "x" * 100, "../", "é"])
def test_an_address_that_nobody_made_shows_the_newest(console: ConsoleHost, wrong: str) -> None:
    call = console.pay(5)
    for name in ("after", "before", "state", "type"):
        assert call.id in console.get("/calls", **{name: wrong}).html


def test_a_filter_by_state_and_by_type(console: ConsoleHost) -> None:
    for amount in (5, DECLINED, LOST, STRANGE):
        console.pay(amount)
    console.engine.send("stripe/create_customer", {"email": "ada@example.com"})
    assert len(links(console.get("/calls", state="declined"), "/calls/")) == 1
    assert len(links(console.get("/calls", type="shop/pay"), "/calls/")) == 4
    assert len(links(console.get("/calls", state="succeeded", type="shop/pay"), "/calls/")) == 1
    assert len(links(console.get("/calls", state="unknown", type="stripe/create_customer"), "/calls/")) == 0


@pytest.mark.parametrize("kind", ["calls", "events"])
def test_two_filters_at_once_are_paged_to_their_end_and_back(console: ConsoleHost, kind: str) -> None:
    """A page has what fits both, however much fits only one, and its links and forms keep both."""
    wanted = {"state": "succeeded", "type": "shop/pay"} if kind == "calls" else {"state": "processed", "type": _NOTED}
    made = []
    for number in range(70):
        made.append((console.pay(5) if kind == "calls" else console.receive(number)).id)
        console.pay(DECLINED)
        console.engine.send("shop/pay_once", {"amount": 5})
        console.receive(100 + number, type="payment.odd")
    newest = console.get(f"/{kind}", **wanted)
    assert [one.rpartition("/")[2] for one in links(newest, f"/{kind}/") if one.count("-") == 4] == made[:19:-1]
    (older,) = [one["href"] for one in newest.all("a") if one.get("rel") == "next"]
    page = Page(console.client.get(older).text)
    assert [one.rpartition("/")[2] for one in links(page, f"/{kind}/") if one.count("-") == 4] == made[19::-1]
    assert [one for one in page.all("a") if one.get("rel") == "next"] == []
    (newer,) = [one["href"] for one in page.all("a") if one.get("rel") == "prev"]
    assert links(Page(console.client.get(newer).text), f"/{kind}/") == links(newest, f"/{kind}/")
    assert next(one for one in newest.all("option") if "selected" in one)["value"] == wanted["state"]
    empty = console.get(
        f"/{kind}", **{**wanted, "state": "dead" if kind == "events" else "declined", "type": "shop/read"}
    )
    assert f"No {kind[:-1]} of that state and type." in said(empty)


@pytest.mark.parametrize(("state", "walked"), [("declined", "state"), ("succeeded", "request_type")])
def test_two_filters_at_once_are_one_look(
    console: ConsoleHost, monkeypatch: pytest.MonkeyPatch, state: str, walked: str
) -> None:
    """The store is asked once, for one page, and walks what is rarer: nearly all calls succeeded."""
    asked: list[tuple[int, str]] = []
    find = console.engine.store.find

    def told(type: str, *, where: dict[str, Any], limit: int, **how: Any) -> list[Record]:
        asked.append((limit, next(iter(where))))
        return find(type, where=where, limit=limit, **how)

    monkeypatch.setattr(console.engine.store, "find", told)
    console.get("/calls", state=state, type="shop/pay")
    assert asked == [(51, walked)]


def test_records_are_found_by_what_has_an_index(console: ConsoleHost) -> None:
    for _ in range(3):
        console.pay(5)
    console.pay(DECLINED)
    assert len(links(console.get("/records/sale"), "/records/sale/")) == 4
    assert len(links(console.get("/records/sale", by="state", value="failed"), "/records/sale/")) == 1
    assert len(links(console.get("/records/sale", by="gateway_id", value="p1"), "/records/sale/")) == 1
    assert len(links(console.get("/records/sale", by="note", value="x"), "/records/sale/")) == 4  # no index, no filter
    assert console.client.get(f"{CONSOLE}/records/sales").status_code == 404


def test_a_failed_record_is_not_one_that_waits(console: ConsoleHost) -> None:
    console.pay(DECLINED)
    console.receive(1, type="payment.refunded")
    for path, looks in (("/records/sale", "state no"), ("/events", "state waits")):
        assert looks in {one["class"] for one in console.get(path).all("span") if one.get("class")}


def test_every_record_type_has_a_page(console: ConsoleHost) -> None:
    for type in console.engine.catalog.record_types:
        assert console.client.get(f"{CONSOLE}/records/{type}").status_code == 200


# Searching ------------------------------------------------------------------------------------------------------------


def test_a_record_leads_to_what_changed_it_and_what_names_it(console: ConsoleHost) -> None:
    made = console.pay(5)
    event = console.receive(7)
    sales = {sale["gateway_id"]: sale for sale in console.engine.find("sale")}
    paid = console.get(f"/records/sale/{sales['p1'].id}")
    assert (links(paid, "/calls/"), links(paid, "/events/")) == ([f"{CONSOLE}/calls/{made.id}"], [])
    noted = console.get(f"/records/sale/{sales['n7'].id}")
    assert (links(noted, "/calls/"), links(noted, "/events/")) == ([], [f"{CONSOLE}/events/{event.id}"])
    assert f"{CONSOLE}/search?q=n7" in links(noted, "/search")
    assert "Not set: note." in said(noted)
    charge = {"amount": 500, "currency": "usd", "source": "tok_visa"}
    payment = console.engine.send("stripe/create_payment", charge).records[0]
    refund = console.engine.send("stripe/create_refund", {"charge": payment["gateway_id"]}).records[0]
    page = console.get(f"/records/payment/{payment.id}")
    assert links(page, "/records/") == [f"{CONSOLE}/records/refund/{refund.id}"]
    assert len(links(page, "/calls/")) == 2


def test_what_changed_a_record_is_looked_for_page_by_page(
    console: ConsoleHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index knows it: a page looks at so many calls and events, says so, and leads on until all were looked at."""
    monkeypatch.setattr(records, "LOOK", 5)
    console.pay(6)
    event = console.receive(1)
    (sale,) = console.engine.find("sale", gateway_id="n1")
    noted = console.receive(11, payment="n1")
    for number in range(12):
        console.pay(5)
        console.receive(20 + number, type="payment.odd")
    asked = limits_of(console, monkeypatch)
    page = console.get(f"/records/sale/{sale.id}")
    assert links(page, "/events/") == [f"{CONSOLE}/events/{event.id}"]  # from before it was made
    looked = "Only the {} 5 calls and 5 events were looked at{}: older ones may have changed it, too."
    assert looked.format("newest", ", and as many before it was made") in said(page)
    assert max(asked[1:3]) == 5
    pages = [page]
    while older := [one["href"] for one in pages[-1].all("a") if one.get("rel") == "next"]:
        pages.append(Page(console.client.get(older[0]).text))
    found = [link for page in pages[1:] for link in links(page, "/events/")]
    assert found == [f"{CONSOLE}/events/{noted.id}", f"{CONSOLE}/events/{event.id}"]
    assert len(pages) > 3
    assert "No call and no event among those looked at." in said(pages[1])
    assert all(looked.format("next", "") in said(page) for page in pages[1:-1])
    assert "were looked at" not in said(pages[-1])


def test_a_record_that_nothing_changed_says_so(console: ConsoleHost) -> None:
    console.pay(5)
    kept = {"gateway_id": "q1", "amount": 1, "state": "paid"}
    console.engine.store.apply([Change("insert", console.engine.catalog.record_type("sale"), Scope("shop"), {}, kept)])
    (sale,) = console.engine.find("sale", gateway_id="q1", limit=1)
    page = said(console.get(f"/records/sale/{sale.id}"))
    assert "No call and no event." in page
    assert "were looked at" not in page


def test_a_record_offers_what_its_cases_show(console: ConsoleHost) -> None:
    """In the state that it is in: what is paid can be given back, and what was given back cannot."""
    charge = {"amount": 500, "currency": "usd", "source": "tok_visa"}
    payment = console.engine.send("stripe/create_payment", charge).records[0]
    path = f"/records/payment/{payment.id}"
    tries = [link for link in links(console.get(path), "/types/") if "/try?" in link]
    assert [link.rpartition("/try")[0].rpartition("/")[2] for link in tries] == ["create_refund", "get_payment"]
    form = Page(console.client.get(tries[0]).text)
    assert (form.input("charge")["value"], form.input("amount")["value"]) == (payment["gateway_id"], "")
    console.engine.send("stripe/create_refund", {"charge": payment["gateway_id"]})
    assert not any("create_refund" in link for link in links(console.get(path), "/types/"))
    console.sign_in("bob")
    page = console.get(path)
    assert not any("/try" in link for link in links(page, "/types/"))
    assert "stripe/get_payment: this takes the role operate." in said(page)


def test_the_cases_of_a_host_say_what_its_own_records_are_good_for(console: ConsoleHost) -> None:
    """A case that is not finished yet says nothing, and hides nothing."""
    case = "before: {sale: [{gateway_id: p1, state: paid}]}\ndata: {id: p1}\nreceives: {status: 200}\n"
    cases = {"erase/gone": f"claim: a payment can be removed\n{case}", "read/late": f"claim: x\n{case}"}
    write(console.root, {f"tests/cases/request_types/shop/{name}.yml": text for name, text in cases.items()})
    console.pay(5)
    console.pay(DECLINED)
    declined, paid = console.engine.find("sale")
    assert f"{CONSOLE}/types/shop/erase/try?record=sale/{paid.id}" in links(
        console.get(f"/records/sale/{paid.id}"), "/types/"
    )
    assert links(console.get(f"/records/sale/{declined.id}"), "/types/shop") == []
    form = console.get("/types/shop/erase/try", record=f"sale/{paid.id}")
    assert form.input("id")["value"] == paid["gateway_id"]
    for odd in ("sale/none", "nothing/1", "call/1", "/", "sale"):
        assert console.get("/types/shop/erase/try", record=odd).input("id")["value"] == ""


def test_a_search_finds_by_any_id_and_leads_there(console: ConsoleHost) -> None:
    call = console.engine.send("shop/pay", {"amount": 5}, operation="order-17").call
    assert call is not None
    event, sale = console.receive(7), console.engine.find("sale", gateway_id="p1")[0]
    places = {
        call.id: f"/calls/{call.id}",
        "order-17": f"/calls/{call.id}",
        call["key"]: f"/calls/{call.id}",
        event.id: f"/events/{event.id}",
        "evt_7": f"/events/{event.id}",
        " p1 ": f"/records/sale/{sale.id}",
        sale.id: f"/records/sale/{sale.id}",
    }
    for text, place in places.items():
        found = console.client.get(f"{CONSOLE}/search", query_string={"q": text})
        assert (found.status_code, found.location) == (303, CONSOLE + place), text


def test_a_search_shows_all_that_have_it(console: ConsoleHost) -> None:
    console.engine.send("stripe/create_customer", {"email": "ada@example.com", "external_id": "ada@example.com"})
    console.receive(1, id="ada@example.com")
    page = console.get("/search", q="ada@example.com")
    assert "customer by email" in said(page)
    assert "event by event id" in said(page)


@pytest.mark.parametrize("text", ["", "nothing", "%", "'", "\0", "x" * 5000, "true", "1e400", "-", "\ud800"])
def test_a_search_for_anything_is_answered(console: ConsoleHost, text: str) -> None:
    console.pay(5)
    assert (
        console.client.get(f"{CONSOLE}/search", query_string={"q": text.encode("utf-8", "replace")}).status_code == 200
    )


def test_an_index_that_is_not_complete_does_not_end_a_search(
    console: ConsoleHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = console.receive(7)
    find = console.engine.store.find

    def incomplete(type: str, **how: Any) -> list[Record]:
        if type == "customer" and "email" in how["where"]:
            raise StoreError("the index of customer.email does not hold all records yet; run `callsheet db upgrade`")
        return find(type, **how)

    monkeypatch.setattr(console.engine.store, "find", incomplete)
    found, unsearched = searching.look_for(console.engine, "evt_7")
    assert [record.id for records in found.values() for record in records] == [event.id]
    assert unsearched == ["the index of customer.email does not hold all records yet; run `callsheet db upgrade`"]


# One call -------------------------------------------------------------------------------------------------------------


def test_a_call_is_a_timeline(console: ConsoleHost) -> None:
    expected = {
        5: ["done", "done", "done", "done", "done"],
        DECLINED: ["done", "done", "done", "done", "done"],
        LOST: ["done", "done", "failed", "open", "open"],
        STRANGE: ["done", "done", "done", "failed", "open"],
    }
    for amount, progress in expected.items():
        call = console.pay(amount)
        assert [step.progress for step in steps(console.engine, call)] == progress
        page = said(console.get(f"/calls/{call.id}"))
        for word in ("Rendered done", "Sent", "Answered", "Mapped", "Stored"):
            assert word in page
    assert "3 times, always the same bytes with the same key" in said(
        console.get(f"/calls/{console.engine.find('call', state='unknown')[0].id}")
    )


def test_a_call_that_waits_or_came_to_another_end_is_told_as_well(console: ConsoleHost) -> None:
    waits = console.engine.send_later("shop/pay", {"amount": 5}, due=datetime.now(UTC) + timedelta(days=1))
    assert [step.progress for step in steps(console.engine, waits)] == ["done", "open", "open", "open", "open"]
    console.engine.recovery.cancel(waits, "ann", "no")
    gone = console.call(waits.id)
    assert [step.progress for step in steps(console.engine, gone)] == ["done", "none", "none", "none", "none"]
    lost = console.pay(LOST)
    resolved = console.engine.recovery.resolve(lost, "succeeded", "ann", "the bank shows it")
    assert [step.progress for step in steps(console.engine, resolved)] == ["done", "done", "none", "none", "none"]
    plain = console.engine.send("shop/erase", {"id": "p1"}).call
    assert plain is not None
    assert [step.progress for step in steps(console.engine, plain)] == ["done", "done", "done", "none", "none"]
    for call in (gone, resolved, plain):
        assert console.client.get(f"{CONSOLE}/calls/{call.id}").status_code == 200


def test_a_call_shows_what_was_sent_and_no_secret(console: ConsoleHost) -> None:
    call = console.pay(5, note="for ann")
    page = console.get(f"/calls/{call.id}")
    assert "POST https://api.shop.test/v1/payments" in said(page)
    assert "Authorization Bearer $SHOP_KEY" in said(page)
    assert '"note": "for ann"' in said(page)
    assert '"amount":5' in said(page).replace('": ', '":')
    assert "req_p1" in said(page)
    assert not any(secret in page.html for secret in SECRETS.values())
    stripe = console.engine.send("stripe/create_customer", {"email": "ada@example.com"}).call
    assert stripe is not None
    pairs = said(console.get(f"/calls/{stripe.id}"))
    assert "email ada@example.com" in pairs
    assert "sk_test" not in pairs


def test_what_is_remote_is_text_and_never_a_tag(console: ConsoleHost) -> None:
    """D9: an answer, a message and a name that hold HTML, and bytes that are no UTF-8."""
    call = console.pay(STRANGE)
    page = console.get(f"/calls/{call.id}")
    assert "<script>alert(1)</script>" in page.text
    assert [script["src"] for script in page.all("script")] == ["/callsheet/static/htmx.min.js"]
    event = console.receive(1, type="payment.noted", payment="<img src=x onerror=alert(1)>", note="\ud800\u202e\0")
    assert console.get(f"/events/{event.id}").all("img") == []
    assert console.get("/records/sale").all("img") == []
    console.rewrite(call, answer={**call["answer"], "body": "\udcff<b>"})
    assert "<b>" in console.get(f"/calls/{call.id}").text


def test_what_is_sealed_or_too_long_is_not_shown(console: ConsoleHost) -> None:
    sealed = console.engine.sealer.seal("whsec_1")
    assert shown.value(sealed) == SEALED
    body = shown.body(console.engine, json.dumps({"secret": sealed, "list": [sealed]}), "application/json")
    assert body.text.count(SEALED) == 2
    assert shown.body(console.engine, None, "").text == SEALED
    long = shown.body(console.engine, "x" * (shown.LONGEST + 1), "text/plain")
    assert long.cut
    assert len(long.text) == shown.LONGEST


def test_a_secret_is_hidden_where_what_is_shown_ends_in_it(console: ConsoleHost) -> None:
    secret = "sk_test_" + "0123456789abcdef" * 2
    console.engine.settings.hide(secret)
    cut = shown.body(console.engine, "x" * (shown.LONGEST - 16) + " " + secret, "text/plain")
    assert "0123" not in cut.raw


@pytest.mark.parametrize("console", [True], indirect=True, ids=["reload"])
def test_calls_lead_to_what_asked_for_them_and_what_followed(console: ConsoleHost) -> None:
    folder = console.root / "webhook_processors/shop"
    (folder / "payment.asked.json.j2").write_text('{"send": "shop/pay", "data": {"amount": 5}}')
    event = console.receive(1, type="payment.asked")
    console.engine.run_due()
    (call,) = console.engine.find("call")
    assert f"{CONSOLE}/calls/{call.id}" in links(console.get(f"/events/{event.id}"), "/calls/")
    assert links(console.get(f"/calls/{call.id}"), "/events/") == [f"{CONSOLE}/events/{event.id}"]
    sale = console.engine.find("sale")[0]
    assert links(console.get(f"/calls/{call.id}"), "/records/sale/") == [f"{CONSOLE}/records/sale/{sale.id}"]


def test_a_call_that_is_not_there_is_a_page(console: ConsoleHost) -> None:
    for path in ("/calls/x", "/events/x", "/records/sale/x", "/replays/x", "/types/shop/x", "/types/shop/x/try"):
        answer = console.client.get(CONSOLE + path)
        assert answer.status_code == 404, path
        assert "That did not work" in answer.text


# What can be done with it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("console", [True], indirect=True, ids=["reload"])
def test_a_mended_mapper_is_run_again_from_the_page(console: ConsoleHost) -> None:
    call = console.pay(STRANGE)
    assert "could not be mapped" in follow(console, console.post(f"/calls/{call.id}/remap", reason="to see"))
    mapper = console.root / "response_mappers/shop/pay.json.j2"
    mapper.write_text(
        '{"upsert": "sale", "where": {"gateway_id": {{ response.id }}}, "set": {"amount": 15, "state": "paid"}}'
    )
    assert "Mapped; 1 record changed." in follow(console, console.post(f"/calls/{call.id}/remap", reason="mended"))
    now = console.call(call.id)
    assert now["state"] == "succeeded"
    assert [(line["who"], line["what"], line["why"]) for line in now["audit"]] == [
        ("ann", "mapped again", "to see"),
        ("ann", "mapped again", "mended"),
    ]
    assert len(console.bank.sent) == 1
    assert "ann mapped again: mended" in said(console.get(f"/calls/{call.id}"))


def test_an_unknown_call_is_sent_again_inside_its_window_only(console: ConsoleHost, monkeypatch: Any) -> None:
    call = console.pay(LOST)
    sent = len(console.bank.sent)
    assert "It is taken up now." in follow(console, console.post(f"/calls/{call.id}/resend", reason="the bank is back"))
    assert console.call(call.id)["audit"][0]["who"] == "ann"
    console.engine.run_due()
    assert len(console.bank.sent) > sent
    assert len({request.body for request in console.bank.sent}) == 1
    late = datetime.now(UTC) + timedelta(days=2)
    monkeypatch.setattr(console.engine, "clock", type("Late", (), {"now": staticmethod(lambda: late)}))
    assert f"{CONSOLE}/calls/{call.id}/resend" not in [
        form["action"] for form in console.get(f"/calls/{call.id}").all("form")
    ]
    assert "might do it twice" in follow(console, console.post(f"/calls/{call.id}/resend", reason="again"))


def test_an_unknown_call_is_looked_up(console: ConsoleHost) -> None:
    call = console.pay(LOST)
    assert "The gateway knows it." in follow(console, console.post(f"/calls/{call.id}/look_up", reason="to know"))
    assert console.call(call.id)["state"] == "succeeded"
    assert console.call(call.id)["audit"][0]["what"] == "looked up"


def test_an_open_call_is_resolved_with_a_reason(console: ConsoleHost) -> None:
    call = console.pay(LOST)
    path = f"/calls/{call.id}/resolve"
    assert console.post(path, **{"as": "succeeded"}).status_code == 422
    assert "say what became of it" in follow(console, console.post(path, reason="seen", **{"as": "paid"}))
    assert "Resolved as succeeded." in follow(console, console.post(path, reason="seen", **{"as": "succeeded"}))
    assert console.call(call.id)["audit"][0]["why"] == "seen"
    assert "only one that is unknown or unmapped" in follow(
        console, console.post(path, reason="no", **{"as": "declined"})
    )


def test_a_queued_call_is_cancelled(console: ConsoleHost) -> None:
    call = console.engine.send_later("shop/pay", {"amount": 5}, due=datetime.now(UTC) + timedelta(days=1))
    assert "Cancelled" in follow(console, console.post(f"/calls/{call.id}/cancel", reason="a mistake"))
    assert console.call(call.id)["state"] == "cancelled"
    assert console.bank.sent == []


def test_each_state_offers_what_fits_it(console: ConsoleHost) -> None:
    queued = console.engine.send_later("shop/pay", {"amount": 5}, due=datetime.now(UTC) + timedelta(days=1))
    once = console.engine.find("call", limit=1)[0]
    expected = {
        5: set[str](),
        DECLINED: set[str](),
        LOST: {"resend", "look_up", "resolve"},
        STRANGE: {"remap", "resolve"},
    }
    for amount, offered in expected.items():
        call = console.pay(amount)
        if amount == LOST:
            console.rewrite(call, due="2030-01-01T00:00:00.000Z")
        forms = [form["action"] for form in console.get(f"/calls/{call.id}").all("form") if "/calls/" in form["action"]]
        assert {action.rpartition("/")[2] for action in forms} == offered
    assert once.id == queued.id
    assert any("/cancel" in form["action"] for form in console.get(f"/calls/{queued.id}").all("form"))
    assert console.post(f"/calls/{queued.id}/explode", reason="x").status_code == 404


def test_a_call_in_motion_is_asked_for_again_until_it_rests(console: ConsoleHost) -> None:
    call = console.pay(LOST)
    console.engine.recovery.come_back(call, "ann", "now")
    story = next(one for one in console.get(f"/calls/{call.id}").all("div") if one.get("id") == "story")
    assert story["data-hx-get"] == f"{CONSOLE}/calls/{call.id}"
    console.engine.recovery.resolve(console.call(call.id), "declined", "ann", "no")
    story = next(one for one in console.get(f"/calls/{call.id}").all("div") if one.get("id") == "story")
    assert "data-hx-get" not in story


# Events ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("console", [True], indirect=True, ids=["reload"])
def test_an_event_says_where_it_stood_in_its_delivery(console: ConsoleHost) -> None:
    """One that came alone stood nowhere."""
    alone = console.receive(1)
    assert "Place in its delivery" not in said(console.get(f"/events/{alone.id}"))
    file = console.root / "request_types/shop/_gateway.yml"
    file.write_text(file.read_text("utf-8").replace("webhook:\n", "webhook:\n  events: /several\n"), "utf-8")
    first = console.receive(2, several=[{"id": f"evt_{number}", "type": "payment.lost"} for number in (3, 4)])
    pages = [console.get(f"/events/{one.id}") for one in (first, *console.engine.find("event", event_id="evt_4"))]
    assert ["Place in its delivery 0, counted from 0" in said(page) for page in pages] == [True, False]
    assert "Place in its delivery 1, counted from 0" in said(pages[1])


def test_an_event_is_processed_again(console: ConsoleHost) -> None:
    event = console.receive(3, type="payment.refunded", payment="p1")
    assert console.engine.find("event")[0]["state"] == "failed"
    console.pay(5)
    assert "Processed again; it is processed." in follow(
        console, console.post(f"/events/{event.id}/replay", reason="now")
    )
    assert console.engine.find("sale")[0]["state"] == "refunded"
    assert "ann replayed: now" in said(console.get(f"/events/{event.id}"))


def test_what_is_not_for_this_host_is_put_aside_again(console: ConsoleHost) -> None:
    event = console.receive(3, live=True)
    assert "it is quarantined" in follow(console, console.post(f"/events/{event.id}/replay", reason="now"))
    begun = console.post("/replays", state="quarantined", reason="now")
    console.engine.run_due()
    assert "quarantined 1" in said(Page(console.client.get(begun.location).text))


def test_what_was_purged_says_so(console: ConsoleHost) -> None:
    call, event = console.pay(5), console.receive(3)
    list(purge(console.engine, timedelta(seconds=-60)))
    assert said(console.get(f"/calls/{call.id}")).count("its SHA-256 was") == 2
    page = console.get(f"/events/{event.id}")
    assert "(purged at" in said(page)
    assert not [form for form in page.all("form") if "replay" in form["action"]]
    assert "was purged" in follow(console, console.post(f"/events/{event.id}/replay", reason="now"))


def test_many_events_are_processed_again_by_a_worker(console: ConsoleHost) -> None:
    for number in range(30):
        console.receive(number)
    begun = console.post("/replays", type="payment.noted", reason="mended")
    page = Page(console.client.get(begun.location).text)
    assert page.all("progress")[0]["value"] == "0.0"
    assert "No worker has been heard of" in said(page)
    console.engine.workers.pulse(threads=1).beat()
    assert "the work goes on" in said(Page(console.client.get(begun.location).text))
    console.engine.run_due(limit=1)
    assert 0 < float(Page(console.client.get(begun.location).text).all("progress")[0]["value"]) < 1
    while console.engine.run_due():
        pass
    page = Page(console.client.get(begun.location).text)
    assert page.all("progress")[0]["value"] == "1.0"
    assert "30 events processed again" in said(page)
    assert not any("data-hx-trigger" in one and "500ms" in one["data-hx-trigger"] for _, one in page.tags)
    assert {line["who"] for event in console.engine.find("event") for line in event["audit"]} == {"ann"}
    assert "payment.noted" in said(console.get("/replays"))


def test_a_replay_is_stopped(console: ConsoleHost) -> None:
    for number in range(30):
        console.receive(number)
    begun = console.post("/replays", state="processed", since="2026-01-01T00:00", reason="mended")
    id = begun.location.rpartition("/")[2]
    assert "stopped" in follow(console, console.post(f"/replays/{id}/stop"))
    assert console.engine.run_due() == 0
    assert "another process changed it first" in follow(console, console.post(f"/replays/{id}/stop"))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"reason": "x"}, 422),
        ({"type": "payment.noted"}, 422),
        ({"type": "payment.noted", "reason": " "}, 422),
        ({"type": "payment.noted", "reason": "x", "since": "yesterday"}, 422),
        ({"type": "payment.noted", "reason": "x", "state": "none"}, 422),
        ({"type": "payment.none", "reason": "x"}, 303),
        ({"type": "payment.none", "reason": "x", "since": "0001-01-01T00:00"}, 303),
        ({"type": "payment.none", "reason": "x", "since": "9999-12-31T23:59"}, 303),
    ],
)
def test_a_replay_of_what_cannot_be_meant_is_not_begun(console: ConsoleHost, fields: Any, status: int) -> None:
    console.receive(1)
    assert console.post("/replays", **fields).status_code == status
    assert console.engine.find("replay") == []


# Trying ---------------------------------------------------------------------------------------------------------------


def blank(console: ConsoleHost, name: str, **query: str) -> dict[str, str]:
    """What the form of a request type posts as it stands."""
    return posted(console.get(f"/types/{name}/try", **query))


def posted(page: Page) -> dict[str, str]:
    """What a page's own form posts; the search above it is another form."""
    return {name: text for name, text in page.posts({}) if name != "q"}


def test_a_form_sends_once_however_often_it_is_posted(console: ConsoleHost) -> None:
    fields = {**blank(console, "shop/pay"), "amount": "5", "note": "by hand"}
    first, second = (console.post("/types/shop/pay/try", **fields) for _ in range(2))
    assert first.location == second.location
    assert len(console.bank.sent) == 1
    (call,) = console.engine.find("call")
    assert call["operation"].startswith("console:ann:")
    assert call["data"] == {"amount": 5, "note": "by hand"}
    assert "It was carried out." in follow(console, first)


def test_every_request_type_has_a_form_with_all_it_takes(console: ConsoleHost) -> None:
    """An operator may give what only a page gives to a visitor."""
    for type in console.engine.catalog.request_types.values():
        names = {name.partition("[")[0] for name in console.get(f"/types/{type.name}/try").names}
        assert names >= set(type.properties) - {"idempotency_key"}, type.name


def test_input_that_does_not_fit_is_shown_again_and_sent_nowhere(console: ConsoleHost) -> None:
    fields = {**blank(console, "shop/pay"), "amount": "0", "note": "kept"}
    answer = console.post("/types/shop/pay/try", **fields)
    page = Page(answer.text)
    assert answer.status_code == 422
    assert page.input("note")["value"] == "kept"
    assert page.input("amount")["aria-invalid"] == "true"
    assert "less than the minimum of 1" in said(page)
    assert page.input("operation")["value"] == fields["operation"]
    for wrong in ({"amount": "4242424242424242"}, {"other": "x"}, {"amount": ""}):
        assert console.post("/types/shop/pay/try", **{**fields, **wrong}).status_code == 422
    assert console.post("/types/shop/pay/try", **{**fields, "amount": "5", "operation": "x"}).status_code == 400
    assert console.bank.sent == []


def test_a_refusal_and_a_loss_lead_to_the_call(console: ConsoleHost) -> None:
    for amount, words in ((DECLINED, "Your card has no funds."), (LOST, "PERHAPS carried out")):
        fields = {**blank(console, "shop/pay"), "amount": str(amount)}
        assert words in follow(console, console.post("/types/shop/pay/try", **fields))


def test_what_only_reads_shows_its_answer(console: ConsoleHost) -> None:
    fields = {**blank(console, "shop/find"), "call_id": "x"}
    answer = console.post("/types/shop/find/try", **fields)
    assert answer.status_code == 200
    assert '"amount": 5' in Page(answer.text).text
    assert console.engine.find("call") == []


def test_a_setting_that_is_missing_is_said(tmp_path: Path) -> None:
    console = ConsoleHost(tmp_path, SHOP_KEY="")
    console.sign_in()
    fields = {**blank(console, "shop/pay"), "amount": "5"}
    answer = console.post("/types/shop/pay/try", **fields)
    assert answer.status_code == 422
    assert "SHOP_KEY" in answer.text


def test_a_form_is_filled_in_as_another_call_was(console: ConsoleHost) -> None:
    call = console.pay(7, note="again")
    assert blank(console, "shop/pay", **{"from": call.id})["note"] == "again"
    assert blank(console, "shop/erase", **{"from": call.id})["id"] == ""
    console.rewrite(call, data={"amount": 7, "note": console.engine.sealer.seal("a secret")})
    again = blank(console, "shop/pay", **{"from": call.id})
    assert (again["amount"], again["note"]) == ("7", "")


def test_a_form_is_filled_in_with_an_example(console: ConsoleHost) -> None:
    """The shipped cases fill it in so that it can be sent at once."""
    assert [one["href"] for one in console.get("/types/stripe/create_payment/try").all("a")][-1] == "?example"
    fields = blank(console, "stripe/create_customer", example="")
    assert "It was carried out." in follow(console, console.post("/types/stripe/create_customer/try", **fields))
    assert blank(console, "shop/pay", example="")["amount"] == ""
    for type in console.engine.catalog.request_types.values():
        assert console.client.get(f"{CONSOLE}/types/{type.name}/try?example").status_code == 200


def test_an_example_is_about_the_file_that_is_there(tmp_path: Path) -> None:
    """A host's file in the place of a shipped one is not shown by the shipped cases, which tell of that one."""
    name = "request_types/stripe/create_customer.yml"
    write(tmp_path, {name: (shipped() / name).read_text("utf-8")})
    console = ConsoleHost(tmp_path)
    console.sign_in()
    assert blank(console, "stripe/create_payment", example="")["amount"] != ""
    assert blank(console, "stripe/create_customer", example="")["email"] == ""


def test_live_money_is_moved_by_nobody_who_does_not_say_so(tmp_path: Path) -> None:
    console = ConsoleHost(tmp_path, CALLSHEET_MODE="live", SHOP_KEY=LIVE_KEY, STRIPE_SECRET_KEY=f"sk_{LIVE_KEY}")
    console.sign_in()
    page = console.get("/types/shop/pay/try")
    assert "This is live money." in said(page)
    assert "live money" in said(console.get("/calls"))
    fields = {**posted(page), "amount": "5"}
    refused = console.post("/types/shop/pay/try", **fields)
    assert refused.status_code == 422
    assert "Tick the box if you mean to move real money." in refused.text
    assert console.bank.sent == []
    console.post("/types/shop/pay/try", **fields, really="yes")
    assert len(console.bank.sent) == 1
    assert console.engine.find("call")[0].scope.live


def test_a_request_type_says_what_it_takes_and_changes(console: ConsoleHost) -> None:
    page = said(console.get("/types/stripe/create_payment"))
    for words in (
        "amount required",
        "Changes payment",
        "forms/stripe/create_payment.html",
        'request_form("stripe/create_payment"',
    ):
        assert words in page
    assert "made from its data" in said(console.get("/types/shop/pay"))


def test_a_console_over_any_database(store_url: str, tmp_path: Path) -> None:
    store = SqlStore(store_url)
    console = ConsoleHost(tmp_path, store=store)
    console.sign_in()
    lost, event = console.pay(LOST), console.receive(1)
    console.pay(STRANGE)
    for path in (
        "/",
        "/badge",
        "/charts",
        "/calls",
        f"/calls/{lost.id}",
        "/events",
        f"/events/{event.id}",
        "/records/sale",
    ):
        console.get(path)
    for state in tuple(NEXT):
        console.get("/calls", state=state, type="shop/pay", after=lost.id)
    for text in ("nothing", "\0", "n1", "12", "é", "x" * 400):
        assert console.client.get(f"{CONSOLE}/search", query_string={"q": text}).status_code in {200, 303}
    for wrong in ("\0", "'", "x" * 65):
        console.get("/calls", after=wrong)
        console.get("/records/sale", by="gateway_id", value=wrong)
        assert console.client.get(f"{CONSOLE}/calls/{quote(wrong)}").status_code == 404
    assert "The gateway knows it." in follow(console, console.post(f"/calls/{lost.id}/look_up", reason="to know"))
    store.close()


def test_the_reference_is_one_step_away(console: ConsoleHost) -> None:
    """Of the files as they are now."""
    links = [link["href"] for link in console.get("/types/shop/pay").all("a")]
    assert {"/callsheet/console/docs/", "/callsheet/console/docs/request_types/shop/pay.html"} <= set(links)
    assert "Take a payment." in said(console.get("/docs/request_types/shop/pay.html"))
    assert "stripe/create_refund" in said(console.get("/docs/"))
    assert console.client.get("/callsheet/console/docs/records/none.html").status_code == 404


# Webhooks -------------------------------------------------------------------------------------------------------------


def test_an_endpoint_is_registered_and_removed(console: ConsoleHost) -> None:
    page = console.get("/webhooks")
    operation = page.input("operation")["value"]
    url = page.input("url")["value"]
    assert url == "http://localhost/callsheet/webhooks/stripe"
    done = follow(console, console.post("/webhooks", endpoint="stripe/", url=url, operation=operation))
    record = next(one for one in console.engine.find("webhook_endpoint") if one["secret"])
    assert "is registered" in done
    assert record["gateway_id"] in done
    register = console.engine.find("call", request_type="stripe/create_webhook_endpoint")[0]
    assert register["operation"] == f"console:ann:{operation}"
    assert SEALED in said(console.get(f"/records/webhook_endpoint/{record.id}"))
    page = console.get("/webhooks")
    path = f"/webhooks/stripe/{record['gateway_id']}/remove"
    follow(console, console.post(path, operation=page.input("operation")["value"]))
    removed = console.engine.find("call", request_type="stripe/delete_webhook_endpoint")[0]
    assert removed["operation"].startswith("console:ann:")


def test_what_a_gateway_says_against_it_is_told(console: ConsoleHost) -> None:
    operation = console.get("/webhooks").input("operation")["value"]
    for endpoint, url in (
        ("stripe/", "nonsense"),
        ("stripe/", "https://["),
        ("stripe/none", "https://a.example/x"),
        ("shop/", "https://a.example/x"),
    ):
        said_of_it = follow(console, console.post("/webhooks", endpoint=endpoint, url=url, operation=operation))
        assert any(words in said_of_it for words in ("is not the address of a host", "there is no", "is not known"))
    assert console.client.post(f"{CONSOLE}/webhooks/none/ask", data={"csrf": console.csrf()}).status_code == 200


def test_a_gateway_is_asked_only_by_a_button(console: ConsoleHost) -> None:
    console.get("/webhooks")
    assert console.bank.sent == []
    assert console.post("/webhooks/stripe/ask").status_code == 200
    assert [request.method for request in console.bank.sent] == ["GET"]


# The first page -------------------------------------------------------------------------------------------------------


def test_the_first_page_names_what_needs_a_person(console: ConsoleHost) -> None:
    assert "Nothing. Whatever is open, a worker comes back to it." in said(console.get("/"))
    assert said(console.get("/badge")) == ""
    call, event = console.pay(STRANGE), console.receive(1, live=True)
    console.pay(LOST)  # a worker comes back to it
    page = console.get("/")
    assert call.id in said(page)
    assert event.id in said(page)
    assert said(console.get("/badge")) == "2 need a person"


def test_the_first_page_says_when_nobody_does_what_is_due(console: ConsoleHost) -> None:
    console.engine.send_later("shop/pay", {"amount": 5}, due=datetime.now(UTC) - timedelta(hours=1))
    assert "1 thing is due since" in said(console.get("/"))
    console.engine.workers.pulse(threads=1).beat()
    assert "1 worker lives and cannot keep up" in said(console.get("/"))
    console.engine.run_due()
    assert not [one for _, one in console.get("/").tags if one.get("role") == "alert"]


def test_a_reaction_that_was_given_up_has_a_page(console: ConsoleHost) -> None:
    from engine.reactions import REACTION

    dead = {"state": "dead", "record_type": "sale", "where": {"gateway_id": "p1"}, "message": "ValueError: no"}
    (row,) = console.engine.store.apply([Change("insert", REACTION, Scope("shop"), {}, dead)])
    assert links(console.get("/"), "/records/reaction/") == [f"{CONSOLE}/records/reaction/{row.id}"]
    assert "ValueError: no" in said(console.get(f"/records/reaction/{row.id}"))


def test_more_than_ninety_nine_are_not_counted(console: ConsoleHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(120):
        console.receive(number, live=True)
    limits = limits_of(console, monkeypatch)
    assert said(console.get("/badge")) == "99+ need a person"
    assert max(limits) <= max(overview.MOST + 1, overview.LOOK)


def test_the_charts_count_what_there_is(console: ConsoleHost) -> None:
    for amount in (5, 5, 5, DECLINED, LOST, STRANGE):
        console.pay(amount)
    seen, complete = charts.Newest().look(console.engine.find)
    assert complete
    (bar,) = charts.outcomes(seen)
    assert dict(bar.states) == {"succeeded": 3, "declined": 1, "unknown": 1, "unmapped": 1}
    assert [part.kind for part in bar.parts] == ["good", "no", "act", "act"]
    assert bar.parts[0].width == 50
    assert sum(part.width for part in bar.parts) == pytest.approx(100, abs=0.01)
    (latency,) = charts.latencies(seen)
    assert (latency.number, latency.median) == (5, 10)
    page = console.get("/charts")
    names = [one["aria-label"] for one in page.all("svg") if one.get("role") == "img"]
    assert names[0] == "shop/pay: 3 succeeded, 1 declined, 1 unknown, 1 unmapped"


def test_the_charts_look_further_a_little_at_a_time(console: ConsoleHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new or was open is read again, what was seen is remembered, what is old is forgotten."""
    monkeypatch.setattr(charts, "NEWEST", 25)
    monkeypatch.setattr(charts, "STEP", 10)
    lost = console.pay(LOST)
    for _ in range(19):
        console.pay(5)
    limits, newest = limits_of(console, monkeypatch), charts.Newest()
    looks = [newest.look(console.engine.find) for _ in range(3)]
    assert [(len(seen), complete) for seen, complete in looks] == [(10, False), (20, False), (20, True)]
    assert max(limits) <= max(charts.STEP, charts.OPEN)
    console.engine.recovery.resolve(lost, "declined", "ann", "the bank says so")
    for _ in range(9):
        console.pay(DECLINED)
    seen, complete = newest.look(console.engine.find)
    assert (len(seen), complete) == (25, True)
    assert Counter(one.state for one in seen) == {"succeeded": 16, "declined": 9}
    for _ in range(12):
        console.pay(7)
    assert [len(newest.look(console.engine.find)[0]) for _ in range(3)] == [10, 20, 25]


def test_an_open_call_is_looked_at_again(console: ConsoleHost) -> None:
    lost, newest = console.pay(LOST), charts.Newest()
    assert [one.state for one in newest.look(console.engine.find)[0]] == ["unknown"]
    console.engine.recovery.resolve(lost, "declined", "ann", "the bank says so")
    assert [one.state for one in newest.look(console.engine.find)[0]] == ["resolved"]


def test_latency_is_half_and_ninety_five_of_a_hundred() -> None:
    found = charts.latencies(
        [*(charts.Seen("a", "succeeded", ms) for ms in range(100)), charts.Seen("b", "declined", 1000)]
    )
    assert [(one.name, one.median, one.ninety_fifth) for one in found] == [("b", 1000, 1000), ("a", 50, 95)]
    assert [one.ninety_fifth_width for one in found] == [100, 9.5]
    assert charts.latencies([]) == []
