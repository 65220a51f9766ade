"""A host of that gateway: every way to authenticate, every way to be stored, and mappers that make mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hosts import write
from werkzeug.security import generate_password_hash

from engine.catalog import shipped

from .values import HOST, PASSWORD

_PAY = """\
summary: Take a payment.
method: POST
url: /payments
body:
  amount: "{{{{ data.amount }}}}"
  note: "{{{{ data.note }}}}"
  more: "{{{{ data.more }}}}"
  ref: "{{{{ call_id }}}}"
{more}
expect: {{body: {{type: object, required: [id]}}}}
data:
  required: [amount]
  properties:
    amount: {{type: integer, minimum: 1, maximum: 9}}
    note: {{type: string, maxLength: 200}}
    kind: {{enum: [one, two]}}
    more: {{type: object}}
"""
_MAPPER = """\
{"upsert": "sale", "where": {"gateway_id": {{ response.id }}},
 "set": {"amount": {{ response.amount }}, "told": {{ response.told }}, "state": "paid"}}
"""
_REFUSED = """\
{"upsert": "sale", "where": {"gateway_id": {{ call_id }}},
 "set": {"amount": 1, "told": {{ response }}, "state": "failed"}}
"""
PAYING = {
    "pay": "",
    "pay_once": "idempotency: null\nat_most_once: true",
    "pay_by_password": "auth: {basic: [ACME_USER, ACME_PASSWORD]}",
    "pay_by_escaped_key": "auth: {header: {X-Api-Key: ACME_ESCAPED}}",
    "pay_by_short_key": "auth: {header: {X-Api-Key: ACME_SHORT}}",
    "pay_by_pattern": "auth: {header: {X-Api-Key: ACME_PATTERN}}",
    "pay_wrongly": "",
}
FILES: Mapping[str, str] = {
    "request_types/acme/_gateway.yml": """\
summary: A gateway that repeats what it is told.
base_url: https://api.acme.test
auth: {bearer: ACME_KEY}
headers: {Content-Type: application/json}
idempotency: {header: Idempotency-Key, lasts: 24h}
retry: {header: X-Should-Retry}
request_id: X-Request
error: "{{ response.error.message }}"
webhook:
  scheme: stripe
  secrets: [ACME_HOOK]
  id: "{{ event.id }}"
  type: "{{ event.type }}"
  time: "{{ event.created }}"
  account: "{{ event.account }}"
  version: "{{ event.version }}"
  key: "{{ event.key }}"
  register: acme/create_endpoint
  list: acme/get_endpoints
  remove: acme/delete_endpoint
""",
    **{f"request_types/acme/{name}.yml": _PAY.format(more=more) for name, more in PAYING.items()},
    **{f"response_mappers/acme/{name}.json.j2": _MAPPER for name in PAYING},
    **{f"response_mappers/acme/{name}.declined.json.j2": _REFUSED for name in PAYING},
    "response_mappers/acme/pay_wrongly.json.j2": _MAPPER.replace("response.amount", "response.told.body"),
    "request_types/acme/get.yml": """\
summary: Read a payment.
method: GET
url: /payments/{{ data.id }}
query: {note: "{{ data.note }}"}
data: {required: [id], properties: {id: {type: string}, note: {type: string}}}
""",
    "response_mappers/acme/get.json.j2": _MAPPER,
    "request_types/acme/add_person.yml": """\
summary: Add a person.
method: POST
url: /people
body: {name: "{{ data.name }}", number: "{{ data.number }}", account: "{{ data.account }}"}
expect: {body: {type: object, required: [id]}}
data:
  required: [name]
  properties:
    name: {type: string}
    number: {type: string, writeOnly: true, pattern: "^0"}
    account: {type: object, properties: {number: {type: string, writeOnly: true}}}
    friends: {type: array, items: {type: object, properties: {number: {type: string, writeOnly: true}}}}
""",
    "response_mappers/acme/add_person.json.j2": """\
{"upsert": "guest", "where": {"gateway_id": {{ response.id }}}, "set": {"name": {{ data.name }}}}
{% for friend in data.friends %}
{"send": "acme/add_person", "as": {{ "friend " ~ loop.index }},
 "data": {"name": "a friend", "number": {{ friend.number }}}}
{% endfor %}
""",
    "request_types/acme/create_endpoint.yml": """\
summary: Have events sent to an address.
method: POST
url: /endpoints
body: {url: "{{ data.url }}"}
sealed: [/secret]
data: {required: [url], properties: {url: {type: string}, enabled_events: {type: array}, endpoint: {type: string}}}
""",
    "response_mappers/acme/create_endpoint.json.j2": """\
{"upsert": "webhook_endpoint", "where": {"gateway_id": {{ response.id }}},
 "set": {"url": {{ data.url }}, "secret": {{ response.secret }}, "status": "enabled"}}
""",
    "request_types/acme/get_endpoints.yml": """\
summary: Ask for all addresses.
method: GET
url: /endpoints
data: {properties: {}}
""",
    "request_types/acme/delete_endpoint.yml": """\
summary: Have no more events sent.
method: DELETE
url: /endpoints/{{ data.gateway_id }}
idempotency: null
idempotent: true
data: {required: [gateway_id], properties: {gateway_id: {type: string}, id: {type: string}}}
""",
    "response_mappers/records/sale.yml": """\
summary: A sale.
required: [gateway_id, amount, state]
unique: [gateway_id]
index: [state]
properties:
  gateway_id: {type: string}
  amount: {type: integer}
  told: {type: object}
  state: {enum: [paid, failed]}
""",
    "response_mappers/records/guest.yml": """\
summary: A person.
required: [gateway_id]
unique: [gateway_id]
properties: {gateway_id: {type: string}, name: {type: string}}
""",
    "webhook_processors/acme/payment.noted.json.j2": """\
{"upsert": "sale", "where": {"gateway_id": {{ event.payment }}},
 "set": {"amount": 5, "told": {{ event }}, "state": "paid"}}
""",
    "webhook_processors/acme/payment.spoilt.json.j2": """\
{"upsert": "sale", "where": {"gateway_id": {{ event.payment }}}, "set": {"amount": {{ event.note }}, "state": "paid"}}
""",
    "tests/cases/request_types/acme/pay/paid.yml": """\
claim: a payment is recorded
data: {amount: 5}
sends: {method: POST, url: https://api.acme.test/payments, body: {amount: 5, ref: call-1}}
receives: {status: 200, body: {id: p1, amount: 5}}
after: {sale: [{gateway_id: p1, amount: 5, state: paid}]}
""",
    "app.py": """\
from flask import Flask, render_template_string
from engine.web import Callsheet

app = Flask(__name__)
Callsheet(app)


@app.get("/")
def home() -> str:
    return render_template_string("{{ request_form('acme/add_person') }}{{ records('sale') }}")
""",
}


def a_host(root: Path) -> Path:
    """The folder of the host, with those of the shipped files that it needs."""
    needed = ("forms/_form.html", "response_mappers/records/webhook_endpoint.yml")
    return write(root, {**FILES, **{name: (shipped() / name).read_text("utf-8") for name in needed}})


def alone(patch: pytest.MonkeyPatch, empty: Path) -> None:
    """No shipped files: a host of a third of the files starts in a third of the time."""
    patch.setattr("engine.reloading.shipped", lambda: empty)


def environment(base_url: str | None = None, store: str | None = None) -> dict[str, str]:
    """Every secret in its place."""
    person = f"ann:operate:{generate_password_hash(PASSWORD, 'pbkdf2:sha256:1000')}"
    given = {
        "ACME_KEY": HOST["API key"],
        "ACME_USER": "the-shop",
        "ACME_PASSWORD": HOST["password with quotes"],
        "ACME_ESCAPED": HOST["key that JSON escapes"],
        "ACME_SHORT": HOST["short key"],
        "ACME_PATTERN": HOST["key like a pattern"],
        "ACME_HOOK": HOST["webhook secret"],
        "CALLSHEET_SECRET_KEY": HOST["session key"],
        "CALLSHEET_ENCRYPTION_KEY": f"{HOST['encryption key']},{HOST['former encryption key']}",
        "CALLSHEET_METRICS_KEY": HOST["metrics key"],
        "CALLSHEET_CONSOLE_USERS": person,
        "CALLSHEET_ACME_BASE_URL": base_url,
        "CALLSHEET_STORE": store,
    }
    return {name: value for name, value in given.items() if value is not None}
