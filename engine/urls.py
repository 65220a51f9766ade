"""A URL's parts, and how a path is written in one (RFC 3986).

Hides: that Python takes a URL apart without a look at its port, and raises for some that can be none.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

IN_PATH = "/:@!$&'()*+,;=~"  # what stands in a path as it is (RFC 3986, 3.3), beside letters, digits, `_.-`


def parts_of(url: str) -> SplitResult | None:
    """The parts of `url`; None where its host or port can be none."""
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else None
    except ValueError:
        return None
