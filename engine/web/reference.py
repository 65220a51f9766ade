"""GET /callsheet/docs/: the reference of the files in force, while somebody develops; in production there is none."""

from __future__ import annotations

import mimetypes

from flask import Response, abort, current_app

from engine.catalog import Catalog
from engine.errors import DefinitionError
from engine.reference import Site
from engine.reloading import folders
from engine.web.current import engine_of


class Reference:
    """The view. It keeps the site of the definitions that it was asked for last, for making one takes a while."""

    def __init__(self) -> None:
        self._last: tuple[Catalog, Site] | None = None

    def show(self, path: str = "index.html") -> Response:
        """One file of the site."""
        if not current_app.debug:
            abort(404)
        engine = engine_of()
        catalog, last = engine.catalog, self._last
        site = last[1] if last and last[0] is catalog else Site(catalog, folders(engine.root))
        self._last = catalog, site
        try:
            return Response(site.content(path), mimetype=mimetypes.guess_type(path)[0] or "text/plain")
        except KeyError:
            abort(404)
        except DefinitionError as error:  # a case that somebody is still writing
            return Response(f"{error}\n", 500, mimetype="text/plain")
