"""callsheet: declarative requests to payment gateways and other REST APIs. One file is an endpoint.

What is named here is imported when it is first used: `callsheet --help` needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.core import Engine as Engine
    from engine.errors import Conflict as Conflict
    from engine.errors import DataError as DataError
    from engine.errors import DefinitionError as DefinitionError
    from engine.errors import EngineError as EngineError
    from engine.errors import MappingError as MappingError
    from engine.errors import RejectedError as RejectedError
    from engine.errors import SettingError as SettingError
    from engine.errors import SignatureError as SignatureError
    from engine.errors import StoreError as StoreError
    from engine.errors import TransportError as TransportError
    from engine.errors import UnknownNameError as UnknownNameError
    from engine.errors import UnknownOutcome as UnknownOutcome
    from engine.records import Change as Change
    from engine.records import Record as Record
    from engine.records import RecordType as RecordType
    from engine.settling import Result as Result

_HOMES = {
    "engine.core": ("Engine",),
    "engine.errors": (
        "Conflict",
        "DataError",
        "DefinitionError",
        "EngineError",
        "MappingError",
        "RejectedError",
        "SettingError",
        "SignatureError",
        "StoreError",
        "TransportError",
        "UnknownNameError",
        "UnknownOutcome",
    ),
    "engine.records": ("Change", "Record", "RecordType"),
    "engine.settling": ("Result",),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)  # noqa: PLE0605 - made of the names above, which stand there once


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
