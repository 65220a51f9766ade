"""The Flask extension: one engine for one app, its routes, and the names that the app's templates have in reach.

    app = Flask(__name__)
    callsheet = Callsheet(app)

    {{ request_form("stripe/create_payment", {"amount": 500, "currency": "usd"}, button="Pay") }}
    {% for payment in records("payment", external_id=order.id) %}
      {{ money(payment["amount_cents"], payment["currency"]) }}
    {% endfor %}

`CALLSHEET_ROOT` in the app's config is the folder of the app's own files; without it, it is `app.root_path`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, request, url_for

from engine.amounts import money
from engine.core import Engine
from engine.doctor import demand_fit
from engine.forms.submitting import Form
from engine.queues.embedded import Worker
from engine.records import Record
from engine.store import Order
from engine.web import forms, headers, metrics, overview, reference, sandbox, sessions, shop, webhooks
from engine.web.console.accounts import accounts
from engine.web.console.gate import Login
from engine.web.console.routes import console
from engine.web.current import engine_of, page
from engine.web.shortcut import shorten


class Callsheet:
    """Puts an engine into a Flask app: the one given, or one made of the app's files with `options`.

    `worker=False` leaves due work to `callsheet worker`. `login` says who may enter the console, in the place of the
    names in CALLSHEET_CONSOLE_USERS: it returns (name, role), the role being read or operate, or None. Where there is
    neither, a sandbox's console is open to whoever sits at this machine.

    `engine` and `worker` are those of the app given last.
    """

    engine: Engine
    worker: Worker

    def __init__(
        self,
        app: Flask | None = None,
        *,
        engine: Engine | None = None,
        worker: bool = True,
        login: Login | None = None,
        **options: Any,
    ) -> None:
        self._given, self._with_worker, self._login, self._options = engine, worker, login, options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make the engine and register everything. Raises DefinitionError and SettingError."""
        root = Path(app.config.get("CALLSHEET_ROOT") or app.root_path)
        engine = self._given or Engine(root, **{"reload": app.debug, **self._options})
        demand_fit(engine)
        self.engine = app.extensions["callsheet"] = engine
        sessions.protect(app, engine.settings)
        ours: list[Callable[..., Any]] = [headers.protect(app, engine)]
        if self._with_worker:
            self.worker = Worker(_work(engine))
            engine.wake = self.worker.wake
            ours.append(app.before_request(self.worker.start))
        else:
            engine.wake = lambda: None
        app.jinja_env.globals.update(request_form=request_form, records=records, record=record)
        app.jinja_env.globals.setdefault("money", money)
        login = self._login or (sandbox.at_hand if engine.settings.sandbox and not accounts(engine.settings) else None)
        shorten(app, engine, ours)
        app.register_blueprint(_blueprint(console(app, engine.settings, login)))


def _work(engine: Engine) -> Callable[[], int]:
    pulse = engine.workers.pulse(threads=1)

    def work() -> int:
        pulse.beat()
        return engine.run_due(limit=1)

    return work


def request_form(name: str, data: Mapping[str, Any] | None = None, **config: Any) -> Form:
    """The form for request type `name`, for this visitor, on this page; `engine.forms.options` lists `config`."""
    headers.note_form()
    at = url_for("callsheet.forms").removesuffix("/forms")
    origin = request.host_url.removesuffix("/")
    return engine_of().form(name, data, session=sessions.visitor(), at=at, page=page(), origin=origin, **config)


def records(
    type: str, *, order: Order = "-id", limit: int = 100, after: str | None = None, **where: Any
) -> list[Record]:
    """Records of `type` that fit `where`, newest first."""
    return engine_of().find(type, order=order, limit=limit, after=after, **where)


def record(type: str, **where: Any) -> Record | None:
    """The newest record of `type` that fits `where`; None where there is none."""
    return next(iter(records(type, limit=1, **where)), None)


def _blueprint(console: Blueprint | None) -> Blueprint:
    blueprint = Blueprint(
        "callsheet", "engine.web", url_prefix="/callsheet", static_folder="static", template_folder="templates"
    )
    blueprint.add_url_rule("/", "overview", overview.show)
    blueprint.add_url_rule("/shop/", "shop", shop.show)
    blueprint.add_url_rule("/shop/<story>", "shop", shop.show)
    blueprint.add_url_rule("/docs/", "docs", reference.show)
    blueprint.add_url_rule("/docs/<path:path>", "docs", reference.show)
    blueprint.add_url_rule("/metrics", "metrics", metrics.show)
    blueprint.add_url_rule("/forms", "forms", forms.post, methods=["POST"])
    blueprint.add_url_rule("/results/<token>", "results", forms.result)
    blueprint.add_url_rule("/sandbox/<gateway>", "sandbox", sandbox.tokens)
    blueprint.add_url_rule("/webhooks/<gateway>", "webhooks", webhooks.post, methods=["POST"])
    blueprint.add_url_rule("/webhooks/<gateway>/<name>", "webhooks", webhooks.post, methods=["POST"])
    if console is not None:
        blueprint.register_blueprint(console)
    return blueprint
