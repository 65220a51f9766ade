"""An amount of money in its smallest unit, and how people and gateways write it: 500 of usd is "5.00 USD" or "5.00".

Hides: ISO 4217's table of currencies whose smallest unit is not a hundredth. Integers only: no float ever holds money.
"""

from __future__ import annotations

import re

_DECIMALS = {
    0: "bif clp djf gnf isk jpy kmf krw pyg rwf ugx uyi vnd vuv xaf xof xpf".split(),
    3: "bhd iqd jod kwd lyd omr tnd".split(),
    4: "clf uyw".split(),
}
_KNOWN = {currency: digits for digits, currencies in _DECIMALS.items() for currency in currencies}
_DECIMAL = re.compile(r"(-?)([0-9]{1,30})(?:\.([0-9]{1,30}))?")
_MOST_DECIMALS = 18


def money(amount: int, currency: str, decimals: int | None = None) -> str:
    """`decimals` replaces what ISO 4217 says, for a gateway that counts a currency otherwise."""
    return f"{major(amount, _decimals(currency) if decimals is None else decimals)} {currency.upper()}"


def major(amount: int, unit: str | int) -> str:
    """The decimal number of an `amount` in smallest units: 1205 is "12.05"; `unit` is a currency or how many decimals.

    Raises ValueError where there is no such number.
    """
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise ValueError(f"{amount!r} is no whole number of smallest units")
    digits = _decimals(unit)
    sign, whole = "-" if amount < 0 else "", str(abs(amount)).rjust(digits + 1, "0")
    return f"{sign}{whole[:-digits]}.{whole[-digits:]}" if digits else f"{sign}{whole}"


def minor(number: str | float, unit: str | int) -> int:
    """The amount in smallest units of a decimal number, as text or as JSON has it: "12.05" is 1205.

    Raises ValueError where it is no such number, or has more decimals than the `unit` has: nothing is rounded.
    """
    text = repr(number) if isinstance(number, int | float) and not isinstance(number, bool) else number
    match = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{number!r} is no decimal number")
    digits, decimals = _decimals(unit), (match[3] or "").rstrip("0")
    if len(decimals) > digits:
        raise ValueError(f"{text} has more than {digits} decimals, and nothing is rounded")
    return int(f"{match[1]}{match[2]}{decimals.ljust(digits, '0')}")


def _decimals(unit: str | int) -> int:
    """How many decimals a currency has, or as many as are given."""
    if isinstance(unit, str) and re.fullmatch("[A-Za-z]{3}", unit):
        return _KNOWN.get(unit.lower(), 2)
    if isinstance(unit, int) and not isinstance(unit, bool) and 0 <= unit <= _MOST_DECIMALS:
        return unit
    raise ValueError(f"{unit!r} is no currency, and no number of decimals")
