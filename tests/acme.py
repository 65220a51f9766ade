"""A gateway of a handful of files, for tests of its sandbox: JSON, a key in a header, a cursor, its own signatures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hosts import OnlyHere, write

from engine.cases import read_cases
from engine.sandbox import Material, Sandbox
from engine.sandbox.files import read_files

ORDER = (
    '{id: ord_1, amount: 1200, note: Tea, state: open, made_at: "2026-01-01T00:00:00Z", link: /orders/ord_1, at: [a]}'
)
ACME = {
    "request_types/acme/_gateway.yml": """\
base_url: https://api.acme.test/v2
auth: {header: {X-Api-Key: ACME_KEY}}
headers: {Content-Type: application/json}
idempotency: {header: Idempotency-Key, lasts: 24h, saves: success, mismatch: "{{ response.error.code == 'reused' }}"}
error: "{{ response.error.text }}"
request_id: X-Request
webhook:
  scheme: standard-webhooks
  secrets: [ACME_HOOK]
  id: "{{ event.id }}"
  type: "{{ event.kind }}"
  time: "{{ event.at }}"
""",
    "request_types/acme/create_order.yml": """\
summary: Place an order.
method: POST
url: /orders
body: {amount: "{{ data.amount }}", note: "{{ data.note }}", gift: "{{ data.gift }}"}
expect: {status: [201], body: {type: object, required: [id, state]}}
data:
  required: [amount]
  properties: {amount: {type: integer, minimum: 1}, note: {type: string}, gift: {type: boolean}}
""",
    "request_types/acme/get_order.yml": """\
summary: Read an order.
method: GET
url: /orders/{{ data.id }}
data: {required: [id], properties: {id: {type: string}}}
""",
    "request_types/acme/list_orders.yml": """\
summary: Read all orders.
method: GET
url: /orders
query: {limit: 2, state: "{{ data.state }}"}
pages: {more: "{{ response.next is string }}", next: {cursor: "{{ response.next }}"}, items: /orders}
data: {properties: {state: {type: string}}}
""",
    "request_types/acme/cancel_order.yml": """\
summary: Cancel an order.
method: POST
url: /orders/{{ data.id }}/cancel
body: {why: "{{ data.why }}"}
data: {required: [id], properties: {id: {type: string}, why: {type: string}}}
""",
    "request_types/acme/delete_order.yml": """\
summary: Remove an order.
method: DELETE
url: /orders/{{ data.id }}
idempotent: true
data: {required: [id], properties: {id: {type: string}}}
""",
    "response_mappers/acme/create_order.json.j2": """\
{"upsert": "order", "where": {"gateway_id": {{ response.id }}},
 "set": {"amount": {{ response.amount }}, "state": {{ response.state }}}}
""",
    "response_mappers/records/order.yml": """\
summary: An order.
unique: [gateway_id]
properties: {gateway_id: {type: string}, amount: {type: integer}, state: {type: string}}
""",
    "webhook_processors/acme/order.canceled.json.j2": """\
{"update": "order", "where": {"gateway_id": {{ event.order.id }}}, "set": {"state": {{ event.order.state }}}}
""",
    "tests/cases/request_types/acme/create_order/placed.yml": f"""\
claim: an order is placed
data: {{amount: 1200, note: Tea}}
sends: {{method: POST, url: "https://api.acme.test/v2/orders", body: {{amount: 1200, note: Tea}}}}
receives: {{status: 201, body: {ORDER}}}
""",
    "tests/cases/request_types/acme/create_order/wrapped.yml": """\
claim: a gift is wrapped
data: {amount: 500, gift: true}
sends: {method: POST, url: "https://api.acme.test/v2/orders", body: {amount: 500, gift: true}}
receives: {status: 201, body: {id: ord_2, amount: 500, note: null, state: wrapped}}
""",
    "tests/cases/request_types/acme/create_order/refused.yml": """\
claim: an order that is too large is refused
data: {amount: 999999}
sends: {method: POST, url: "https://api.acme.test/v2/orders", body: {amount: 999999}}
receives: {status: 400, body: {error: {code: invalid, text: Too much., help: "https://acme.test/help"}}}
raises: {error: RejectedError, message: Too much.}
""",
    "tests/cases/request_types/acme/get_order/found.yml": f"""\
claim: an order is read
data: {{id: ord_1}}
sends: {{method: GET, url: "https://api.acme.test/v2/orders/ord_1"}}
receives: {{status: 200, body: {ORDER}}}
""",
    "tests/cases/request_types/acme/list_orders/pages.yml": """\
claim: all orders are read
data: {}
sends:
  - {method: GET, url: "https://api.acme.test/v2/orders", query: {limit: 2}}
  - {method: GET, url: "https://api.acme.test/v2/orders", query: {limit: 2, cursor: c_2}}
receives:
  - {status: 200, body: {orders: [{id: ord_1}, {id: ord_2}], next: c_2}}
  - {status: 200, body: {orders: [{id: ord_3}], next: null}}
""",
    "tests/cases/request_types/acme/cancel_order/canceled.yml": """\
claim: an order is canceled
data: {id: ord_1}
sends: {method: POST, url: "https://api.acme.test/v2/orders/ord_1/cancel"}
receives:
  status: 200
  body: {id: ord_1, amount: 1200, note: Tea, state: canceled, canceled_at: "2026-01-01T00:00:00Z", given_back: 1200}
""",
    "tests/cases/request_types/acme/delete_order/removed.yml": """\
claim: an order is removed
data: {id: ord_1}
sends: {method: DELETE, url: "https://api.acme.test/v2/orders/ord_1"}
receives: {status: 200, body: {id: ord_1, gone: true}}
""",
    "tests/cases/webhook_processors/acme/order.canceled/canceled.yml": """\
claim: an order was canceled elsewhere
event: {id: ev_1, kind: order.canceled, at: "2026-01-01T00:00:00Z", order: {id: ord_1, amount: 1200, state: canceled}}
""",
}
RULES = """\
routes:
  POST /orders/{order}/cancel:
    refuse:
      - {when: "{{ object.state == 'canceled' }}", as: invalid, given: {message: "{{ path.order }} is canceled."}}
    events: [order.canceled]
"""


def material(root: Path, files: Mapping[str, str] | None = None) -> Material:
    """What a sandbox for these files, and `files`, is made of."""
    write(root, {**ACME, **(files or {})})
    return Material(OnlyHere(root).catalog(), read_cases(root / "tests/cases"), read_files([root], None))


def sandbox(root: Path, rules: str | None = None, files: Mapping[str, str] | None = None, **options: Any) -> Sandbox:
    """A sandbox for Acme; `rules` are its sandbox file."""
    told = {"request_types/acme/_sandbox.yml": rules} if rules else {}
    return Sandbox(material(root, {**told, **(files or {})}), **options)
