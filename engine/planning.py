"""From a name and data to the call that would be sent: nothing is kept, nothing leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.calls import Plan, instant
from engine.card_numbers import card_numbers
from engine.context import Context
from engine.errors import DataError, Problem


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
    both every call is an operation of its own. Raises UnknownNameError and DataError.
    """
    type = context.catalog().request_type(name)
    checked = type.check(data)
    given = checked.pop("idempotency_key", None) if type.journaled else None
    if problems := [*card_numbers(checked), *_secrets(context, checked)]:
        raise DataError(name, problems)
    call_id = context.clock.new_id()
    names = {
        "settings": {name: context.settings.get(source) for name, source in type.gateway.settings.items()},
        "now": instant(context.clock.now()),
        "call_id": call_id,
        "version": type.gateway.version,
    }
    account = type.account_of(checked, names)
    scope = type.scope(account, live=context.settings.live)
    named = operation or given or call_id
    key = context.key(scope, type.name, named)
    request = type.render(checked, {**names, "account": account or None}, key)
    return Plan(type, call_id, named, key, checked, request, scope, parent, depth)


def _secrets(context: Context, data: Mapping[str, Any]) -> list[Problem]:
    """What is sent is kept as it was sent, so a secret of this host must not be in it."""
    text = json.dumps(data)
    return [] if context.settings.redact(text) == text else [Problem("", "holds a secret of this host; take it out")]
