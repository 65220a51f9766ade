"""What holds for any data and any answer, over all shipped files: no value ever becomes syntax."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jinja2
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.answers import parse_json
from engine.calls import given_answer
from engine.card_numbers import holds_card_number, without_card_numbers
from engine.cases import NOW, Case, CaseRunner, read_cases
from engine.catalog import Catalog, shipped
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer
from engine.errors import CallError, DataError
from engine.ids import new_id
from engine.records import Record
from engine.reloading import Files
from engine.request_types import Request
from engine.store.memory import MemoryStore

CASES = read_cases(shipped() / "tests" / "cases")
FILES = Files(None, {}, reload=False)
CATALOG: Catalog = FILES.catalog()
ENVIRONMENT = CaseRunner().environment(CATALOG.gateways)
TYPES = sorted(CATALOG.request_types)

often = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

HOSTILE = [
    "", ".", "..", "/", "../refunds", "a/b", "a\\b", "?x=1", "#x", "@evil.test", "a&amount=1", "a=b", "[0]", "%2e%2e",
    "%", '"', '","state":"paid', "{{ 7 * 7 }}", "{% raw %}", "\r\nX: y", "\x00", "\u2028", "\ud800", "None", "true",
    "0478", "+",
]  # fmt: skip
texts = st.sampled_from(HOSTILE) | st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars, lambda part: st.lists(part, max_size=3) | st.dictionaries(texts, part, max_size=3), max_leaves=6
)


class Answering:
    """A dispatcher that gives one answer, for ever."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer, self.requests = answer or Answer(500, {}, b"", 0.0), list[Request]()

    def send(self, request: Request, **_: Any) -> Answer:
        """As `engine.dispatcher.Sender` says."""
        self.requests.append(request)
        return self.answer


def engine_of(dispatcher: Answering) -> Engine:
    """An engine of the shipped files, in memory, that never waits."""
    made = Engine(
        store=MemoryStore(),
        files=FILES,
        environment=ENVIRONMENT,
        dispatcher=dispatcher,
        clock=Clock(lambda: NOW, new_id, lambda _: None),
    )
    made.wake = lambda: None
    return made


ENGINE = engine_of(Answering())


# Data -----------------------------------------------------------------------------------------------------------------


def fitting(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that mostly fit a JSON Schema, with hostile texts wherever it allows any."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        return st.one_of([fitting({**schema, "oneOf": None, "anyOf": None, **choice}) for choice in choices])
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        return st.one_of([fitting({**schema, "type": one}) for one in kind])
    if kind == "object":
        return _objects(schema)
    if kind == "array":
        return st.lists(fitting(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=3)
    if kind == "string":
        return _strings(schema)
    simple = {"integer": st.integers(schema.get("minimum"), schema.get("maximum")), "boolean": st.booleans()}
    return simple.get(str(kind), scalars)


def _objects(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    known = {name: fitting(part) for name, part in schema.get("properties", {}).items()}
    needed = {name: known[name] for name in schema.get("required", []) if name in known}
    declared = st.fixed_dictionaries(
        needed, optional={name: part for name, part in known.items() if name not in needed}
    )
    more = schema.get("additionalProperties")
    if not isinstance(more, dict):
        return declared
    return st.builds(lambda one, two: {**two, **one}, declared, st.dictionaries(texts, fitting(more), max_size=3))


def _strings(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    formats = {"email": st.just("ada+b&c@example.com"), "uri": st.just("https://shop.test/?a=1&b=2#c")}
    if "format" in schema:
        return formats.get(schema["format"], st.just("2026-01-01T00:00:00Z"))
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    return texts if "maxLength" not in schema else texts.map(lambda text: text[: schema["maxLength"]])


@functools.cache
def _fitting_data(name: str) -> st.SearchStrategy[dict[str, Any]]:
    properties = {key: part for key, part in CATALOG.request_types[name].properties.items() if key != "idempotency_key"}
    return _objects({**CATALOG.request_types[name].schema.document, "properties": properties})


@functools.cache
def _known_data(name: str) -> list[dict[str, Any]]:
    return [
        case.told.get("data", {})
        for case in CASES
        if case.subject == name and case.succeeds and "warns" not in case.told
    ]


@st.composite
def data_for(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Data for a request type: made of its schema or a case's, with now and then a part that is anything at all."""
    data = dict(draw(_fitting_data(name) | st.sampled_from(_known_data(name))))
    keys = sorted(CATALOG.request_types[name].properties.keys() - {"idempotency_key"})
    for key in draw(st.lists(st.sampled_from(keys), max_size=2)) if keys else []:
        data[key] = draw(anything)
    return data


# What a file says, read by other means than the engine's: plain YAML and plain Jinja.

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JINJA = jinja2.Environment(undefined=jinja2.ChainableUndefined, autoescape=False)
JINJA.filters["epoch"] = lambda text: text and (datetime.fromisoformat(text) - EPOCH) // timedelta(seconds=1)


@functools.cache
def _part(name: str, part: str) -> Any:
    text = (shipped() / "request_types" / f"{name}.yml").read_text()
    return yaml.load(text, Loader=yaml.BaseLoader).get(part) or {}


def _evaluated(part: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(part, dict):
        return {key: _evaluated(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_evaluated(value, names) for value in part]
    inside = re.fullmatch(r"\s*\{\{((?:(?!\}\}).)*)\}\}\s*", part, re.DOTALL)
    if not inside:
        return JINJA.from_string(part).render(names)
    return JINJA.compile_expression(" ".join(inside[1].split()), undefined_to_none=False)(**names)


def _present(value: Any) -> Any:
    """Without what is undefined, and without shells of which nothing is left."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        kept = [(key, _present(one)) for key, one in items]
        kept = [(key, one) for key, one in kept if not isinstance(one, jinja2.Undefined)]
        if value and not kept:
            return jinja2.Undefined()
        return dict(kept) if isinstance(value, dict) else [one for _, one in kept]
    return value


def _intended(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _intended(part, f"{name}[{key}]" if name else str(key))
    elif value is None:
        yield name, ""
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    else:
        yield name, str(value)


def _keys(value: Any) -> Iterator[str]:
    """Every key of every mapping inside `value`."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _keys(part)
    if isinstance(value, dict):
        yield from value


@often
@given(st.sampled_from(TYPES).flatmap(lambda name: st.tuples(st.just(name), data_for(name))))
def test_data_decodes_back(drawn: tuple[str, dict[str, Any]]) -> None:
    """Whatever is in the data, what is sent decodes to exactly the intended pairs, or nothing is sent."""
    name, data = drawn
    given_data = copy.deepcopy(data)
    try:
        plan = ENGINE.plan(name, data)
    except DataError:
        return
    assert data == given_data
    version = plan.type.gateway.version
    names = {
        "data": plan.data,
        "call_id": plan.id,
        "settings": {},
        "now": "2026-01-01T00:00:00.000Z",
        "version": version,
    }
    part = "query" if plan.request.method == "GET" else "body"
    wanted = _present(_evaluated(_part(name, part), names))
    pairs = [] if isinstance(wanted, jinja2.Undefined) else list(_intended(wanted))
    sent = plan.request.body.decode("ascii") if part == "body" else urlsplit(plan.request.url).query
    assert Counter(parse_qsl(sent, keep_blank_values=True, max_num_fields=10_000)) == Counter(pairs)
    assert sent.count("&") + bool(sent) == len(pairs)
    assert not any("[" in key or "]" in key for key in _keys(wanted))


@often
@given(st.sampled_from([name for name in TYPES if "metadata" in CATALOG.request_types[name].properties]), texts)
def test_metadata_keys_stay_inside(name: str, key: str) -> None:
    """A metadata key of the caller's is a name inside metadata, or is refused: it is never another parameter."""
    data = {**_known_data(name)[0], "metadata": {key: "7"}}
    try:
        request = ENGINE.plan(name, data).request
    except DataError:
        return
    found = [pair for pair in parse_qsl(request.body.decode("ascii"), keep_blank_values=True) if pair[1] == "7"]
    assert (f"metadata[{key}]", "7") in found


IN_URLS = [
    (name, found)
    for name in TYPES
    for found in dict.fromkeys(re.findall(r"\{\{ data\.(\w+) \}\}", str(_part(name, "url"))))
]


@often
@given(st.sampled_from(IN_URLS), texts | anything)
def test_an_id_is_one_segment(place: tuple[str, str], value: Any) -> None:
    """Any id stays one segment of the path, on the same host, and comes back as it was; or it is refused."""
    name, key = place
    usual = next(data for data in _known_data(name) if data.get(key))
    try:
        request = ENGINE.plan(name, {**usual, key: value}).request
    except DataError:
        return
    assume(value is not None and value != "")  # an update without its id creates
    ours, theirs = urlsplit(ENGINE.plan(name, usual).request.url), urlsplit(request.url)
    before, after = ours.path.split("/"), theirs.path.split("/")
    assert (theirs.scheme, theirs.netloc, theirs.fragment) == (ours.scheme, ours.netloc, "")
    assert len(before) == len(after)
    assert [unquote(part) for part in after] == [str(value) if part == usual[key] else part for part in before]
    assert value not in {".", ".."}


ACTING = [name for name in TYPES if "account" in yaml.safe_load((shipped() / f"request_types/{name}.yml").read_text())]


@often
@given(st.sampled_from(ACTING), texts | st.text("acct_ \t\r\n\x7fé:", min_size=1), texts)
def test_a_header_is_one_line(name: str, value: str, key: str) -> None:
    """Any value in a header is one line of printable ASCII with that value, or is refused; the key is always ours."""
    source = str(_part(name, "account"))
    field = re.findall(r"data\.(\w+)", source)[0]
    try:
        plan = ENGINE.plan(name, {**_known_data(name)[0], field: value}, operation=key or "k")
    except DataError:
        return
    headers = [(header.lower(), text) for header, text in plan.request.headers]
    assert len(dict(headers)) == len(headers)
    assert dict(headers).get("stripe-account", "") == value
    assert all(re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", text) for _, text in headers)
    assert dict(headers).get("idempotency-key", plan.key) == plan.key


# Answers --------------------------------------------------------------------------------------------------------------

ANSWERED = [
    case
    for case in CASES
    if case.kind == "request_types" and isinstance(case.told.get("receives"), dict) and "warns" not in case.told
]
ANSWERED = [case for case in ANSWERED if isinstance(case.told["receives"].get("body"), dict)]
EVENTS = [case for case in CASES if case.kind == "webhook_processors"]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from _places(part, (*path, key))


def _replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    part = functools.reduce(lambda inner, key: inner[key], path[:-1], changed)
    part[path[-1]] = value
    return changed


def _document(case: Case) -> Any:
    return case.told["event"] if case.kind == "webhook_processors" else case.told["receives"]["body"]


def _rendered(case: Case, document: Any, data: Any = None) -> list[Any]:
    """The JSON documents that the case's mapper makes of an answer or event."""
    if case.kind == "webhook_processors":
        mapper, names = CATALOG.processors[case.subject], {"event": document}
    else:
        mapper = CATALOG.mappers[case.subject]
        names = {"response": document, "data": case.told.get("data", {}) if data is None else data, "status": 200}
    told = {**names, "call_id": "call-1", "now": "2026-01-01T00:00:00.000Z", "sent_at": "2026-01-01T00:00:00.000Z"}
    return list(mapper.documents(told))


def _swapped(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _swapped(part, old, new) for key, part in value.items()}
    if isinstance(value, list):
        return [_swapped(part, old, new) for part in value]
    return new if value == old and isinstance(value, str) else value


MAPPED = [case for case in ANSWERED if case.succeeds and case.subject in CATALOG.mappers] + [
    case for case in EVENTS if case.subject in CATALOG.processors
]
TEXT_PLACES = {
    (case.kind, case.subject, path): case
    for case in MAPPED
    for path in _places(_document(case))
    if isinstance(functools.reduce(lambda inner, key: inner[key], path, _document(case)), str)
}


@functools.cache
def _carrying() -> list[tuple[Case, tuple[Any, ...]]]:
    """Places of texts that a mapper only carries over: another text there changes that text, and nothing else."""
    found = []
    for (_, _, path), case in TEXT_PLACES.items():
        was = functools.reduce(lambda inner, key: inner[key], path, _document(case))
        usual = _rendered(case, _document(case))
        try:
            other = _rendered(case, _replaced(_document(case), path, "sentinel"))
        except ValueError:
            continue  # a state that the file does not know
        if usual != other and _swapped(usual, was, "sentinel") == other:
            found.append((case, path))
    return found


@often
@given(st.integers(min_value=0), st.text(min_size=1) | st.sampled_from([text for text in HOSTILE if text]))
def test_a_mapper_carries_any_text(number: int, text: str) -> None:
    """Any text in an answer or an event comes out of its mapper as the same text, and changes nothing beside it."""
    places = _carrying()
    case, path = places[number % len(places)]
    sentinel = _rendered(case, _replaced(_document(case), path, "sentinel"))
    assume(text not in json.dumps(sentinel))
    assert _rendered(case, _replaced(_document(case), path, text)) == _swapped(sentinel, "sentinel", text)


def test_enough_places_are_tried() -> None:
    """The property above is about most mappers and processors; those that only delete carry nothing."""
    carrying, mapped = (
        {(case.kind, case.subject) for case, *_ in some} for some in (_carrying(), [(case,) for case in MAPPED])
    )
    assert len(carrying) >= 0.9 * len(mapped)
    assert len(_carrying()) > 100


@often
@given(st.sampled_from(ANSWERED), st.data(), st.integers(0, 3))
def test_any_answer_ends_in_the_table(case: Case, data: st.DataObject, how_many: int) -> None:
    """Any JSON in the shape of an answer ends as one of the four states, and is kept, but for card numbers."""
    document = _document(case)
    for _ in range(how_many):
        places = list(_places(document))
        if places:
            document = _replaced(document, data.draw(st.sampled_from(places)), data.draw(anything))
    raw = json.dumps(document).encode()
    engine = engine_of(
        Answering(Answer(case.told["receives"].get("status", 200), {"content-type": "application/json"}, raw, 0))
    )
    outcome = "succeeded"
    try:
        engine.send(case.subject, case.told.get("data", {}), operation="a")
    except DataError:
        return
    except CallError as error:
        outcome = type(error).__name__
    if CATALOG.request_types[case.subject].journaled:
        (call,) = [call for call in engine.find("call") if call["parent"] is None]
        states = {"succeeded": {"succeeded"}, "RejectedError": {"declined", "unmapped"}, "UnknownOutcome": {"unknown"}}
        assert call["state"] in {**states, "MappingError": {"unmapped"}, "TransportError": {"not_done"}}[outcome]
        if not CATALOG.request_types[case.subject].sealed:
            assert given_answer(call["answer"], engine.sealer).body.decode() == _as_kept(document)
    else:
        assert outcome in {"succeeded", "RejectedError", "UnknownOutcome", "MappingError"}


def _as_kept(document: Any) -> str:
    """The JSON of what came, as it is kept: card numbers are masked, in the text where Infinity makes it none."""
    said = json.dumps(document)
    try:
        parse_json(said.encode())
    except ValueError:
        return str(without_card_numbers(said))
    return json.dumps(without_card_numbers(document)) if holds_card_number(document) else said


def test_a_card_number_beside_what_is_no_json() -> None:
    """Is masked in an event as it stands in the text."""
    case = next(case for case in EVENTS if case.subject == "stripe/account.application.authorized")
    document = {**case.told["event"], "id": [2464159745071927.0, float("inf")]}
    row = receive(engine_of(Answering()), case, document)
    assert row["body"] == _as_kept(document)
    assert row["body"].startswith('{"id": [***.0, Infinity], ')


@often
@given(st.sampled_from(EVENTS), st.data())
def test_any_event_is_written_down(case: Case, data: st.DataObject) -> None:
    """Any JSON in the shape of an event ends in a row that says what became of it; it is kept, but for card numbers."""
    document = case.told["event"]
    for _ in range(data.draw(st.integers(1, 3))):
        document = _replaced(document, data.draw(st.sampled_from(list(_places(document)))), data.draw(anything))
    engine = engine_of(Answering())
    try:
        row = receive(engine, case, document)
    except UnicodeEncodeError:
        pytest.fail("an event was not written down")
    assert row["state"] in {"processed", "ignored", "failed", "quarantined"}
    assert row["body"] == _as_kept(document)


def receive(engine: Engine, case: Case, event: Any) -> Record:
    """Have an event delivered, signed with the secret of the case's endpoint."""
    from engine.signatures import SHIPPED, sign

    body, endpoint = json.dumps(event).encode(), case.told.get("endpoint", "")
    webhook = CATALOG.gateways["stripe"].webhook or {}
    names = (webhook["endpoints"][endpoint] if endpoint else webhook)["secrets"]
    headers = sign(SHIPPED["stripe"], engine.settings.secret(names[0]), body, NOW.timestamp())
    return engine.receive("stripe", headers, body, endpoint=endpoint)
