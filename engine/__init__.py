"""callsheet: declarative requests to payment gateways and other REST APIs. One file is an endpoint."""

from engine.core import Engine as Engine
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
