"""GET /callsheet/shop/: an example shop of four stories, while somebody develops; in production there is none.

Each story is one template of `templates/callsheet/shop/`, made of `request_form` and `records` alone, to be read and
copied; every page shows its own.
"""

from __future__ import annotations

from flask import Response, abort, current_app, make_response, render_template, url_for

from engine.errors import EngineError
from engine.records import Record
from engine.web.current import develops

STORIES = {
    "charge": "Charge a card",
    "customer": "Keep cards",
    "elements": "Hold, then capture",
    "account": "Pay a seller",
}


def show(story: str = "") -> Response:
    """The view: the first page, or that of a story."""
    if not develops() or (story and story not in STORIES):
        abort(404)
    name = f"callsheet/shop/{story or 'index'}.html"
    environment = current_app.jinja_env
    assert environment.loader is not None  # noqa: S101 - Flask's always has one
    source, _, _ = environment.loader.get_source(environment, name)
    known = {"stories": STORIES, "story": story, "source": source, "console": console}
    try:
        return make_response(render_template(name, **known))
    except EngineError as error:  # a key that is missing, or files that replace the shipped ones
        return make_response(render_template("callsheet/shop/unable.html", **known, error=error), 503)


def console(record: Record | None = None) -> str | None:
    """Where the console shows a record, or its first page; None where there is no console."""
    if "callsheet.console.record" not in current_app.view_functions:
        return None
    if record is None:
        return url_for("callsheet.console.overview")
    return url_for("callsheet.console.record", type=record.type, id=record.id)
