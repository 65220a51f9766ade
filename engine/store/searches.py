"""What `where` asks for, said in SQL. It must find what `engine.records.matches` finds.

Hides: that questions of one shape are one statement, which is built once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    false,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.types import TypeEngine

from engine.comparison import RANGES, bounds, fits, sortable
from engine.store import Order
from engine.store.statements import Question
from engine.store.tables import INDEX, KEY, Shelf, shelf

_ONE = (str, int, float)
_SIGNS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {"eq": operator.eq, **RANGES}

Signs = tuple[tuple[str, int], ...]  # each with the number of values it is compared with
Shape = tuple[tuple[str, tuple[Signs, ...]], ...]  # names, each with the signs of its alternatives
_LIMIT: ColumnElement[int] = literal_column("0") + bindparam("limit", type_=BigInteger)
"""A sum, because SQLite 3.53 compiles a statement anew whenever a number is bound that is its limit alone."""

_ONE_VALUE: tuple[Signs, ...] = ((("eq", 1),),)


def through_index(place: Shelf, where: Mapping[str, Any]) -> set[str]:
    """The names in `where` that only the index table can find."""
    return where.keys() - place.direct


def by_id(type: str, ids: Collection[str]) -> Question:
    """Lock the records with `ids`, in one order everywhere: so no two transactions wait for each other.

    The rows of this and every other question are for `Shelf.record`.
    """
    return _by_id, (type, len(ids)), _numbered("id", sorted(ids))


def by_id_or_key(type: str, ids: Collection[str], keys: Collection[str]) -> Question:
    """The same, and those with `keys`, of a type whose unique key is a column."""
    values = _numbered("id", sorted(ids)) | _numbered("key", sorted(keys))
    return _by_id_or_key, (type, len(ids), len(keys)), values


def by_key(type: str, keys: Collection[str]) -> Question:
    """Lock the records that have the unique `keys`, in the same order; each row has the key as its last value."""
    return _by_key, (type, len(keys)), _numbered("key", sorted(keys))


def page(type: str, where: Mapping[str, Any], order: Order, limit: int, after: str | None) -> Question:
    """One page of the records that `where` asks for."""
    shape, values = _asked(where)
    values["limit"] = limit
    if after is None:
        return _page, (type, shape, order, False), values
    return _page, (type, shape, order, True), {**values, "after": sortable(after)}


def claim(type: str, where: Mapping[str, Any], limit: int | None) -> Question:
    """Lock the first records that `where` asks for, those longest due first.

    With a `limit`, records that somebody else holds are passed over; without, the one record meant is waited for.
    """
    shape, values = _asked(where)
    return _claim, (type, shape, limit is not None), {**values, "limit": limit or 1}


def _asked(where: Mapping[str, Any]) -> tuple[Shape, dict[str, Any]]:
    shape: list[tuple[str, tuple[Signs, ...]]] = []
    values: dict[str, Any] = {}
    for place, (name, wanted) in enumerate(where.items()):
        if type(wanted) is str and name != "live":  # what is mostly asked for
            shape.append((name, _ONE_VALUE))
            values[f"eq_{place}_0_0"] = sortable(wanted)
            continue
        alternatives = _truths(wanted) if name == "live" else _alternatives(wanted)
        signs = []
        for number, alternative in enumerate(alternatives):
            lists = {sign: value if sign == "in" else [value] for sign, value in alternative.items()}
            signs.append(tuple((sign, len(values)) for sign, values in lists.items()))
            for sign, compared in lists.items():
                values |= _numbered(f"{sign}_{place}_{number}", compared)
        shape.append((name, tuple(signs)))
    return tuple(shape), values


def _numbered(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"{name}_{number}": value for number, value in enumerate(values)}


def _parameters(name: str, number: int, kind: TypeEngine[Any] | None = None) -> list[Any]:
    return [bindparam(each, type_=kind or Text()) for each in _numbered(name, range(number))]


def _alternatives(wanted: Any) -> list[dict[str, Any]]:
    """Signs and what they compare with, any of which will do. No sign at all asks for what is absent."""
    if wanted is None:
        return [{}]
    if isinstance(wanted, Mapping):
        return [dict(bounds(wanted))]
    if not isinstance(wanted, list | tuple):
        return [{"eq": sortable(wanted)}]
    others = [one for one in wanted if not isinstance(one, _ONE)]
    values = [sortable(one) for one in wanted if isinstance(one, _ONE)]
    return [{"in": values}, *(alternative for one in others for alternative in _alternatives(one))]


def _truths(wanted: Any) -> list[dict[str, Any]]:
    return [{"in": [truth for truth in (False, True) if fits(wanted, truth)]}]


def _by_id(type: str, number: int) -> Select[Any]:
    place = shelf(type)
    id = place.table.c.id
    return select(*place.kept).where(place.mine, id.in_(_parameters("id", number))).order_by(id).with_for_update()


def _by_id_or_key(type: str, ids: int, keys: int) -> Select[Any]:
    place = shelf(type)
    id, key = place.table.c.id, place.key
    named = [] if key is None or not keys else [key.in_(_parameters("key", keys))]
    if ids:
        named.append(id.in_(_parameters("id", ids)))
    return select(*place.kept).where(or_(*named)).order_by(id).with_for_update()


def _by_key(type: str, number: int) -> Select[Any]:
    place = shelf(type)
    id = place.table.c.id
    both = place.table.join(KEY, KEY.c.record_id == id)
    asked = KEY.c.text.in_(_parameters("key", number))
    rows = select(*place.kept, KEY.c.text).select_from(both).where(place.mine, asked)
    return rows.order_by(id).with_for_update(of=place.table)


def _page(type: str, shape: Shape, order: Literal["id", "-id"], paged: bool) -> Select[Any]:
    place = shelf(type)
    statement, id = _search(place, shape)
    after = bindparam("after", type_=Text)
    if paged:
        statement = statement.where(id < after if order == "-id" else id > after)
    # SQLite would rather walk a whole table in the order of the ids than sort the few rows that a range finds.
    order_by = id.concat("") if _has_range(place, shape) else id
    return statement.order_by(order_by.desc() if order == "-id" else order_by).limit(_LIMIT)


def _has_range(place: Shelf, shape: Shape) -> bool:
    ranges = {name for name, alternatives in shape for signs in alternatives for sign, _ in signs if sign in RANGES}
    return not ranges.isdisjoint(place.columns)


def _claim(type: str, shape: Shape, passes_over: bool) -> Select[Any]:
    place = shelf(type)
    by_due = "due" in place.columns
    statement, id = _search(place, shape, walks="due" if by_due and "due" in dict(shape) else None)
    order = [place.table.c.due, id] if by_due else [id]
    locked = statement.with_for_update(of=place.table, skip_locked=passes_over)
    return locked.order_by(*order).limit(_LIMIT)


def _search(place: Shelf, shape: Shape, walks: str | None = None) -> tuple[Select[Any], ColumnElement[str]]:
    """The rows that fit, and the column by which their ids are best ordered.

    `walks` names a column whose index is to be walked, whatever a database thinks of the others: SQLite would rather
    gather and sort a backlog at every claim than take the first few that are due.

    One value of an indexed property is a join, because its entries stand in the order of the ids: a page of them costs
    the page, however many there are. Lists and ranges are gathered first. Of columns the first is walked; one value of
    another is looked for in that one's index, which is far smaller than the rows.
    """
    table, id = place.table, place.table.c.id
    source: FromClause = table
    ids, conditions = [], [place.mine]
    first = next((name for name, alternatives in shape if alternatives == _ONE_VALUE and name in place.columns), None)
    for number, (name, alternatives) in enumerate(shape):
        column = _column(place, name, walks)
        if alternatives == _ONE_VALUE and first not in {None, name} and name in place.walked:
            other = table.alias()
            is_meant = _compared(other.c[name], alternatives[0], f"{number}_0")
            source = source.join(other, and_(other.c.id == id.concat(""), is_meant))
        elif column is None and alternatives == _ONE_VALUE:
            entry = INDEX.alias()
            ids.append(entry.c.record_id)
            is_meant = and_(_entries(entry, place, name), _compared(entry.c.value, alternatives[0], f"{number}_0"))
            source = source.join(entry, and_(entry.c.record_id == id, is_meant))
        else:
            tests = (_test(place, name, column, signs, f"{number}_{one}") for one, signs in enumerate(alternatives))
            conditions.append(or_(*tests))
    return select(*place.kept).select_from(source).where(*conditions), next(iter(ids), id)


def _column(place: Shelf, name: str, walks: str | None) -> ColumnElement[Any] | None:
    """The column of the property `name`, None where only the index table knows it."""
    if through_index(place, {name: None}):
        return None
    column: ColumnElement[Any] = place.table.c[name]
    in_the_way = walks is not None and name != walks and name in place.columns
    return column.concat("") if in_the_way else column  # of no use to an index any more


def _test(place: Shelf, name: str, column: ColumnElement[Any] | None, signs: Signs, suffix: str) -> ColumnElement[bool]:
    if column is not None:
        return _compared(column, signs, suffix) if signs else column.is_(None)
    entries = select(INDEX.c.record_id).where(_entries(INDEX, place, name))
    if not signs:
        return place.table.c.id.not_in(entries)
    return place.table.c.id.in_(entries.where(_compared(INDEX.c.value, signs, suffix)))


def _entries(index: FromClause, place: Shelf, name: str) -> ColumnElement[bool]:
    return and_(index.c.type == place.type, index.c.name == name)


def _compared(column: ColumnElement[Any], signs: Signs, suffix: str) -> ColumnElement[bool]:
    kind = column.type if isinstance(column.type, Boolean) else None
    tests = []
    for sign, number in signs:
        values = _parameters(f"{sign}_{suffix}", number, kind)
        tests.append(_SIGNS[sign](column, values[0]) if sign in _SIGNS else column.in_(values) if values else false())
    return and_(true(), *tests)
