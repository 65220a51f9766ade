"""From a name and data to the call that would be sent: nothing is kept, nothing leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from engine.calls import Plan, instant, sorted_json
from engine.card_numbers import card_numbers, holds_card_number, may_hold_card_number
from engine.context import Context
from engine.errors import DataError, Problem
from engine.json_texts import MAX_DEPTH, is_too_deep
from engine.redaction import MASK, hidden
from engine.request_types import Request, RequestType
from engine.seals import is_sealed
from engine.write_only import texts


def plan(
    context: Context,
    name: str,
    data: Mapping[str, Any],
    operation: str | None = None,
    *,
    parent: str | None = None,
    depth: int = 0,
) -> Plan:
    """The call of request type `name` with `data`.

    `operation` is the caller's key of what is to be done once; without it `idempotency_key` in the data is, and without
    both every call is an operation of its own. What a `parent` hands on may be sealed. Raises UnknownNameError,
    DataError, StoreError where the store's part of a key cannot be had, and what `Sealer.open` does.
    """
    type = context.catalog().request_type(name)
    if isinstance(data, Mapping):
        data = dict(data)  # JSON has no other kind
    text = _written(name, data)
    chosen = operation if parent is None else None  # what is derived from a call's id is nobody's to choose
    if problems := _what_must_not_be_kept(context, data, text, chosen):  # first: whatever else is wrong may quote it
        raise DataError(name, problems)
    checked = type.check(data if parent is None else _handed_on(context, type, data))
    given = checked.pop("idempotency_key", None) if type.journaled else None
    _demand_operation(name, operation, given)
    call_id, now = context.clock.new_id(), instant(context.clock.now())
    names: dict[str, Any] = {
        "settings": {name: context.settings.get(source) for name, source in type.gateway.settings.items()},
        "now": now,
        "call_id": call_id,
        "version": type.gateway.version,
    }
    account = type.account_of(checked, names)
    scope = type.scope(account)
    named = operation or given or call_id
    key = context.key(scope, type.name, named)
    names["account"] = account or None
    unseen = [part for _, part in type.schema.write_only(checked)]
    if not unseen:
        request = type.render(checked, names, key)
        written = text if checked.keys() == data.keys() else None  # nothing renamed, added or taken out
        return Plan(type, call_id, now, named, key, checked, request, request, scope, parent, depth, text=written)
    request, shown = _rendered(type, checked, names, key, unseen)
    return Plan(type, call_id, now, named, key, checked, request, shown, scope, parent, depth, context.sealer)


def _demand_operation(name: str, operation: object, given: str | None) -> None:
    """Raise DataError where one of both names of what is to be done is none."""
    if "" in (operation, given):
        said = "is empty, so nothing would keep a repeat from being sent; name what is to be done, or leave it out"
    elif operation is not None and not isinstance(operation, str):
        said = f"{operation!r} is no text, and an operation is named by one"
    else:
        return
    raise DataError(name, [Problem("/idempotency_key", said)])


def _written(name: str, data: Any) -> str:
    """The JSON text of `data`. Raises DataError for what can have none, or is nested too deep to be read back."""
    try:
        text = sorted_json(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(name, [Problem("", f"is not JSON: {error}")]) from None
    if is_too_deep(text, data):
        raise DataError(name, [Problem("", f"is nested deeper than {MAX_DEPTH} levels; flatten it")])
    return text


def _what_must_not_be_kept(context: Context, data: Any, text: str, operation: str | None) -> list[Problem]:
    """What is sent is kept as it was sent, so no card number and no secret of this host may be in `data`.

    `text` is its JSON. Nor may they be in the operation's name.
    """
    if operation is not None:
        text += sorted_json(operation)
    may = may_hold_card_number(text)
    problems = list(card_numbers(data)) if may else []
    if not problems and may and holds_card_number(operation):
        problems.append(Problem("/idempotency_key", "holds what looks like a card number; take another key"))
    if context.settings.redact(text) != text:
        problems.append(Problem("", "holds a secret of this host; take it out"))
    return problems


def _handed_on(context: Context, type: RequestType, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a follow-up: a mapper has sealed parts of its call's data in reach, and may hand them on."""
    given: dict[str, Any] = type.schema.with_write_only(data, context.sealer.opened)
    outside = type.schema.with_write_only(given, lambda _: None)
    if any(is_sealed(text) for text in texts([outside])):
        raise DataError(type.name, [Problem("", "holds a sealed value where its schema marks nothing writeOnly")])
    return given


def _rendered(
    type: RequestType, data: Mapping[str, Any], names: Mapping[str, Any], key: str, unseen: Iterable[Any]
) -> tuple[Request, Request]:
    """The request, and the same as it may be shown. Raises DataError without what is not to be seen."""
    try:
        request = type.render(data, names, key)
    except DataError as error:
        values = list(texts(unseen))
        problems = [Problem(one.pointer, hidden(one.message, values)) for one in error.problems]
        raise DataError(type.name, problems) from None
    try:
        return request, type.render(type.schema.with_write_only(data, lambda _: MASK), names, key)
    except DataError:  # the file reckons with a value for which a text cannot stand
        return request, replace(request, body=MASK.encode())
