"""The reference of the files in force: /callsheet/docs/ for developers, /callsheet/console/docs/ behind a door.

Nobody else may read how a host is made.
"""

from __future__ import annotations

import mimetypes

from flask import Response, abort, current_app

from engine.errors import DefinitionError
from engine.reference import Site
from engine.reloading import folders
from engine.web.current import develops, engine_of

_KEPT = "callsheet_reference"  # the app's extension: the site that was asked for last, for making one takes a while


def show(path: str = "index.html") -> Response:
    """The view for development."""
    if not develops():
        abort(404)
    return read(path)


def read(path: str = "index.html") -> Response:
    """One file of the site."""
    try:
        return Response(_site().content(path), mimetype=mimetypes.guess_type(path)[0] or "text/plain")
    except KeyError:
        abort(404)
    except DefinitionError as error:  # a case that somebody is still writing
        return Response(f"{error}\n", 500, mimetype="text/plain")


def _site() -> Site:
    engine = engine_of()
    catalog, last = engine.catalog, current_app.extensions.get(_KEPT)
    if last is None or last.catalog is not catalog:
        last = current_app.extensions[_KEPT] = Site(catalog, folders(engine.root))
    return last
