"""An amount in the smallest unit, as people write it: 500 of usd is "5.00 USD".

Hides: ISO 4217's table of currencies whose smallest unit is not a hundredth. Integers only: no float ever holds money.
"""

from __future__ import annotations

_DECIMALS = {
    0: "bif clp djf gnf isk jpy kmf krw pyg rwf ugx uyi vnd vuv xaf xof xpf".split(),
    3: "bhd iqd jod kwd lyd omr tnd".split(),
    4: "clf uyw".split(),
}
_KNOWN = {currency: digits for digits, currencies in _DECIMALS.items() for currency in currencies}


def money(amount: int, currency: str, decimals: int | None = None) -> str:
    """`decimals` replaces what ISO 4217 says, for a gateway that counts a currency otherwise."""
    digits = _KNOWN.get(currency.lower(), 2) if decimals is None else decimals
    sign, whole = "-" if amount < 0 else "", str(abs(amount)).rjust(digits + 1, "0")
    shown = f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole
    return f"{sign}{shown} {currency.upper()}"
