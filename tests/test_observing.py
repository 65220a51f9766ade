"""What an engine tells those who watch it, and that it minds nothing that they do."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hosts import SECRETS, Host, failure, host, ok, refusal

from engine.dispatcher import Answer, Failure
from engine.errors import EngineError
from engine.observing import OTHER, Step, Watch
from engine.signatures import SHIPPED, sign

BAD_MAPPER = '{"upsert": "sale", "where": {"gateway_id": {{ response.id }}}, "set": {"amount": {{ "many" }}}}'


class Notes:
    """An observer that writes down what it is told, indented as the steps stand in each other."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[Step] = []
        self._depth = 0

    def began(self, step: Step) -> int:
        self.lines.append("")
        self._depth += 1
        return len(self.lines) - 1

    def ended(self, step: Step, begun: int) -> None:
        self._depth -= 1
        status = f" {step.status}" if step.status else ""
        self.lines[begun] = f"{'  ' * self._depth}{step.kind} {step.name}: {step.outcome}{status}"
        assert step.seconds > 0
        self.steps.append(step)

    def outcomes(self, kind: str) -> list[str]:
        return [step.outcome for step in self.steps if step.kind == kind]


def watched(root: Path, *answers: Answer | Failure, **options: Any) -> tuple[Host, Notes]:
    notes = Notes()
    return host(root, *answers, observers=[notes], **options), notes


def received(shop: Host, secret: str = "SHOP_HOOK", **event: Any) -> Any:
    body = json.dumps({"id": "evt_1", "type": "payment.refunded", "payment": "p1", "created": 1, **event}).encode()
    return shop.engine.receive("shop", sign(SHIPPED["stripe"], SECRETS[secret], body, shop.hours.now.timestamp()), body)


def test_a_call_is_told_step_by_step(tmp_path: Path) -> None:
    """In the order of its promise, a repeated attempt too."""
    shop, notes = watched(tmp_path, failure("connect", sent=False), ok())
    shop.engine.send("shop/pay", {"amount": 5})
    assert notes.lines == [
        "send shop/pay: succeeded",
        "  render shop/pay: succeeded",
        "  attempt shop/pay: connect",
        "    exchange shop/pay: connect",
        "  attempt shop/pay: ok",
        "    exchange shop/pay: answered 200",
        "  map shop/pay: succeeded",
        "  store shop/pay: succeeded",
    ]
    assert [step.tries for step in notes.steps if step.kind == "exchange"] == [0, 1]
    assert {step.gateway for step in notes.steps} == {"shop"}


def test_an_event_is_told_step_by_step(tmp_path: Path) -> None:
    """A name that no file has is not passed on."""
    shop, notes = watched(tmp_path)
    shop.engine.send("shop/pay", {"amount": 5})
    notes.lines.clear()
    received(shop)
    received(shop)
    received(shop, id="evt_2", type="payment.4711")
    received(shop, id="evt_3", live=True)
    with pytest.raises(EngineError):
        received(shop, "SHOP_OTHER_HOOK", id="evt_4")
    assert notes.lines == [
        "receive payment.refunded: received",
        "process payment.refunded: processed",
        "receive payment.refunded: doubled",
        "receive other: received",
        "process other: ignored",
        "receive payment.refunded: quarantined",
        "receive other: refused",
    ]


@pytest.mark.parametrize(
    ("answers", "data", "files", "outcome"),
    [
        ([ok()], {"amount": 5}, {}, "succeeded"),
        ([refusal()], {"amount": 5}, {}, "declined"),
        ([failure("connect", sent=False)], {"amount": 5}, {}, "not_done"),
        ([failure("read_timeout")], {"amount": 5}, {}, "unknown"),
        ([ok()], {"amount": 5}, {"response_mappers/shop/pay.json.j2": BAD_MAPPER}, "unmapped"),
        ([ok()], {"amount": "many"}, {}, "refused"),
    ],
)
def test_every_end_of_a_call_has_its_word(
    answers: list[Any], data: dict[str, Any], files: dict[str, str], outcome: str, tmp_path: Path
) -> None:
    """Also of one that a worker sends."""
    shop, notes = watched(tmp_path, *answers, files=files)
    with suppress(EngineError):
        shop.engine.send("shop/pay", data)
    assert notes.outcomes("send") == [outcome]
    if outcome != "refused":
        shop.engine.send_later("shop/pay", data)
        shop.engine.run_due()
        assert notes.outcomes("send") == [outcome, outcome]


def test_what_a_gate_or_a_missing_key_holds_back_is_told(tmp_path: Path) -> None:
    """Nothing was sent then, so no exchange is there."""
    shop, notes = watched(tmp_path, SHOP_KEY="")
    with pytest.raises(EngineError):
        shop.engine.send("shop/pay", {"amount": 5})
    assert (notes.outcomes("send"), notes.outcomes("exchange")) == (["refused"], [])


def test_a_call_that_is_taken_up_again_is_told_as_such(tmp_path: Path) -> None:
    """With the steps of sending in it."""
    shop, notes = watched(tmp_path, failure("read_timeout"))
    with pytest.raises(EngineError):
        shop.engine.send("shop/pay", {"amount": 5})
    notes.lines.clear()
    shop.gateway.answers = [ok()]
    shop.hours.pass_by(3600)
    shop.engine.run_due()
    assert [line for line in notes.lines if "exchange" not in line] == [
        "recover shop/pay: succeeded",
        "  attempt shop/pay: ok",
        "  map shop/pay: succeeded",
        "  store shop/pay: succeeded",
    ]


def test_an_observer_that_fails_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what is done nor what the others are told; it is in the log."""

    class Broken:
        def __init__(self) -> None:
            self.ended_kinds: list[str] = []

        def began(self, step: Step) -> None:
            if step.kind == "render":
                raise RuntimeError("no beginning")

        def ended(self, step: Step, begun: None) -> None:
            self.ended_kinds.append(step.kind)
            raise RuntimeError("no end")

    notes, broken = Notes(), Broken()
    shop = host(tmp_path, observers=[broken, notes])
    with caplog.at_level(logging.ERROR, "engine"):
        shop.engine.send("shop/pay", {"amount": 5})
    assert shop.sales() == [{"gateway_id": "p1", "amount": 5, "state": "paid"}]
    assert notes.lines[0] == "send shop/pay: succeeded"
    assert broken.ended_kinds == ["exchange", "attempt", "map", "store", "send"]  # what did not begin does not end
    assert caplog.text.count("RuntimeError: no end") == 5
    assert caplog.text.count("RuntimeError: no beginning") == 1


def test_a_step_holds_names_of_definitions_only(tmp_path: Path) -> None:
    """Nothing of an event that no file is about, and nothing of any data."""
    shop, notes = watched(tmp_path)
    shop.engine.send("shop/pay", {"amount": 5, "note": "canary"})
    received(shop, type="canary")
    assert {step.name for step in notes.steps} <= {*shop.engine.catalog.request_types, "payment.refunded", OTHER}
    assert not any("canary" in repr(step).replace(repr(step.type), "") for step in notes.steps)


def test_without_observers_nothing_is_made() -> None:
    """Every step is one and the same, and does nothing."""
    watch = Watch()
    assert watch.step("send", "shop", "shop/pay") is watch.step("process", "shop", OTHER)
