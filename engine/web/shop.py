"""GET /callsheet/shop/: an example shop of four stories, while somebody develops; in production there is none.

Each story is one template of `templates/callsheet/shop/`, made of `request_form` and `records` alone, to be read and
copied; every page shows its own.
"""

from __future__ import annotations

from typing import Any

from flask import Response, abort, current_app, make_response, render_template, url_for

from engine.errors import EngineError
from engine.web.current import console, develops

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


def dress(page: str) -> dict[str, Any]:
    """What lays the shop around an answer to a form on `page`; nothing where that is no page of the shop."""
    home = url_for("callsheet.shop")
    if not develops() or not page.startswith(home):
        return {}
    story = page.removeprefix(home).partition("?")[0]
    return {"layout": "callsheet/shop/_page.html", "stories": STORIES, "story": story, "console": console}
