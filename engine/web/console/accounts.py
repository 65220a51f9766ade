"""Who may enter the console, and as what: `read` looks, `operate` also acts.

Hides: how names, roles and password hashes stand in one setting, and that a wrong name takes as long as a wrong
password.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from werkzeug.security import check_password_hash, generate_password_hash

from engine.errors import SettingError
from engine.settings import Settings

SETTING = "CALLSHEET_CONSOLE_USERS"
ROLES = ("read", "operate")
SHORTEST = 12  # characters of a password

_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


@dataclass(frozen=True, slots=True)
class Account:
    """A person's name, role and the hash of their password."""

    name: str
    role: str
    hash: str = field(repr=False)

    @property
    def mark(self) -> str:
        """What changes with the password: a session that was begun with another one is over."""
        return hashlib.sha256(self.hash.encode()).hexdigest()[:16]


def accounts(settings: Settings) -> dict[str, Account]:
    """Everybody in the setting, by name. Raises SettingError, never with a hash in it."""
    found = [_account(part) for part in settings.keys(SETTING)]
    names = [one.name for one in found]
    if len(set(names)) != len(names):
        raise SettingError(SETTING, "names somebody twice")
    return {one.name: one for one in found}


def _account(part: str) -> Account:
    name, _, rest = part.partition(":")
    role, _, kept = rest.partition(":")
    if not _NAME.fullmatch(name):
        raise SettingError(SETTING, "has a part without a name; `callsheet console password NAME` writes one")
    if role not in ROLES:
        raise SettingError(SETTING, f"says no role of {name}: it is {' or '.join(ROLES)}")
    if not re.fullmatch(r"(scrypt|pbkdf2)(:[A-Za-z0-9]+)+\$[^$]+\$[0-9a-f]+", kept):
        raise SettingError(SETTING, f"has no password hash of {name}; `callsheet console password {name}` makes one")
    return Account(name, role, kept)


def line_of(known: Mapping[str, Account], name: str, role: str, password: str) -> str:
    """The setting's value with this person's part added or replaced. Raises ValueError, saying what is wrong."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name has letters, digits and . _ @ + - only")
    if len(password) < SHORTEST:
        raise ValueError(f"a password has at least {SHORTEST} characters")
    everybody = {**known, name: Account(name, role, generate_password_hash(password))}
    return ",".join(f"{one.name}:{one.role}:{one.hash}" for one in everybody.values())


def checked(known: Mapping[str, Account], name: str, password: str) -> Account | None:
    """Whose name and password these are, or None."""
    account = known.get(name)
    # Who is nobody is checked as somebody is, for it takes as long as their hash is made to.
    against = account or next(iter(known.values()), None)
    fits = against is not None and check_password_hash(against.hash, password)
    return account if fits else None
