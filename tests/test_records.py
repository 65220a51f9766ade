"""Records, changes and comparisons, without any store."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.comparison import fits, sortable, texts
from engine.errors import Conflict, DataError, UnknownNameError
from engine.ids import new_id
from engine.records import Change, Record, RecordType, Scope, matches, outcomes, resulting

HERE = Scope("stripe")
TYPE = RecordType(
    "payment",
    {"gateway_id": {"type": "string"}, "state": {"type": "string"}, "amount": {"type": "integer"}, "tags": {}},
    required=("gateway_id", "state"),
    unique=(("gateway_id",), ("state", "amount")),
    index=("tags",),
)
FRAME = RecordType("frame", TYPE.properties, required=TYPE.required, unique=TYPE.unique, within=("gateway",))


def record(*, as_of: str | None = None, id: str = "id-1", scope: Scope = HERE, **properties: Any) -> Record:
    return Record("payment", id, scope, {"gateway_id": "ch_1", "state": "pending", **properties}, as_of)


def change(verb: Any, where: Mapping[str, Any] | None = None, **rest: Any) -> Change:
    return Change(verb, TYPE, HERE, {"gateway_id": "ch_1"} if where is None else where, **rest)


class TestResulting:
    def test_an_upsert_creates_from_where_and_set_without_nulls(self) -> None:
        made = resulting(change("upsert", set={"state": "paid", "amount": None}, as_of="2"), None)
        assert made is not None
        assert made == Record("payment", made.id, HERE, {"gateway_id": "ch_1", "state": "paid"}, "2")

    def test_an_upsert_keeps_what_it_does_not_name(self) -> None:
        made = resulting(change("upsert", set={"state": "paid"}), record(amount=5, as_of="1"))
        assert made == record(state="paid", amount=5, as_of="1")

    def test_an_update_never_moves_a_record_to_its_where(self) -> None:
        made = resulting(change("update", {"id": "id-1", "state": "pending"}, set={"amount": 1}), record())
        assert made == record(amount=1)

    def test_an_insert_may_choose_its_id(self) -> None:
        made = resulting(change("insert", {"id": "mine"}, set={"gateway_id": "x", "state": "new"}), None)
        assert made is not None
        assert made.id == "mine"

    def test_an_insert_changes_nothing_that_is_there(self) -> None:
        assert resulting(change("insert", set={"state": "paid"}), record()) is None

    @pytest.mark.parametrize("verb", ["update", "delete"])
    def test_what_is_not_there_is_skipped(self, verb: str) -> None:
        assert resulting(change(verb), None) is None

    def test_only_an_update_waits(self) -> None:
        with pytest.raises(Conflict, match=r'update payment where {"gateway_id": "ch_1"}: there is no such record yet'):
            resulting(change("update", missing="wait"), None)
        assert resulting(change("delete", missing="wait"), None) is None

    def test_a_delete_names_what_goes(self) -> None:
        assert resulting(change("delete"), record()) == record()
        assert resulting(change("delete", when={"state": "paid"}), record()) is None

    @pytest.mark.parametrize(("as_of", "is_made"), [("1", False), ("2", True), ("3", True), (None, True)])
    def test_an_older_view_is_skipped(self, as_of: str | None, is_made: bool) -> None:
        made = resulting(change("upsert", set={"state": "paid"}, as_of=as_of), record(as_of="2"))
        assert (made is not None) == is_made
        assert made is None or made.as_of == (as_of or "2")

    @pytest.mark.parametrize(
        ("earlier", "later"),
        [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.500Z"),
            ("2026-10-25T02:30:00+02:00", "2026-10-25T02:10:00+01:00"),
            ("2026-01-01T01:00:00+01:00", "2026-01-01T00:30:00"),
            ("2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:00.000000002Z"),
            ("00009", "00010"),
        ],
    )
    def test_of_two_instants_the_later_one_counts(self, earlier: str, later: str) -> None:
        """However a gateway writes them: a whole second has no fraction, and clocks are set back in autumn."""
        paid = {"state": "paid"}
        assert resulting(change("update", set=paid, as_of=later), record(as_of=earlier)) is not None
        assert resulting(change("update", set=paid, as_of=earlier), record(as_of=later)) is None

    def test_required_counts_at_creation_only(self) -> None:
        with pytest.raises(DataError, match="/state: is required"):
            resulting(change("upsert"), None)
        assert resulting(change("upsert", set={"state": None}), record()) is not None

    @pytest.mark.parametrize(
        ("new", "said"),
        [
            ({"state": 5}, "/state: 5 is not of type string"),
            ({"amount": True}, "/amount: True is not of type integer"),
            ({"sate": "paid"}, "/sate: is not known here; did you mean 'state'?"),
        ],
    )
    def test_the_record_that_results_must_be_valid(self, new: dict[str, Any], said: str) -> None:
        for current in (None, record()):
            with pytest.raises(DataError, match=re.escape(said)):
                resulting(change("upsert", set={"state": "paid", **new}), current)

    def test_what_a_change_leaves_as_it_is_may_be_of_an_older_file(self) -> None:
        made = resulting(change("upsert", set={"state": "paid"}), record(amount="5 USD"))
        assert made == record(state="paid", amount="5 USD")

    @pytest.mark.parametrize("where", [{"id": "a\x00"}, {"id": "\ud800"}, {"id": "a\nb"}])
    def test_an_id_is_printable(self, where: dict[str, Any]) -> None:
        with pytest.raises(DataError, match="/id: has control characters"):
            resulting(change("insert", where, set={"gateway_id": "x", "state": "new"}), None)


class TestOutcomes:
    def test_each_candidate_is_asked_again_whether_it_is_meant(self) -> None:
        moved = change("update", {"state": "pending"}, set={"state": "paid"}, limit=5)
        there = [record(id="1"), record(id="2", state="paid"), record(id="3")]
        assert [one.id for _, one in outcomes(moved, there)] == ["1", "3"]

    def test_a_record_of_another_scope_is_not_meant_by_id_or_key(self) -> None:
        stranger = record(scope=Scope("stripe", "acct_1"))
        for where in ({"id": "id-1"}, {"gateway_id": "ch_1"}):
            assert outcomes(change("update", where, set={"amount": 1}), [stranger]) == []
        ((was, becomes),) = outcomes(change("update", {"tags": None}, set={"amount": 1}, limit=1), [stranger])
        assert (was, becomes.scope) == (stranger, stranger.scope)

    def test_must(self) -> None:
        for candidates in ([], [record(state="paid")]):
            with pytest.raises(Conflict, match="or another process changed it first"):
                outcomes(change("update", when={"state": "pending"}, must=True), candidates)

    def test_a_creation_has_nothing_before_it(self) -> None:
        ((before, _),) = outcomes(change("upsert", set={"state": "paid"}), [])
        assert before is None


class TestNaming:
    @pytest.mark.parametrize(
        ("named", "expected"),
        [
            (change("update", {"id": "x", "state": "a"}), ("x", [])),
            (change("update", {"gateway_id": "ch_1"}), (None, ["gateway_id"])),
            (change("update", {"amount": 1, "state": "a"}), (None, ["state,amount"])),
            (change("update", {"gateway_id": "ch_1", "state": "a"}), (None, [])),
            (change("update", {"gateway_id": ["ch_1"]}), (None, [])),
            (change("update", {"id": ["a", "b"]}), (None, [])),
            (change("update", {"gateway_id": None}), (None, [])),
            (change("insert", {}, set={"state": "a", "amount": 1}), (None, ["state,amount"])),
            (change("insert", {"id": "x"}, set={"gateway_id": "x"}), ("x", ["gateway_id"])),
            (change("insert", {}, set={}), (None, [])),
        ],
    )
    def test_a_change_names_its_record_by_id_or_one_whole_key(self, named: Change, expected: Any) -> None:
        id, keys = named.lookup.id, named.lookup.keys
        names = named.type.keys_of(named.scope, {**named.where, **named.set})
        assert (id, [names[key] for key in keys]) == expected
        assert named.searches == (named.verb == "update" and expected == (None, []))

    def test_keys_differ_by_type_name_scope_and_value(self) -> None:
        scopes = [HERE, Scope("stripe", "a"), Scope("stripe", "", True), Scope("adyen")]
        values = [{"gateway_id": value} for value in ("a", "b", 1, "1", True, "x" * 999, "x" * 998 + "y")]
        found = {
            text
            for one in (TYPE, FRAME)
            for scope in scopes
            for value in values
            for text, name in one.keys_of(scope, value).items()
            if name == "gateway_id"
        }
        assert len(found) == len(values) * (len(scopes) + 2)  # the account and the mode do not count for a frame
        assert set(TYPE.keys_of(HERE, {"state": "a", "amount": 1}).values()) == {"state,amount"}
        pair = RecordType("pair", {"a": {}, "b": {}}, unique=(("a",), ("b",)))
        assert len(pair.keys_of(HERE, {"a": 1, "b": 1})) == 2
        assert max(map(len, found)) <= 200

    def test_what_can_be_searched(self) -> None:
        TYPE.check_searchable(["id", "live", "gateway_id", "tags", "amount"])
        assert TYPE.indexed == {"gateway_id", "state", "amount", "tags"}
        assert TYPE.entries({"state": "a", "amount": None, "tags": ["x", "y", None, "x"]}) == {
            ("state", "a"),
            ("tags", "x"),
            ("tags", "y"),
        }
        with pytest.raises(UnknownNameError, match="there is no property of payment 'tag'; did you mean 'tags'"):
            TYPE.check_searchable(["tag"])


class TestRecord:
    def test_reading(self) -> None:
        one = record(amount=5, scope=Scope("stripe", "acct_1", True))
        assert [one[name] for name in ("id", "gateway", "account", "live", "amount")] == [
            "id-1",
            "stripe",
            "acct_1",
            True,
            5,
        ]
        assert (one.get("tags"), one.get("tags", ())) == (None, ())
        assert TYPE.complete(one)["tags"] is None
        assert one.as_dict() == {"id": "id-1", "gateway": "stripe", "account": "acct_1", "live": True, **one.properties}

    def test_json_is_ascii_and_loses_nothing(self) -> None:
        odd = {"a": "\x00\ud800é", "b": 10**100, "c": {"d": [1.5, None]}}
        text = record(tags=odd).to_json()
        assert text.isascii()
        assert "\x00" not in text
        assert json.loads(text)["tags"] == odd

    def test_what_is_not_json(self) -> None:
        endless = dict[str, Any]()
        endless["again"] = [endless]
        for value in (float("nan"), float("inf"), b"x", {1, 2}, object(), 10**5000, endless):
            with pytest.raises(DataError, match="is not JSON"):
                record(tags=value).to_json()


PLAIN = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec=None), max_size=8),
    st.text(st.sampled_from("\x00\x01\x02\x03\x04\x05a\ud7fe\ud7ff\ud800\udfff\ue000\U0010ffff"), max_size=4),
)


def plain_and_text(value: Any) -> tuple[Any, str]:
    """What to compare, and its text. A number is what its JSON says, which is not quite what a float holds."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number else value, sortable(value)


class TestComparison:
    @given(PLAIN.map(plain_and_text), PLAIN.map(plain_and_text))
    def test_texts_sort_as_values_do(self, one: tuple[Any, str], other: tuple[Any, str]) -> None:
        if type(one[0]) is type(other[0]):
            assert (one[1] < other[1]) == (one[0] < other[0])
            assert (one[1] == other[1]) == (one[0] == other[0])
        else:
            assert one[1] != other[1]

    @given(PLAIN)
    def test_texts_fit_any_database(self, value: Any) -> None:
        text = sortable(value)
        assert "\x00" not in text
        assert len(text.encode()) < 2000  # which a lone surrogate could not pass

    def test_every_character_keeps_its_place(self) -> None:
        ordered = [sortable(chr(code)) for code in range(0x11000)]
        assert ordered == sorted(ordered)
        assert len(set(ordered)) == len(ordered)

    def test_sane_texts_stay_as_they_are(self) -> None:
        assert [sortable(text) for text in ("paid", "", "2026-01-01T00:00:00.000Z", "é\n")] == [
            "paid",
            "",
            "2026-01-01T00:00:00.000Z",
            "é\n",
        ]

    def test_long_texts(self) -> None:
        one, other = sortable("x" * 5000 + "a"), sortable("x" * 5000 + "b")
        assert one != other
        assert sortable("w" * 9000) < one < sortable("y")
        assert max(len(one), len(sortable({"a": "x" * 5000}))) < 400

    def test_a_long_number_is_shortened_and_still_told_apart(self) -> None:
        long = 7 * 10**3000
        texts = [sortable(number) for number in (-long - 2, -long, 0, long // 10, long, long * 10)]
        assert max(map(len, texts)) < 400
        assert texts[1:] == sorted(texts[1:])
        assert len({*texts, sortable(long + 1), sortable(long + 2)}) == 8

    @pytest.mark.parametrize(
        ("wanted", "value", "does"),
        [
            ("a", "a", True),
            (1, 1.0, True),
            (1, True, False),
            (1, "1", False),
            (None, None, True),
            (None, [], True),
            (None, {}, False),
            (None, 0, False),
            ("a", None, False),
            (["a", "b"], "b", True),
            (["a", None], None, True),
            ([], "a", False),
            ("a", ["a", "b"], True),
            ("c", ["a", "b"], False),
            ({"gte": 1}, 1, True),
            ({"gte": 1, "lt": 1}, 1, False),
            ({"gt": 1, "lt": 4}, [0, 5], False),  # one item must fit all of it
            ({"lt": "b"}, None, False),
            ({"lt": None}, "a", False),
            ([{"lt": 0}, {"gt": 9}], 10, True),
        ],
    )
    def test_fits(self, wanted: Any, value: Any, does: bool) -> None:
        assert fits(wanted, value) == does

    def test_matches_asks_for_everything(self) -> None:
        one = record(amount=5)
        assert matches({}, one)
        assert matches({"state": "pending", "id": ["id-1"], "live": False, "amount": {"gt": 4}}, one)
        assert not matches({"state": "pending", "amount": 4}, one)
        assert not matches({"gateway": "adyen"}, one)

    def test_an_object_is_found_by_its_being_there_only(self) -> None:
        assert list(texts({"b": 1, "a": 2})) == list(texts({"a": 2, "b": 1}))
        assert not fits(None, {"a": 1})


class TestIds:
    def test_they_are_version_7_and_sort_by_age(self) -> None:
        ids = [new_id() for _ in range(20_000)]
        assert ids == sorted(ids)
        assert len(set(ids)) == len(ids)
        pattern = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
        assert all(pattern.fullmatch(id) for id in random.sample(ids, 200))

    def test_threads_never_get_the_same(self) -> None:
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.extend([new_id() for _ in range(2000)])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 8000


@pytest.mark.parametrize("nested", ["in itself", "deeply"])
def test_a_record_of_what_has_no_end_is_refused(nested: str) -> None:
    value: list[Any] = []
    value.append(value)
    for _ in range(100_000 if nested == "deeply" else 0):
        value = [value]
    with pytest.raises(DataError, match="is not JSON"):
        record(note=value).to_json()
