"""Settings and secrets: where they come from, and that a secret is never shown.

Hides: the environment and the `.env` file in the root folder. The environment wins.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Hashable, Iterable, Mapping
from io import StringIO
from pathlib import Path
from weakref import WeakSet

from engine.card_numbers import without_card_numbers
from engine.errors import DefinitionError, Fault, SettingError, did_you_mean, nearest, unreadable
from engine.redaction import redacted

MODES = ("test", "live")
LATEST = 4  # of the secrets of one owner that follow each other: an older one may still come back in an answer

_OWN_SECRETS = re.compile("CALLSHEET_(.+_KEY|CONSOLE_USERS)")
_BASE_URL = re.compile("CALLSHEET_([A-Z0-9_]+)_BASE_URL")
SANDBOX = "CALLSHEET_SANDBOX"
FILE = ".env"

_KNOWN = frozenset(
    f"CALLSHEET_{name}"
    for name in (
        *("MODE", "STORE", "SECRET_KEY", "ENCRYPTION_KEY", "CONSOLE_USERS", "METRICS_KEY", "SPANS", "SANDBOX", "ROOT"),
        *("SCREENSHOTS", "TEST_CHROMIUM"),  # of the tests
    )
)

_HERE = re.compile(r"http://(127\.0\.0\.1|localhost)(:(?P<port>[0-9]{1,5}))?")

_ALIVE: WeakSet[Settings] = WeakSet()


class Settings:
    """Named texts. `live` is true where CALLSHEET_MODE=live: only then are keys for live money accepted.

    `sandbox` is where one stands in for the gateways: http://127.0.0.1:12111, or None. Raises SettingError, and
    DefinitionError where `.env` cannot be read or has a line that says nothing.
    """

    def __init__(self, root: Path | None, environment: Mapping[str, str] | None = None) -> None:
        kept = _kept(root / FILE) if root else {}
        given = os.environ if environment is None else environment
        self._values = {name: value for name, value in {**kept, **given}.items() if value is not None}
        self.mode = self._values.get("CALLSHEET_MODE", "test")
        if self.mode not in MODES:
            raise SettingError("CALLSHEET_MODE", f"must be test or live{did_you_mean(self.mode, MODES)}")
        self.live = self.mode == "live"
        self.sandbox = self.get(SANDBOX)
        if self.sandbox and (self.live or not _is_here(self.sandbox)):
            why = "is set, and CALLSHEET_MODE is live" if self.live else "must be http:// and a port of this machine"
            raise SettingError(SANDBOX, why)
        self._hidden = self._lasting = frozenset[str]()
        self._passing = dict[Hashable, tuple[str, ...]]()
        self._hiding = threading.Lock()
        self._secrets = dict[tuple[str, str | None, bool], str]()  # those that were found to be fit
        for name in filter(_OWN_SECRETS.fullmatch, self._values):
            self.keys(name)
        _ALIVE.add(self)

    def __repr__(self) -> str:
        return f"Settings(mode={self.mode!r})"

    def get(self, name: str) -> str | None:
        """The setting, or None where it is absent or empty."""
        return self._values.get(name) or None

    def has(self, name: str) -> bool:
        """Whether the setting is present at all, be it empty."""
        return name in self._values

    def secret(self, name: str, *, live_key: str | None = None, masked: bool = True) -> str:
        """The secret, fit to stand in a header, and masked from now on. Raises SettingError, never with the value.

        `live_key` is the pattern of keys for live money, which are refused outside live mode, and all others in it.
        What is not `masked` only names somebody, and may be shown.
        """
        asked = (name, live_key, masked)
        if asked not in self._secrets:
            self._secrets[asked] = self._secret(*asked)
        return self._secrets[asked]

    def _secret(self, name: str, live_key: str | None, masked: bool) -> str:
        value = self._values.get(name)
        if not value:
            raise SettingError(name, "is not set; put it into the environment or into .env")
        if not re.fullmatch(r"[\x21-\x7e]+", value):
            raise SettingError(name, "holds white space or characters that cannot be sent; copy it again")
        if live_key and (is_live := bool(re.search(live_key, value))) != self.live:
            wrong = "is a key for live money; set CALLSHEET_MODE=live, or use a test key"
            raise SettingError(name, wrong if is_live else "is no key for live money, and CALLSHEET_MODE is live")
        if masked:
            self.hide(value)
        return value

    def hide(self, *secrets: str) -> None:
        """Have these values masked from now on."""
        if new := frozenset(filter(None, secrets)) - self._lasting:
            with self._hiding:
                self._lasting |= new
                self._hidden = self._lasting.union(*self._passing.values())

    def hide_latest(self, owner: Hashable, secret: str) -> None:
        """Have a secret masked from now on that others will follow: of each `owner`'s the LATEST are."""
        with self._hiding:
            self._passing[owner] = (*self._passing.get(owner, ()), secret)[-LATEST:]
            self._hidden = self._lasting.union(*self._passing.values())

    def begin_anew(self) -> None:
        """Be a child's own, whatever its parent's threads were doing."""
        self._hiding = threading.Lock()

    def redact(self, text: str) -> str:
        """`text` without any secret of this host, whichever way it is written in it."""
        return redacted(text, self._hidden)

    def clean(self, text: str) -> str:
        """`text` as it may be kept and shown, whoever wrote it: without secrets and card numbers."""
        shown: str = without_card_numbers(self.redact(text))
        return shown

    def base_urls(self) -> dict[str, str]:
        """Gateway → base_url, from CALLSHEET_STRIPE_BASE_URL and the like; "*": a sandbox, which stands in for all."""
        if self.sandbox:
            return {"*": self.sandbox}
        found = ((_BASE_URL.fullmatch(name), url) for name, url in self._values.items())
        return {match[1].lower(): url for match, url in found if match and url}

    def unknown(self, gateways: Iterable[str]) -> dict[str, str]:
        """Names that look like the engine's own settings and are without effect, each with the one that is near."""
        addresses = {gateway.upper(): f"CALLSHEET_{gateway.upper()}_BASE_URL" for gateway in gateways}
        found = dict[str, str]()
        for name in sorted(self._values.keys() - _KNOWN - {*addresses.values()}):
            if match := _BASE_URL.fullmatch(name):  # of another host's gateway, where none of ours is called so nearly
                if near := nearest(match[1], addresses):
                    found[name] = f"; did you mean {addresses[near]!r}?"
            elif name.startswith("CALLSHEET_"):
                found[name] = did_you_mean(name, _KNOWN)
        return found

    def keys(self, name: str) -> tuple[str, ...]:
        """The keys in a comma-separated setting: the first is used, the others still accepted."""
        found = tuple(part.strip() for part in (self._values.get(name) or "").split(",") if part.strip())
        self.hide(*found)
        return found


def _is_here(url: str) -> bool:
    found = _HERE.fullmatch(url)
    return found is not None and 0 < int(found["port"] or 80) < 65_536


def place_of(root: Path, name: str) -> tuple[str, int | None]:
    """Where a setting comes from: `.env` and its line, or the environment."""
    lines = _lines(_text(root / FILE))
    return (FILE, lines[name]) if name in lines and name not in os.environ else ("environment", None)


def _kept(file: Path) -> Mapping[str, str | None]:
    """What a file says; nothing where there is none. Raises DefinitionError."""
    text = _text(file)
    if not text:
        return {}
    from dotenv import dotenv_values

    _lines(text)
    return dotenv_values(stream=StringIO(text), interpolate=False)  # a secret may hold ${…}, and means just that


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError([Fault(FILE, 1, 1, unreadable(error))]) from None


def _lines(text: str) -> dict[str, int]:
    """Name → the line that sets it. A line that cannot be read would be passed over: who wrote it relies on it."""
    from dotenv.parser import parse_stream

    lines, faults = dict[str, int](), list[Fault]()
    for said in parse_stream(StringIO(text)):
        written = said.original.string
        line = said.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if said.error or (said.key and said.value is None):
            faults.append(Fault(FILE, line, 1, "is not NAME=value, with a quote at both ends of the value or at none"))
        elif said.key:
            lines[said.key] = line
    if faults:
        raise DefinitionError(faults)
    return lines


def cleaned(text: str) -> str:
    """`text` without any secret of any host in this process, and without card numbers."""
    for settings in list(_ALIVE):
        text = settings.clean(text)
    return text


def _after_fork() -> None:
    """A lock that another thread held is held for ever in a child."""
    for settings in list(_ALIVE):
        settings.begin_anew()


os.register_at_fork(after_in_child=_after_fork)


class _Masked(logging.Filter):
    """Masks secrets in what the engine logs, a host's own exceptions among it."""

    def filter(self, record: logging.LogRecord) -> bool:
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        record.msg, record.args, record.exc_text = cleaned(record.getMessage()), (), cleaned(trace) if trace else None
        return True


logging.getLogger("engine").addFilter(_Masked())
