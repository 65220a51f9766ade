"""GET /callsheet/sandbox/<gateway>: the test cards of a sandbox, for the script that stands in for a gateway's own.

Where no sandbox stands in for the gateways there is no such page.
"""

from __future__ import annotations

from flask import Response, abort, jsonify

from engine.reloading import folders
from engine.sandbox.files import read_files
from engine.web.current import engine_of


def tokens(gateway: str) -> Response:
    """The view: a list of what the gateway's sandbox file says of each token."""
    engine = engine_of()
    if engine.settings.sandbox is None or gateway not in engine.catalog.gateways:
        abort(404)
    file = read_files(folders(engine.root), engine.root).get(gateway)
    return jsonify([{"token": name, **told} for name, told in file.tokens.items()] if file else [])
