"""The call as airbyte-cdk makes it: declared as its low-code connectors declare one, and sent by its requester.

It renders the request and sends it, with its own retries, and keeps nothing. All its parts are made once.
"""

from __future__ import annotations

from collections.abc import Callable

from .payment import CALL_ID, KEY, SECRET, flat, parameters


def airbyte_sending(origin: str, version: str) -> Callable[[], object]:
    """One call of a declared requester, whose data is the slice that it is asked for."""
    from airbyte_cdk.sources.declarative.models import HttpRequester
    from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory
    from airbyte_cdk.sources.types import StreamSlice

    form = flat(parameters(CALL_ID))
    definition = {
        "type": "HttpRequester",
        "url": f"{origin}/v1/charges",
        "http_method": "POST",
        "authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['secret'] }}"},
        "request_headers": {"Stripe-Version": version, "Idempotency-Key": "{{ stream_slice['key'] }}"},
        "request_body": {
            "type": "RequestBodyUrlEncodedForm",
            "value": {name: f"{{{{ stream_slice['{name}'] }}}}" for name in form},
        },
    }
    requester = ModelToComponentFactory().create_component(
        HttpRequester, definition, {"secret": SECRET}, name="charges"
    )
    data = StreamSlice(partition={**form, "key": KEY}, cursor_slice={})

    def send() -> object:
        response = requester.send_request(stream_slice=data)
        charge = response.json()
        assert charge["status"] == "succeeded"
        return charge

    return send
