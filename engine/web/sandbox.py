"""What a host does for a sandbox: GET /callsheet/sandbox/<gateway>, and who may enter its console.

The page lists the test cards of a sandbox, for the script that stands in for a gateway's own. Where there is no sandbox
there is neither.
"""

from __future__ import annotations

from flask import Response, abort, jsonify, request

from engine.reloading import folders
from engine.sandbox.files import read_files
from engine.web.current import engine_of
from engine.web.sessions import is_loopback


def tokens(gateway: str) -> Response:
    """The view: a list of what the gateway's sandbox file says of each token."""
    engine = engine_of()
    if engine.settings.sandbox is None or gateway not in engine.catalog.gateways:
        abort(404)
    file = read_files(folders(engine.root), engine.root).get(gateway)
    return jsonify([{"token": name, **told} for name, told in file.tokens.items()] if file else [])


def at_hand() -> tuple[str, str] | None:
    """Whoever asks from this machine and calls it so; nothing in a sandbox is worth more of a door."""
    return ("you", "operate") if is_loopback(request.host) and is_loopback(f"[{request.remote_addr}]") else None
