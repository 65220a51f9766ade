"""The work: one payment of six parameters and some metadata, and the charge of 1.6 KB that answers it.

What the files say of it is written here once more by hand, as somebody would who needed this one call and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from engine.request_types import Request

NAME = "stripe/create_payment"
SECRET = "sk_test_benchmark"
CHARGE_ID = "ch_3MmlLrLkdIwHu7ixaBcDeFgH"
CALL_ID = "0198c0de-5b1a-7c3e-9f0d-3ab2c4d5e6f7"
KEY = "k" * 52
NOW = "2026-01-01T00:00:00.000Z"

DATA: dict[str, Any] = {
    "amount": 4200,
    "currency": "usd",
    "source": "tok_visa",
    "customer": "cus_NffrFeUfNV2Hib",
    "description": "Order 17: two tickets & a programme",
    "receipt_email": "ada@example.com",
    "metadata": {"order": "17", "shop": "north"},
    "external_id": "order-17",
}


def parameters(call_id: str) -> dict[str, Any]:
    """What goes to the gateway, as any client library takes it."""
    sent = {name: value for name, value in DATA.items() if name not in {"metadata", "external_id"}}
    return {**sent, "metadata": {**DATA["metadata"], "callsheet_call": call_id}}


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """`values` with one level of mappings written as name[key]."""
    pairs: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            pairs |= {f"{name}[{key}]": str(part) for key, part in value.items()}
        else:
            pairs[name] = str(value)
    return pairs


def request_by_hand(data: Mapping[str, Any], url: str, version: str, call_id: str = CALL_ID, key: str = KEY) -> Request:
    """The request that the files describe."""
    form = {
        "amount": data.get("amount"),
        "currency": data.get("currency"),
        "source": data.get("source"),
        "customer": data.get("customer"),
        "capture": data.get("capture"),
        "description": data.get("description"),
        "statement_descriptor": data.get("statement_descriptor"),
        "statement_descriptor_suffix": data.get("statement_descriptor_suffix"),
        "receipt_email": data.get("receipt_email"),
        "shipping": data.get("shipping"),
        "application_fee_amount": data.get("application_fee"),
        "transfer_data": {"destination": data.get("destination")},
        "transfer_group": data.get("transfer_group"),
        "on_behalf_of": data.get("on_behalf_of"),
        "metadata": {**(data.get("metadata") or {}), "callsheet_call": call_id},
    }
    body = "&".join(f"{name}={quote(text, safe='')}" for name, text in _pairs(form)).encode("ascii")
    headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Stripe-Version", version)]
    if account := data.get("account_id"):
        headers.append(("Stripe-Account", account))
    headers.append(("Idempotency-Key", key))
    return Request("POST", url, tuple(headers), body)


def _pairs(form: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, str]]:
    for key, value in form.items():
        name = f"{outer}[{quote(key, safe='')}]" if outer else key
        if isinstance(value, dict):
            yield from _pairs(value, name)
        elif value is not None:
            yield name, ("true" if value else "false") if isinstance(value, bool) else str(value)


def changes_by_hand(data: Mapping[str, Any], charge: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the files make of an answer: the same changes, in the same words."""
    refunded = charge.get("amount_refunded") or 0
    state = _state(charge, refunded)
    where = {"gateway_id": charge["id"]}
    changes: list[dict[str, Any]] = [
        {
            "upsert": "payment",
            "where": where,
            "when": {"state": _EARLIER[state]},
            "set": {
                "gateway_customer_id": charge.get("customer"),
                "payment_method": charge.get("payment_method"),
                "amount_cents": charge.get("amount"),
                "amount_captured_cents": charge.get("amount_captured"),
                "amount_refunded_cents": refunded,
                "application_fee_cents": charge.get("application_fee_amount"),
                "currency": charge.get("currency"),
                "description": charge.get("description"),
                "statement_descriptor": charge.get("calculated_statement_descriptor")
                or charge.get("statement_descriptor"),
                "destination": (charge.get("transfer_data") or {}).get("destination"),
                "transfer_group": charge.get("transfer_group"),
                "state": state,
            },
        }
    ]
    if intent := charge.get("payment_intent"):
        changes.append({"update": "payment", "where": where, "set": {"payment_intent": intent}})
    local = {name: data.get(name) for name in ("external_id", "customer_id", "credit_card_id")}
    if any(local.values()):
        changes.append({"update": "payment", "where": where, "set": local})
    if charge.get("captured"):
        paid = datetime.fromtimestamp(charge["created"], UTC).isoformat().replace("+00:00", "Z")
        changes.append({"update": "payment", "where": where, "when": {"paid_at": None}, "set": {"paid_at": paid}})
    return changes


def hold(conditions: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    """What these changes ask for: one of several values, or that there is none."""
    for name, wanted in conditions.items():
        value = properties.get(name)
        if value not in wanted if isinstance(wanted, list) else value != wanted:
            return False
    return True


_EARLIER: dict[str, list[str]] = {
    "pending": [],
    "authorized": ["pending"],
    "canceled": ["pending", "authorized"],
    "paid": ["pending", "authorized"],
    "partially_refunded": ["pending", "authorized", "paid"],
    "refunded": ["pending", "authorized", "paid", "partially_refunded"],
    "failed": ["pending", "failed"],
}


def _state(charge: Mapping[str, Any], refunded: int) -> str:
    if charge["status"] in {"failed", "pending"}:
        return str(charge["status"])
    if charge["captured"] is False:
        return "canceled" if charge.get("refunded") else "authorized"
    if refunded:
        whole = refunded >= (charge.get("amount_captured") or charge["amount"])
        return "refunded" if whole else "partially_refunded"
    return "paid"


def answer() -> bytes:
    """The gateway's answer, as its documentation shows one."""
    card = {
        "amount_authorized": 4200,
        "brand": "visa",
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "exp_month": 12,
        "exp_year": 2030,
        "fingerprint": "Xt5EWLLDS7FJjR1c",
        "funding": "credit",
        "last4": "4242",
        "network": "visa",
        "three_d_secure": None,
        "wallet": None,
    }
    charge = {
        "id": CHARGE_ID,
        "object": "charge",
        "amount": 4200,
        "amount_captured": 4200,
        "amount_refunded": 0,
        "application_fee_amount": None,
        "balance_transaction": "txn_3MmlLrLkdIwHu7ix0uke3Ezy",
        "billing_details": {"address": {"city": None, "country": None, "line1": None}, "email": None, "name": None},
        "calculated_statement_descriptor": "EXAMPLE SHOP",
        "captured": True,
        "created": 1767225600,
        "currency": "usd",
        "customer": DATA["customer"],
        "description": DATA["description"],
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": {**DATA["metadata"], "callsheet_call": CALL_ID},
        "outcome": {
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 32,
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": None,
        "payment_method": "card_1MmlLrLkdIwHu7ixIJwEWSNR",
        "payment_method_details": {"card": card, "type": "card"},
        "receipt_email": DATA["receipt_email"],
        "receipt_number": None,
        "refunded": False,
        "source": None,
        "statement_descriptor": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }
    return json.dumps(charge).encode()
