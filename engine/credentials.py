"""How a call proves who it comes from: the headers made of secrets, added last and kept nowhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from engine.errors import SettingError
from engine.request_types import RequestType
from engine.settings import Settings


def credentials(type: RequestType, settings: Settings) -> Mapping[str, str]:
    """The headers that authenticate a call of `type`. Raises SettingError where a secret is missing or refused."""

    def secret(name: str) -> str:
        value = settings.secret(name, live_key=type.gateway.live_key)
        if type.redirected and type.gateway.live_key and re.search(type.gateway.live_key, value):
            raise SettingError(
                name, f"is a key for live money, and {type.base_url} is not the gateway; it is not sent there"
            )
        return value

    auth = type.auth
    if "bearer" in auth:
        return {"Authorization": f"Bearer {secret(auth['bearer'])}"}
    if "basic" in auth:
        user, password = [secret(name) for name in auth["basic"]] + ([""] if len(auth["basic"]) == 1 else [])
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {name: secret(value) for name, value in auth.get("header", {}).items()}
