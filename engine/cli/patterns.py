"""The texts of new files.

Hides: what a file must say to be good from the start, and what a case must say to show it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.records import RecordType

GATEWAY_ID = "gateway_id"


@dataclass(frozen=True, slots=True)
class Plan:
    """What `new` was asked for. `record` is a type that exists, `new_record` the name of one that does not.

    `keyed`: the gateway's file already says how a repeated call is kept harmless.
    """

    gateway: str
    name: str
    method: str
    url: str
    base_url: str
    keyed: bool
    record: RecordType | None
    new_record: str | None
    mapper: bool
    event: str | None
    webhook: Mapping[str, Any] | None
    form: bool

    @property
    def full_name(self) -> str:
        """As callers say it."""
        return f"{self.gateway}/{self.name}"

    @property
    def in_url(self) -> list[str]:
        """The data that the URL names."""
        return list(dict.fromkeys(re.findall(r"\{\{\s*data\.([a-z0-9_]+)\s*\}\}", self.url)))

    @property
    def reads(self) -> bool:
        """Whether nothing but a query is sent."""
        return self.method == "GET"

    @property
    def fields(self) -> list[str]:
        """The data beside that in the URL."""
        return [] if self.method == "DELETE" or "name" in self.in_url else ["name"]

    @property
    def kept(self) -> RecordType | None:
        """The record type that mapper and processor write."""
        return self.record or (_new_record_type(self.new_record) if self.new_record else None)


def _removes(plan: Plan) -> bool:
    """Whether an answer means that a record is gone."""
    return plan.method == "DELETE" and bool(plan.in_url) and plan.kept is not None and len(plan.kept.unique[0]) == 1


def files(plan: Plan, *, new_gateway: bool) -> dict[str, str]:
    """Path → text of every file to write."""
    folder, case = f"{plan.gateway}/{plan.name}", "tests/cases"
    made = {f"request_types/{folder}.yml": _request_type(plan)}
    made[f"{case}/request_types/{folder}/success.yml"] = _case(plan)
    if new_gateway:
        made[f"request_types/{plan.gateway}/_gateway.yml"] = _gateway(plan)
    if plan.new_record:
        made[f"response_mappers/records/{plan.new_record}.yml"] = _record(plan.new_record)
    if plan.mapper:
        made[f"response_mappers/{folder}.json.j2"] = _mapper(plan)
    if plan.event:
        made[f"webhook_processors/{plan.gateway}/{plan.event}.json.j2"] = _processor(plan)
        made[f"{case}/webhook_processors/{plan.gateway}/{plan.event}/success.yml"] = _event_case(plan)
    if plan.form:
        made[f"forms/{folder}.html"] = _form(plan)
    return made


def example(plan: Plan) -> str:
    """The arguments of a `send` that fits the request type as it is written."""
    return "".join(f" {name}=1" for name in plan.in_url) + "".join(f" {name}=Lamp" for name in plan.fields)


def webhook_of(gateway: str) -> dict[str, Any]:
    """What a new gateway's file says of its webhooks."""
    return {"scheme": {"header": "X-Signature", "signed": "{body}"}, "secrets": [f"{gateway.upper()}_WEBHOOK_SECRET"]}


def _gateway(plan: Plan) -> str:
    upper = plan.gateway.upper()
    text = f"""\
summary: The API of {plan.gateway}.
base_url: {plan.base_url}
# How a call proves who it comes from; secrets are named here, and stand in .env. One of:
# auth: {{bearer: {upper}_KEY}}
# auth: {{basic: [{upper}_USER, {upper}_PASSWORD]}}
# auth: {{header: {{X-Api-Key: {upper}_KEY}}}}
# auth: {{query: {{api_key: {upper}_KEY}}}}
# auth: {{oauth2: {{token_endpoint: /oauth2/token, client_id: {upper}_ID, client_secret: {upper}_SECRET}}}}
headers:
  Content-Type: application/json
# Text where an answer is a refusal; without it, nothing but a success is ever trusted.
error: "{{{{ (response.error.message or response.message or response.error) if status >= 400 else none }}}}"
"""
    if plan.event:
        text += f"""\
webhook:
  # stripe, github, shopify, slack, standard-webhooks, or how the gateway signs:
  scheme: {{header: X-Signature, signed: "{{body}}"}}
  secrets: [{upper}_WEBHOOK_SECRET]
  # Where a delivery holds several events, the place of their list: events: /events
  id: "{{{{ event.id }}}}"
  type: "{{{{ event.type }}}}"
"""
    return text


_REPEATABLE = ("PUT", "DELETE")  # RFC 9110, 9.2.2
_SUCCESSES = {"POST": [200, 201], "PUT": [200, 201], "DELETE": [200, 204]}


def _request_type(plan: Plan) -> str:
    lines = [f"summary: {_sentence(plan.name)}.", f"method: {plan.method}", f"url: {json.dumps(plan.url)}"]
    if plan.method in _REPEATABLE and not plan.keyed:
        lines += ["# A repeat changes nothing more, as HTTP has it of this method; where it does: at_most_once: true"]
        lines += ["idempotent: true"]
    elif not plan.reads and not plan.keyed:
        lines += ["# A gateway that knows a repeated key: idempotency: {header: Idempotency-Key, lasts: 24h}"]
        lines += ["at_most_once: true"]
    if plan.fields:
        lines += ["query:" if plan.reads else "body:", *(f'  {name}: "{{{{ data.{name} }}}}"' for name in plan.fields)]
    lines.append(f"expect: {{status: {_SUCCESSES.get(plan.method, [200])}}}")
    lines += ["data:", f"  required: [{', '.join(plan.in_url + plan.fields)}]", "  properties:"]
    lines += [f"    {name}: {{type: string, description: Part of the URL.}}" for name in plan.in_url]
    lines += [f"    {name}: {{type: string, description: Say what this is.}}" for name in plan.fields]
    if lines[-1] == "  properties:":
        lines[-3:] = []
    return "\n".join([*lines, ""])


def _case(plan: Plan) -> str:
    answer, after = _answer(plan.kept)
    end = ", and its record removed" if _removes(plan) else ", and kept" if plan.kept else ""
    lines = [f"claim: {_sentence(plan.name).lower()} is answered{end}"]
    if plan.kept and _removes(plan):
        lines += ["before:", f"  {plan.kept.name}: [{_flow({**after, plan.kept.unique[0][0]: '1'})}]"]
    given = {**dict.fromkeys(plan.in_url, "1"), **dict.fromkeys(plan.fields, "Lamp")}
    url = re.sub(r"\{\{.*?\}\}", "1", plan.url)
    lines += [f"data: {_flow(given)}", "sends:", f"  method: {plan.method}", f"  url: {plan.base_url}{url}"]
    if plan.fields:
        lines.append(f"  {'query' if plan.reads else 'body'}: {_flow(dict.fromkeys(plan.fields, 'Lamp'))}")
    lines += ["receives:", "  status: 200", f"  body: {_flow(answer)}"]
    if plan.kept:
        lines += ["after:", f"  {plan.kept.name}: [{'' if _removes(plan) else _flow(after)}]"]
    else:
        lines.append(f"returns: {_flow(answer)}")
    return "\n".join([*lines, ""])


def _event_case(plan: Plan) -> str:
    answer, after = _answer(plan.kept)
    inside: Any = {"object": answer} if _object(plan) else answer
    event = {"id": "evt_1", "type": plan.event, "created": 1767225600, "livemode": False, "data": inside}
    lines = [f"claim: the event {plan.event} is understood", "event:"]
    lines += [f"  {name}: {_flow(value)}" for name, value in event.items()]
    if plan.kept:
        lines += ["after:", f"  {plan.kept.name}: [{_flow(after)}]"]
    return "\n".join([*lines, ""])


def _answer(type: RecordType | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """An answer that makes a record of `type`, and that record."""
    record = {name: _sample(type.properties[name]) for name in _written(type)} if type else {}
    answer = {("id" if name == GATEWAY_ID else name): value for name, value in record.items()}
    return answer or {"id": "1"}, record


def _new_record_type(name: str) -> RecordType:
    from engine.records import RecordType

    return RecordType(name, {GATEWAY_ID: {"type": "string"}, "state": {"type": "string"}}, ("state",), ((GATEWAY_ID,),))


def _written(type: RecordType) -> list[str]:
    """The properties that a first mapper writes: a unique key, and what a record must have."""
    return list(dict.fromkeys([*(type.unique[0] if type.unique else ()), *type.required]))


def _record(name: str) -> str:
    return f"""\
summary: {_sentence(name)}.
required: [{GATEWAY_ID}, state]
unique: [{GATEWAY_ID}]
index: [state]
properties:
  {GATEWAY_ID}: {{type: string, description: The gateway's id.}}
  state: {{type: string, description: Say which states there are.}}
"""


def _mapper(plan: Plan) -> str:
    names = "data, response, status, headers, now, sent_at, call_id"
    comment = f"{{# What an answer to {plan.full_name} means. In reach: {names}. #}}\n"
    if plan.kept and _removes(plan):
        key = f'"{plan.kept.unique[0][0]}": {{{{ data.{plan.in_url[-1]} }}}}'
        return f'{comment}{{"delete": "{plan.kept.name}", "where": {{{key}}}}}\n'
    return comment + (_upsert(plan.kept, "response") if plan.kept else _unchanged("response"))


def _processor(plan: Plan) -> str:
    comment = f"{{# What the event {plan.event} of {plan.gateway} means. In reach: event, now, sent_at. #}}\n"
    place = "event.data.object" if _object(plan) else "event.data"
    return comment + (_upsert(plan.kept, place) if plan.kept else _unchanged(place))


def _unchanged(place: str) -> str:
    return f"""\
{{# It changes no record yet. A change looks like this:
{{"upsert": "order", "where": {{"gateway_id": {{{{ {place}.id }}}}}}, "set": {{"state": {{{{ {place}.state }}}}}}}}
#}}
"""


def _object(plan: Plan) -> bool:
    """Whether the gateway wraps what an event is about."""
    return bool(plan.webhook and plan.webhook.get("scheme") == "stripe")


def _upsert(type: RecordType, place: str) -> str:
    key = type.unique[0]
    rest = [name for name in _written(type) if name not in key]

    def said(names: Iterable[str]) -> str:
        return ", ".join(f'"{name}": {{{{ {place}.{"id" if name == GATEWAY_ID else name} }}}}' for name in names)

    return f'{{"upsert": "{type.name}",\n "where": {{{said(key)}}},\n "set": {{{said(rest)}}}}}\n'


def _sample(schema: Mapping[str, Any]) -> Any:
    """A value that fits a simple schema."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    types = schema.get("type", "string")
    kind = types if isinstance(types, str) else types[0]
    if schema.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    number = max(1, schema.get("minimum", 1))
    samples = {"integer": number, "number": number, "boolean": True, "array": [], "object": {}, "null": None}
    return samples.get(kind, "x1")


def _form(plan: Plan) -> str:
    fields = "".join(f'{{{{ input("{name}", label="{_sentence(name)}") }}}}\n' for name in plan.fields)
    return f"""\
{{# The form of {plan.full_name}. In reach: data, config, settings, values, errors; to call: input, rest, submit,
   success, money, records. #}}
{fields}{{{{ rest() }}}}
{{{{ submit("{_sentence(plan.name)}") }}}}
{{{{ success("Thank you.") }}}}
"""


def _sentence(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _flow(value: Any) -> str:
    """JSON is YAML; short values read like this."""
    return json.dumps(value)
