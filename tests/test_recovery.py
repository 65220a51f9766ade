"""Calls left open, and every way in which one is settled."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, MappingError, RejectedError, TransportError, UnknownOutcome, calls
from engine.context import Clock
from engine.dispatcher import Answer, Failure
from engine.errors import Conflict
from engine.records import Record
from engine.request_types import Request
from engine.seals import new_key
from engine.signatures import scheme_of, sign
from engine.store.memory import MemoryStore
from engine.windows import LATER, MOST_TRIES

SECRET = "whsec_0123456789abcdef0123456789abcdef"
FILES = {
    "request_types/acme/_gateway.yml": """
        base_url: https://api.acme.test
        auth: {bearer: ACME_KEY}
        headers: {Content-Type: application/json}
        idempotency: {header: Idempotency-Key, lasts: 24h}
        error: "{{ response.error }}"
        webhook:
          scheme: stripe
          secrets: [ACME_WEBHOOK_SECRET]
          id: "{{ event.id }}"
          type: "{{ event.type }}"
          key: "{{ event.key }}"
          reference: "{{ event.object.ref }}"
          object: "{{ event.object }}"
        """,
    "request_types/acme/pay.yml": """
        summary: Pay.
        method: POST
        url: /payments
        body: {amount: "{{ data.amount }}", ref: "{{ call_id }}"}
        expect: {body: {required: [id], properties: {id: {pattern: "^p_"}}}}
        lookup: acme/find_payment
        data: {required: [amount], properties: {amount: {type: integer}}}
        """,
    "request_types/acme/pay_once.yml": """
        summary: Pay where no key is known.
        method: POST
        url: /payments
        body: {amount: "{{ data.amount }}"}
        at_most_once: true
        data: {required: [amount], properties: {amount: {type: integer}}}
        """,
    "request_types/acme/find_payment.yml": """
        summary: Find a payment by our reference.
        method: GET
        url: /payments
        query: {ref: "{{ data.call_id }}"}
        found: "{{ response.items[0] }}"
        data: {required: [call_id], properties: {call_id: {type: string}}}
        """,
    "response_mappers/records/invoice.yml": """
        summary: What was paid.
        required: [gateway_id]
        unique: [gateway_id]
        properties: {gateway_id: {type: string}, amount: {type: integer}}
        """,
    "response_mappers/acme/pay.json.j2": """
        {"upsert": "invoice", "where": {"gateway_id": {{ response.id }}}, "set": {"amount": {{ response.amount }}}}
        """,
}


class Gateway:
    """Answers with what it is told to, one after the other, and remembers what it was sent."""

    def __init__(self, *answers: Answer | Failure | Callable[[Request], Answer | Failure]) -> None:
        self.answers = list(answers)
        self.sent: list[Request] = []

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        self.sent.append(request)
        answer = self.answers.pop(0)
        return answer(request) if callable(answer) else answer


def ok(**body: Any) -> Answer:
    return Answer(200, {"content-type": "application/json"}, json.dumps(body).encode(), 0.01)


LOST = Failure("read_timeout", sent=True, message="no answer", seconds=0.1)
UNREACHED = Failure("connect", sent=False, message="refused", seconds=0.1)


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def moves(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        indent = len(text.split("\n")[1]) - len(text.split("\n")[1].lstrip())
        path.write_text("\n".join(line[indent:] for line in text.split("\n")))
    return tmp_path


@pytest.fixture
def time() -> Time:
    return Time()


def engine_of(root: Path, time: Time, gateway: Gateway, store: MemoryStore | None = None, key: str = "") -> Engine:
    clock = Clock(now=lambda: time.now, sleep=lambda _: None)
    secrets = {"ACME_KEY": "key", "ACME_WEBHOOK_SECRET": SECRET, **({"CALLSHEET_ENCRYPTION_KEY": key} if key else {})}
    return Engine(root, store=store or MemoryStore(), dispatcher=gateway, clock=clock, environment=secrets)


def the_call(engine: Engine) -> Record:
    (call,) = engine.find("call")
    return call


def left_unknown(root: Path, time: Time, *later: Answer | Failure) -> tuple[Engine, Gateway]:
    """An engine with one call that was sent three times and never answered."""
    gateway = Gateway(LOST, LOST, LOST, *later)
    engine = engine_of(root, time, gateway)
    with pytest.raises(UnknownOutcome):
        engine.send("acme/pay", {"amount": 5}, operation="order-1")
    return engine, gateway


def test_an_unknown_call_is_sent_again_with_its_key_and_bytes(root: Path, time: Time) -> None:
    """In the key's window the very same request goes out again, and its answer settles the call."""
    engine, gateway = left_unknown(root, time, ok(id="p_1", amount=5))
    time.moves(seconds=2)
    assert engine.run_due() == 1
    assert the_call(engine)["state"] == "succeeded"
    assert len({(request.body, request.headers) for request in gateway.sent}) == 1
    assert [record["amount"] for record in engine.find("invoice")] == [5]


def test_an_unknown_call_is_not_sent_again_before_its_time(root: Path, time: Time) -> None:
    """Between two tries a worker leaves the call alone."""
    engine, gateway = left_unknown(root, time)
    assert engine.run_due() == 0
    assert len(gateway.sent) == 3


def test_past_the_window_the_gateway_is_asked(root: Path, time: Time) -> None:
    """Half a key's life later only a look-up by our reference is made, and what it finds is the answer."""
    engine, gateway = left_unknown(root, time, ok(items=[{"id": "p_9", "amount": 5}]))
    time.moves(hours=12, seconds=1)
    engine.run_due()
    assert gateway.sent[-1].method == "GET"
    assert f"ref={the_call(engine).id}" in gateway.sent[-1].url
    assert the_call(engine)["state"] == "succeeded"
    assert the_call(engine)["attempts"][-1]["class"] == "looked_up"


def test_two_agreeing_look_ups_prove_that_nothing_was_done(root: Path, time: Time) -> None:
    """Once is not enough; twice, long after, is: then the same operation may be taken up again."""
    engine, gateway = left_unknown(root, time, ok(items=[]), ok(items=[]), ok(id="p_2", amount=5))
    for expected in ("unknown", "not_done"):
        time.moves(hours=13)
        engine.run_due()
        assert the_call(engine)["state"] == expected
    engine.send("acme/pay", {"amount": 5}, operation="order-1")
    assert len({dict(request.headers)["Idempotency-Key"] for request in gateway.sent if request.method == "POST"}) == 1
    assert the_call(engine)["state"] == "succeeded"


def test_a_look_up_without_an_answer_proves_nothing(root: Path, time: Time) -> None:
    """A look-up that fails counts neither for nor against."""
    engine, _ = left_unknown(root, time, *[UNREACHED] * 3, ok(items=[]))
    time.moves(hours=13)
    engine.run_due()
    time.moves(hours=13)
    engine.run_due()
    assert the_call(engine)["state"] == "unknown"


@pytest.mark.parametrize(
    "found", ["response['items']", "(response['items'] | length) > 0", "response['items'][0].id", "{}"]
)
def test_what_is_found_and_is_no_object_proves_nothing(root: Path, time: Time, found: str) -> None:
    """Neither an empty list nor a no is the answer that never came, whatever shape the file expects of one."""
    path = root / "request_types/acme/find_payment.yml"
    path.write_text(path.read_text().replace("response.items[0]", found))
    path = root / "request_types/acme/pay.yml"
    path.write_text(re.sub("\nexpect: .*", "", path.read_text()))
    for items in ([], [{"id": "p_9", "amount": 5}]):
        engine, _ = left_unknown(root, time, ok(items=items))
        time.moves(hours=13)
        engine.run_due()
        assert (the_call(engine)["state"], engine.find("invoice")) == ("unknown", [])


@pytest.mark.parametrize("back", [1, 59, 61, 3000])
def test_what_knows_no_key_is_never_sent_again(root: Path, time: Time, back: int) -> None:
    """Not either where a person has it taken up while the clock is behind the instant at which it was sent."""
    gateway = Gateway(LOST, ok(id="p_1", amount=5))
    engine = engine_of(root, time, gateway)
    with pytest.raises(UnknownOutcome):
        engine.send("acme/pay_once", {"amount": 5})
    time.moves(seconds=-back)
    engine.recovery.come_back(the_call(engine), "ann", "to see")
    assert (engine.run_due(), len(gateway.sent), the_call(engine)["state"]) == (1, 1, "unknown")


def test_a_clock_set_back_sends_nothing_by_its_key(root: Path, time: Time) -> None:
    """How long ago it was sent is not known, so not either whether its key still holds."""
    engine, gateway = left_unknown(root, time, ok(items=[{"id": "p_9", "amount": 5}]))
    time.moves(seconds=-3000)
    engine.recovery.come_back(the_call(engine), "ann", "to see")
    assert engine.run_due() == 1
    assert (gateway.sent[-1].method, the_call(engine)["state"]) == ("GET", "succeeded")


def test_a_clock_behind_the_journal_sends_nothing(root: Path, time: Time) -> None:
    """A clock set back makes an old key look young, so nothing is sent by it."""
    engine, gateway = left_unknown(root, time, ok(items=[]))
    call = the_call(engine)
    engine.recovery.come_back(call, "ann", "now")
    time.moves(minutes=-5)
    engine.store.apply([])
    time.moves(minutes=5)
    time.now = datetime.fromisoformat(call["sent_at"]) - timedelta(minutes=2)
    assert engine.run_due() == 0
    assert len(gateway.sent) == 3


def test_a_call_of_a_dead_process_is_sent_again(root: Path, time: Time) -> None:
    """What a process left in `sending` is taken up when its lease ends, never before."""
    store = MemoryStore()

    def dies(_: Request) -> Answer:
        raise KeyboardInterrupt

    engine = engine_of(root, time, Gateway(dies), store)
    with pytest.raises(KeyboardInterrupt):
        engine.send("acme/pay", {"amount": 5})
    again = Gateway(ok(id="p_1", amount=5))
    heir = engine_of(root, time, again, store)
    time.moves(seconds=59)
    assert heir.run_due() == 0
    time.moves(seconds=2)
    assert heir.run_due() == 1
    assert the_call(heir)["state"] == "succeeded"
    assert len(again.sent) == 1


def test_a_call_without_a_key_is_never_sent_twice(root: Path, time: Time) -> None:
    """Where the gateway knows no keys a dead process's call is unknown, and a person's."""
    store = MemoryStore()

    def dies(_: Request) -> Answer:
        raise KeyboardInterrupt

    engine = engine_of(root, time, Gateway(dies), store)
    with pytest.raises(KeyboardInterrupt):
        engine.send("acme/pay_once", {"amount": 5})
    heir = engine_of(root, time, Gateway(), store)
    time.moves(hours=2)
    heir.run_due()
    assert (the_call(heir)["state"], the_call(heir)["due"]) == ("unknown", None)


def test_a_zombie_changes_nothing(root: Path, time: Time) -> None:
    """Who wakes after its lease was taken over commits nothing; it is told what the other one did."""
    store, heirs = MemoryStore(), Gateway(ok(id="p_1", amount=5))

    def freezes(_: Request) -> Answer:
        time.moves(seconds=61)
        engine_of(root, time, heirs, store).run_due()
        return ok(id="p_1", amount=5)

    engine = engine_of(root, time, Gateway(freezes), store)
    assert engine.send("acme/pay", {"amount": 5}).records[0]["gateway_id"] == "p_1"
    assert [line["class"] for line in the_call(engine)["attempts"]] == ["ok"]
    assert len(engine.find("invoice")) == 1


@pytest.mark.parametrize("named", [{"key": True}, {"ref": True}], ids=["by key", "by reference"])
def test_an_event_settles_the_call_it_names(root: Path, time: Time, named: Mapping[str, bool]) -> None:
    """A verified event that carries our key or our reference is the answer that never came."""
    engine, _ = left_unknown(root, time)
    call = the_call(engine)
    event: dict[str, Any] = {"id": "e_1", "type": "paid", "object": {"id": "p_7", "amount": 5}}
    if "key" in named:
        event["key"] = call["key"]
    else:
        event["object"]["ref"] = call.id
    body = json.dumps(event).encode()
    engine.receive("acme", sign(scheme_of("stripe"), SECRET, body, time.now.timestamp()), body)
    assert the_call(engine)["state"] == "succeeded"
    assert [record["gateway_id"] for record in engine.find("invoice")] == ["p_7"]


def test_an_unmapped_call_is_mapped_again_without_sending(root: Path, time: Time) -> None:
    """A mended mapper is run over the kept answer; nothing leaves."""
    gateway = Gateway(ok(id="p_1", amount="five"))
    engine = engine_of(root, time, gateway)
    with pytest.raises(MappingError):
        engine.send("acme/pay", {"amount": 5})
    with pytest.raises(MappingError):
        engine.recovery.remap(the_call(engine))
    mapper = root / "response_mappers/acme/pay.json.j2"
    mapper.write_text('{"upsert": "invoice", "where": {"gateway_id": {{ response.id }}}}')
    mended = engine_of(root, time, gateway, engine.store)  # type: ignore[arg-type]  # it is the MemoryStore from above
    mended.recovery.remap(the_call(mended))
    assert the_call(mended)["state"] == "succeeded"
    assert len(gateway.sent) == 1


@pytest.mark.parametrize("secret", ["whsec_1", {"key": "whsec_1"}])
def test_a_sealed_part_is_of_the_shape_that_it_came_in(root: Path, time: Time, secret: Any) -> None:
    """A kept answer is what it was, though the text of a sealed part is another: it is mapped again."""
    path = root / "request_types/acme/pay.yml"
    shape = '{pattern: "^whsec_"}' if isinstance(secret, str) else "{type: object}"
    text = path.read_text().replace("required: [id], properties: {", f"properties: {{secret: {shape}, ")
    path.write_text(f"{text}\nsealed: [/secret]\n")
    gateway, key = Gateway(ok(id="p_1", amount="five", secret=secret)), new_key()
    engine = engine_of(root, time, gateway, key=key)
    with pytest.raises(MappingError):
        engine.send("acme/pay", {"amount": 5})
    mapper = root / "response_mappers/acme/pay.json.j2"
    mapper.write_text('{"upsert": "invoice", "where": {"gateway_id": {{ response.id }}}}')
    mended = engine_of(root, time, gateway, engine.store, key)  # type: ignore[arg-type]  # the MemoryStore from above
    response = mended.recovery.remap(the_call(mended)).response
    assert (the_call(mended)["state"], len(gateway.sent)) == ("succeeded", 1)
    assert mended.sealer.open(response["secret"]) == secret
    assert "whsec_1" not in json.dumps(the_call(mended).as_dict())


def test_an_answer_that_the_files_take_for_none_any_more_stays_kept(root: Path, time: Time) -> None:
    """Whoever mends a mapper may break another file: what was carried out is not taken for unknown, nor sent again."""
    gateway = Gateway(ok(id="p_1", amount="five"))
    engine = engine_of(root, time, gateway)
    with pytest.raises(MappingError):
        engine.send("acme/pay", {"amount": 5})
    file = root / "request_types/acme/pay.yml"
    file.write_text(file.read_text().replace("required: [id]", "required: [nothing]"))
    broken = engine_of(root, time, gateway, engine.store)  # type: ignore[arg-type]  # it is the MemoryStore from above
    with pytest.raises(MappingError, match="take its kept answer for none any more"):
        broken.recovery.remap(the_call(broken))
    time.moves(days=2)
    assert broken.run_due() == 0
    assert the_call(broken)["state"] == "unmapped"
    assert len(gateway.sent) == 1


def test_a_refusal_that_cannot_be_mapped_was_still_a_refusal(root: Path, time: Time) -> None:
    """Nobody is told that it was carried out: not who waits, not who asks again; and it can be mapped again."""
    mapper = root / "response_mappers/acme/pay.declined.json.j2"
    mapper.write_text('{"upsert": "invoice", "where": {"gateway_id": {{ response.nothing }}}}')
    refused = Answer(402, {"content-type": "application/json"}, b'{"error": "no funds"}', 0.0)
    gateway = Gateway(refused)
    engine = engine_of(root, time, gateway)
    for _ in range(2):
        with pytest.raises(
            RejectedError,
            match=r"was refused \(no funds\), but the refusal could not be mapped: "
            r"response_mappers/acme/pay.declined.json.j2: .*; the answer is kept: mend the file, then callsheet remap ",
        ) as told:
            engine.send("acme/pay", {"amount": 5}, operation="order-1")
        assert told.value.status == 402
    assert the_call(engine)["state"] == "unmapped"
    with pytest.raises(MappingError, match="was refused"):
        engine.recovery.remap(the_call(engine))
    mapper.write_text('{"upsert": "invoice", "where": {"gateway_id": "none"}, "set": {"amount": {{ data.amount }}}}')
    mended = engine_of(root, time, gateway, engine.store)  # type: ignore[arg-type]  # it is the MemoryStore from above
    assert [one["gateway_id"] for one in mended.recovery.remap(the_call(mended)).records] == ["none"]
    assert the_call(mended)["state"] == "declined"
    assert len(gateway.sent) == 1


def test_a_person_has_the_last_word(root: Path, time: Time) -> None:
    """Who resolved a call, as what and why is kept, and the operation then says so."""
    engine, gateway = left_unknown(root, time)
    engine.recovery.resolve(the_call(engine), "succeeded", "ann", "the bank shows it")
    assert the_call(engine)["audit"][0]["why"] == "the bank shows it"
    with pytest.raises(UnknownOutcome, match="resolved as succeeded by ann"):
        engine.send("acme/pay", {"amount": 5}, operation="order-1")
    with pytest.raises(Conflict):
        engine.recovery.resolve(the_call(engine), "declined", "bob", "no")
    assert len(gateway.sent) == 3


def test_a_queued_call_is_sent_by_a_worker(root: Path, time: Time) -> None:
    """`send_later` sends nothing now; a worker sends it once, and tries again where it provably did not arrive."""
    gateway = Gateway(UNREACHED, UNREACHED, UNREACHED, ok(id="p_1", amount=5))
    engine = engine_of(root, time, gateway)
    engine.wake = lambda: None
    first = engine.send_later("acme/pay", {"amount": 5}, operation="order-2")
    assert engine.send_later("acme/pay", {"amount": 5}, operation="order-2").id == first.id
    assert gateway.sent == []
    engine.run_due()
    assert the_call(engine)["state"] == "prepared"
    time.moves(seconds=2)
    engine.run_due()
    assert the_call(engine)["state"] == "succeeded"


@pytest.mark.parametrize(("status", "state"), [(429, "prepared"), (503, "unknown")])
@pytest.mark.parametrize(("asked", "seconds"), [("600", 600), ("86400", 3600), ("0", 1)])
def test_a_gateway_that_asks_for_time_is_given_it(
    root: Path, time: Time, status: int, state: str, asked: str, seconds: int
) -> None:
    """A worker comes back no sooner than Retry-After says; nobody who asks for more than an hour is believed."""
    busy = Answer(status, {"content-type": "application/json", "retry-after": asked}, b"{}", 0.0)
    engine = engine_of(root, time, Gateway(*[busy] * 3, ok(id="p_1", amount=5)))
    engine.send_later("acme/pay", {"amount": 5})
    engine.run_due()
    assert (the_call(engine)["state"], the_call(engine)["due"]) == (
        state,
        calls.instant(time.now + timedelta(seconds=seconds)),
    )
    time.moves(seconds=seconds)
    engine.run_due()
    assert the_call(engine)["state"] in {"succeeded", state}


def test_a_gateway_that_never_has_time_is_given_up_at_last(root: Path, time: Time) -> None:
    """After so many tries that a call which a look-up set going again, when half of them were used up, has as many."""
    busy = Answer(429, {"content-type": "application/json"}, b"{}", 0.0)
    engine = engine_of(root, time, Gateway(*[busy] * 99))
    engine.wake = lambda: None
    engine.send_later("acme/pay", {"amount": 5})
    for _ in range(MOST_TRIES):
        assert the_call(engine)["state"] == "prepared"
        engine.run_due()
        time.moves(seconds=LATER[-1])
    assert (the_call(engine)["state"], the_call(engine)["tries"]) == ("not_done", MOST_TRIES)


def test_a_queued_call_that_was_not_done_is_sent_again(root: Path, time: Time) -> None:
    """Nobody waits for it, so nobody would repeat it: the proof that nothing was done sets it going again."""
    gateway = Gateway(LOST, LOST, LOST, ok(items=[]), ok(items=[]), ok(id="p_1", amount=5))
    engine = engine_of(root, time, gateway)
    engine.wake = lambda: None
    engine.send_later("acme/pay", {"amount": 5})
    engine.run_due()
    for expected in ("unknown", "prepared"):
        time.moves(hours=13)
        engine.run_due()
        assert the_call(engine)["state"] == expected
    engine.run_due()
    assert the_call(engine)["state"] == "succeeded"


def test_a_queued_call_that_is_never_done_is_left_to_a_person(root: Path, time: Time) -> None:
    """A gateway that loses every attempt is not asked for ever."""
    gateway = Gateway(*[lambda request: ok(items=[]) if request.method == "GET" else LOST] * 200)
    engine = engine_of(root, time, gateway)
    engine.wake = lambda: None
    engine.send_later("acme/pay", {"amount": 5})
    for _ in range(100):
        engine.run_due()
        time.moves(hours=13)
    assert (the_call(engine)["state"], the_call(engine)["due"]) == ("unknown", None)
    assert len(gateway.answers) > 100


def test_a_cancelled_call_is_never_sent(root: Path, time: Time) -> None:
    """Nothing was sent, nothing will be."""
    engine = engine_of(root, time, Gateway())
    engine.wake = lambda: None
    engine.recovery.cancel(engine.send_later("acme/pay", {"amount": 5}), "ann", "ordered twice")
    assert engine.run_due() == 0


def test_a_missing_secret_puts_a_queued_call_off(root: Path, time: Time) -> None:
    """A setting that is gone loses no call: it is tried again."""
    gateway = Gateway(ok(id="p_1", amount=5))
    engine = engine_of(root, time, gateway)
    engine.wake = lambda: None
    engine.send_later("acme/pay", {"amount": 5})
    poor = Engine(root, store=engine.store, dispatcher=gateway, clock=engine.clock, environment={})
    poor.run_due()
    assert (the_call(engine)["state"], gateway.sent) == ("prepared", [])
    time.moves(seconds=2)
    engine.run_due()
    assert the_call(engine)["state"] == "succeeded"


def test_a_call_to_another_origin_is_not_resent(root: Path, time: Time) -> None:
    """A call frozen for a sandbox does not go to the gateway, whatever its key says."""
    engine, gateway = left_unknown(root, time, ok(items=[]))
    time.moves(seconds=2)
    elsewhere = Engine(
        root,
        store=engine.store,
        dispatcher=gateway,
        clock=engine.clock,
        environment={"ACME_KEY": "key"},
        base_urls={"acme": "https://sandbox.acme.test"},
    )
    elsewhere.run_due()
    assert [request.method for request in gateway.sent].count("POST") == 3


def test_a_call_that_was_not_sent_raises_and_is_kept(root: Path, time: Time) -> None:
    """A caller who waits is told; the operation may be taken up again with the same key."""
    gateway = Gateway(UNREACHED, UNREACHED, UNREACHED, ok(id="p_1", amount=5))
    engine = engine_of(root, time, gateway)
    with pytest.raises(TransportError):
        engine.send("acme/pay", {"amount": 5}, operation="order-3")
    engine.send("acme/pay", {"amount": 5}, operation="order-3")
    assert len({request.headers for request in gateway.sent}) == 1


def test_what_a_person_undid_is_done_once(root: Path, time: Time) -> None:
    """A call resolved as not done is taken up again once; then it is a call like any other."""
    gateway = Gateway(LOST, ok(id="p_1", amount=5))
    engine = engine_of(root, time, gateway)
    with pytest.raises(UnknownOutcome):
        engine.send("acme/pay_once", {"amount": 5}, operation="order-1")
    engine.recovery.resolve(the_call(engine), "not_done", "ann", "the bank has never seen it")
    for _ in range(2):
        assert engine.send("acme/pay_once", {"amount": 5}, operation="order-1").response["id"] == "p_1"
    assert len(gateway.sent) == 2
    assert the_call(engine).get("resolution") is None


def test_what_is_taken_up_again_has_its_whole_life_before_it(root: Path, time: Time) -> None:
    """Neither the age nor the look-ups of what was not done count against its second life."""
    engine, gateway = left_unknown(root, time, ok(items=[]), ok(items=[]), LOST, LOST, LOST, ok(id="p_2", amount=5))
    for _ in range(2):
        time.moves(hours=13)
        engine.run_due()
    with pytest.raises(UnknownOutcome):
        engine.send("acme/pay", {"amount": 5}, operation="order-1")
    assert the_call(engine).get("looked_up") is None
    time.moves(seconds=2)
    engine.run_due()
    assert [request.method for request in gateway.sent[-4:]] == ["POST"] * 4
    assert the_call(engine)["state"] == "succeeded"


def test_two_callers_take_up_what_was_not_done(root: Path, time: Time) -> None:
    """One of them sends it; the other is told that it is being sent."""
    gateway = Gateway(UNREACHED, UNREACHED, UNREACHED, ok(id="p_1", amount=5))
    engine = engine_of(root, time, gateway)
    with pytest.raises(TransportError):
        engine.send("acme/pay", {"amount": 5}, operation="order-1")
    apply, found = engine.store.apply, the_call(engine)

    def other_first(changes: Any) -> Any:
        if changes and changes[0].when:
            engine.store.apply = apply  # type: ignore[method-assign]
            apply([calls.taken_anew(found, time.now)])
        return apply(changes)

    engine.store.apply = other_first  # type: ignore[method-assign]
    with pytest.raises(UnknownOutcome, match="another process"):
        engine.send("acme/pay", {"amount": 5}, operation="order-1")
    assert len(gateway.sent) == 3


@pytest.mark.parametrize("name", ["acme/pay", "acme/pay_once"])
@pytest.mark.parametrize("late", [LOST, UNREACHED, ok(id="p_1", amount=5)], ids=["lost", "unreached", "answered"])
def test_a_zombie_is_told_what_became_of_its_call(root: Path, time: Time, name: str, late: Answer | Failure) -> None:
    """Whatever comes to who lost the lease, it commits nothing, and its caller is told of the call as it is."""
    store = MemoryStore()

    def freezes(_: Request) -> Answer | Failure:
        time.moves(seconds=61)
        held = engine_of(root, time, Gateway(), store)
        held.store.apply([calls.abandoned(time.now, 1)])
        return late

    engine = engine_of(root, time, Gateway(*[freezes] * 3), store)
    with pytest.raises(UnknownOutcome, match="another process"):
        engine.send(name, {"amount": 5})
    assert (the_call(engine)["state"], the_call(engine)["attempts"]) == ("sending", [])


def test_a_machine_that_slept_between_two_attempts_does_not_send_again(root: Path, time: Time) -> None:
    """The key's window is looked at before every repeat, not only when a call is taken up."""
    gateway = Gateway(LOST)
    clock = Clock(now=lambda: time.now, sleep=lambda _: time.moves(hours=30))
    engine = Engine(root, store=MemoryStore(), dispatcher=gateway, clock=clock, environment={"ACME_KEY": "key"})
    with pytest.raises(UnknownOutcome):
        engine.send("acme/pay", {"amount": 5})
    assert len(gateway.sent) == 1


def test_a_person_may_have_the_gateway_asked_now(root: Path, time: Time) -> None:
    """In the key's window a worker would send again; a person who would rather know first has it looked up."""
    engine, gateway = left_unknown(root, time, ok(items=[{"id": "p_9", "amount": 5}]))
    assert engine.recovery.look_up(the_call(engine), "ann", "before it is sent again")["state"] == "succeeded"
    assert [request.method for request in gateway.sent] == ["POST"] * 3 + ["GET"]
    assert [(line["who"], line["what"]) for line in the_call(engine)["audit"]] == [("ann", "looked up")]
    with pytest.raises(Conflict, match="only one that is unknown can be looked up"):
        engine.recovery.look_up(the_call(engine), "ann", "again")


def test_what_has_no_look_up_is_not_looked_up(root: Path, time: Time) -> None:
    engine = engine_of(root, time, Gateway(LOST))
    with pytest.raises(UnknownOutcome):
        engine.send("acme/pay_once", {"amount": 5})
    with pytest.raises(Conflict, match="acme/pay_once names no look-up"):
        engine.recovery.look_up(the_call(engine), "ann", "to know")
    assert the_call(engine)["state"] == "unknown"
    assert not the_call(engine)["audit"]


def test_who_mapped_a_call_again_is_kept_whether_it_helped_or_not(root: Path, time: Time) -> None:
    engine = engine_of(root, time, Gateway(ok(id="p_1", amount="five")))
    with pytest.raises(MappingError):
        engine.send("acme/pay", {"amount": 5})
    with pytest.raises(MappingError):
        engine.recovery.remap(the_call(engine), "ann", "the file was mended")
    assert [(line["who"], line["what"]) for line in the_call(engine)["audit"]] == [("ann", "mapped again")]
    assert the_call(engine)["state"] == "unmapped"


# A gateway that says of a repeated key only that it knows it ----------------------------------------------------------

KNOWN = Answer(409, {"content-type": "application/json"}, b'{"error": "it is there already"}', 0.0)
NOTHING = ok(items=[])


def methods(gateway: Gateway) -> list[str]:
    return [request.method for request in gateway.sent]


def at_its_time(engine: Engine, time: Time) -> Record:
    """The only call, after a worker came back to it when it was due."""
    time.now = datetime.fromisoformat(the_call(engine)["due"])
    assert engine.run_due() == 1
    return the_call(engine)


def knows_the_key(request: Request) -> Answer:
    """A gateway that knows the key from what its look-up does not find."""
    return NOTHING if request.method == "GET" else KNOWN


def test_what_a_key_is_known_for_is_looked_up_at_once(root: Path, time: Time) -> None:
    """The same bytes would bring the same 409 for half a day; the look-up brings what was done by them."""
    engine, gateway = left_unknown(root, time, *[KNOWN] * 3, ok(items=[{"id": "p_9", "amount": 5}]))
    call = at_its_time(engine, time)
    assert (call["state"], methods(gateway)) == ("succeeded", ["POST"] * 6 + ["GET"])
    assert [line["class"] for line in call["attempts"]] == ["read_timeout"] * 3 + ["http_409"] * 3 + ["looked_up"]
    assert [record["gateway_id"] for record in engine.find("invoice")] == ["p_9"]


def test_a_dead_process_s_key_that_is_known_is_looked_up_at_once(root: Path, time: Time) -> None:
    """Nothing is known of what that one sent but that it may have."""
    store = MemoryStore()

    def dies(_: Request) -> Answer:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine_of(root, time, Gateway(dies), store).send("acme/pay", {"amount": 5})
    heir = engine_of(root, time, Gateway(*[KNOWN] * 3, ok(items=[{"id": "p_9", "amount": 5}])), store)
    time.moves(seconds=61)
    assert (heir.run_due(), the_call(heir)["state"]) == (1, "succeeded")


@pytest.mark.parametrize(
    "says",
    [[NOTHING], [UNREACHED] * 3, [ok(items=[{"id": "x_1"}])]],
    ids=["finds nothing", "is not answered", "finds something else"],
)
def test_a_look_up_that_does_not_tell_leaves_the_repeats_as_they_were(
    root: Path, time: Time, says: list[Answer | Failure]
) -> None:
    """A gateway may answer 409 while it is still at it; then the next repeat brings what came of it."""
    engine, gateway = left_unknown(root, time, *[KNOWN] * 3, *says, ok(id="p_1", amount=5))
    call = at_its_time(engine, time)
    assert (call["state"], call["tries"], call["looked_up"]) == ("unknown", 2, None)
    assert call["due"] == calls.instant(time.now + timedelta(seconds=LATER[1]))
    assert at_its_time(engine, time)["state"] == "succeeded"
    assert methods(gateway) == ["POST"] * 6 + ["GET"] * len(says) + ["POST"]


@pytest.mark.parametrize("queued", [False, True])
def test_what_a_known_key_did_is_never_called_undone(root: Path, time: Time, *, queued: bool) -> None:
    """However often the look-up finds nothing, in the key's window and after it: then a person is asked.

    Were it called undone, its caller might do the same by another key, and a worker by this one when it is forgotten.
    """
    gateway = Gateway(LOST, *[knows_the_key] * 200)
    engine = engine_of(root, time, gateway)
    engine.wake = lambda: None
    if queued:
        engine.send_later("acme/pay", {"amount": 5}, operation="order-1")
        engine.run_due()
    else:
        with pytest.raises(UnknownOutcome):
            engine.send("acme/pay", {"amount": 5}, operation="order-1")
    while the_call(engine)["due"]:
        assert at_its_time(engine, time)["state"] == "unknown"
    assert the_call(engine)["tries"] == MOST_TRIES + 1
    assert "acme/find_payment did not find it, but the gateway knows its key" in the_call(engine)["message"]
    sent = len(gateway.sent)
    for _ in range(3):
        time.moves(hours=30)
        assert engine.recovery.look_up(the_call(engine), "ann", "to see")["state"] == "unknown"
        with pytest.raises(UnknownOutcome):
            engine.send("acme/pay", {"amount": 5}, operation="order-1")
    assert methods(gateway)[sent:] == ["GET"] * 3
    assert len({dict(request.headers)["Idempotency-Key"] for request in gateway.sent if request.method == "POST"}) == 1


def test_a_conflict_counts_though_later_repeats_bring_something_else(root: Path, time: Time) -> None:
    """A gateway that is out of order afterwards, or is not reached, has not forgotten what it did."""
    engine, _ = left_unknown(root, time, *[KNOWN] * 3, NOTHING, *[LOST] * 3, *[NOTHING] * 2)
    at_its_time(engine, time)
    at_its_time(engine, time)
    for _ in range(2):
        time.moves(hours=13)
        assert (engine.run_due(), the_call(engine)["state"]) == (1, "unknown")


def test_where_no_key_was_sent_a_conflict_says_nothing_of_it(root: Path, time: Time) -> None:
    """What is sent once at most is looked up as after any other answer, and never sent again by itself."""
    once = root / "request_types/acme/pay_once.yml"
    once.write_text(once.read_text() + "lookup: acme/find_payment\n")
    gateway = Gateway(KNOWN, NOTHING, NOTHING)
    engine = engine_of(root, time, gateway)
    with pytest.raises(UnknownOutcome):
        engine.send("acme/pay_once", {"amount": 5})
    for expected in ("unknown", "not_done"):
        time.moves(hours=13)
        assert (engine.run_due(), the_call(engine)["state"]) == (1, expected)
    assert methods(gateway) == ["POST", "GET", "GET"]


def test_where_there_is_no_look_up_a_conflict_is_repeated(root: Path, time: Time) -> None:
    pay = root / "request_types/acme/pay.yml"
    pay.write_text(pay.read_text().replace("lookup: acme/find_payment\n", ""))
    engine, gateway = left_unknown(root, time, *[KNOWN] * 3, ok(id="p_1", amount=5))
    assert [at_its_time(engine, time)["state"] for _ in range(2)] == ["unknown", "succeeded"]
    assert methods(gateway) == ["POST"] * 7


def test_a_look_up_that_finds_nothing_by_its_status(root: Path, time: Time) -> None:
    """A gateway may answer 404 where there is no payment of ours: then it was not carried out."""
    path = root / "request_types/acme/find_payment.yml"
    text = path.read_text().replace(
        'url: /payments\nquery: {ref: "{{ data.call_id }}"}', "url: /payments/{{ data.call_id }}"
    )
    text = text.replace("response.items[0]", "response")
    nothing = Answer(404, {"content-type": "application/json"}, b'{"error": "there is no such payment"}', 0.01)
    for expect, states in (("", ["unknown", "unknown"]), ("expect: {missing: [404]}\n", ["unknown", "not_done"])):
        path.write_text(text + expect)
        engine, _ = left_unknown(root, time, nothing, nothing)
        for state in states:
            time.moves(days=2)
            assert engine.recovery.look_up(the_call(engine), "ann", "to be sure")["state"] == state
