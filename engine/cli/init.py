"""`callsheet init`: a host's folder, laid out so that it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.opening import FOLDERS, Opening, opening

if TYPE_CHECKING:
    from engine.catalog import Catalog

_APP = '''\
"""A Flask app that has callsheet's forms, webhooks and records; `callsheet serve` runs it."""

from flask import Flask, render_template_string

from engine.web import Callsheet

app = Flask(__name__)
callsheet = Callsheet(app)

# With a STRIPE_PUBLISHABLE_KEY in .env, a page may ask for money:
# {{ request_form("stripe/create_payment", {"amount": 500, "currency": "usd"}, button="Pay 5.00 USD") }}
PAGE = """<h1>It runs</h1>
<p>While you develop, <a href="{{ url_for('callsheet.overview') }}">callsheet's pages</a> show what the files say.</p>
{% for one in records("payment") %}<p>{{ one.gateway_id }}: {{ one.state }}</p>{% endfor %}"""


@app.get("/")
def home() -> str:
    return render_template_string(PAGE)
'''

_IGNORED = """\
.env
.callsheet/
callsheet.sqlite3*
callsheet-docs/
.venv/
__pycache__/
.pytest_cache/
"""

_PYTEST = """\
# pytest's root is this folder, whatever project stands around it: callsheet's plugin looks for your files there.
[pytest]
"""
_PYTEST_ELSEWHERE = ("pytest.toml", ".pytest.toml", "pyproject.toml", "tox.ini", "setup.cfg")

_EXAMPLE = """\
# Every secret and setting. Copy what you need into .env, which is not for version control; the environment wins.

# --- callsheet itself ---

# test, or live: only then are keys for live money accepted.
CALLSHEET_MODE=test
# Where records are kept: SQLite in this folder, or the URL of a PostgreSQL database.
# CALLSHEET_STORE=postgresql://user:password@host/database
# Signs forms. Several with commas: the first signs, the others are still accepted.
# CALLSHEET_SECRET_KEY=
# Encrypts what must be kept and not be read. Several with commas: the first encrypts.
# CALLSHEET_ENCRYPTION_KEY=
# Who may enter the console at /callsheet/console; `callsheet console password NAME` writes the line.
# CALLSHEET_CONSOLE_USERS=
# Opens /callsheet/metrics to a Prometheus that sends it as its bearer token.
# CALLSHEET_METRICS_KEY=
# on makes spans for OpenTelemetry.
# CALLSHEET_SPANS=on
"""

_KEYS = """\
# Yours alone: made for this folder, not for version control. .env.example lists everything that can stand here.
CALLSHEET_MODE=test
CALLSHEET_SECRET_KEY={secret}
CALLSHEET_ENCRYPTION_KEY={encryption}
"""


@click.command(short_help="Lay out a host's folder.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@opening
def init(here: Opening, directory: Path) -> None:
    """Lay out a host in DIRECTORY: its four folders, settings, fresh keys, and a Flask app that runs.

    What is there already is left as it is.
    """
    from engine.catalog import load, shipped
    from engine.seals import new_key

    del here
    catalog = load([directory, shipped()])
    keys = _KEYS.format(secret=new_key(), encryption=new_key()) + _secrets(catalog)
    files = {
        **{f"{folder}/.gitkeep": "" for folder in FOLDERS},
        "app.py": _APP,
        ".env.example": _EXAMPLE + _secrets(catalog, base_urls=True),
        ".env": keys,
        ".gitignore": _IGNORED,
        **({} if any((directory / name).exists() for name in _PYTEST_ELSEWHERE) else {"pytest.ini": _PYTEST}),
    }
    made = {}
    try:
        for name, text in files.items():
            made[name] = write_new(directory / name, text, mode=0o600 if name == ".env" else 0o666)
    except OSError as error:
        raise click.UsageError(f"{error.filename} cannot be written: {error.strerror}") from None
    for name, is_new in made.items():
        if not name.endswith(".gitkeep"):
            click.echo(f"{'wrote' if is_new else 'kept '}  {directory / name}")
    click.echo(_next(directory))


def write_new(path: Path, text: str, mode: int = 0o666) -> bool:
    """Write a file that is not there yet, readable by others as the umask and `mode` allow; False where it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def _secrets(catalog: Catalog, *, base_urls: bool = False) -> str:
    """A commented line for every secret and setting that gateway files name; an empty one would be an error."""
    from engine.credentials import keys_of

    lines = []
    for name, gateway in catalog.gateways.items():
        webhook = gateway.webhook_secrets
        lines += ["", f"# --- {name} ---", ""]
        lines += [f"# {secret}=" for secret in keys_of(catalog, name)]
        lines += [f"# {setting}=" for setting in gateway.settings.values()]
        if webhook:
            lines += ["# Not needed where `callsheet webhooks register` made the endpoint."]
            lines += [f"# {secret}=" for secret in webhook]
        if base_urls:
            lines += ["# Another address in place of the gateway's own, for a proxy or a sandbox."]
            lines += [f"# CALLSHEET_{name.upper()}_BASE_URL={gateway.base_url}"]
    return "\n".join([*lines, ""])


def _next(directory: Path) -> str:
    enter = "" if directory.resolve() == Path.cwd() else f"  cd {directory}\n"
    return f"""
Next:
{enter}  callsheet list                         what is shipped
  callsheet send stripe/create_customer email=ada@example.com --dry-run
  callsheet new acme/create_order --base-url https://api.acme.example
  callsheet serve --sandbox --reload     the Flask app of app.py, with a stand-in for the gateways
Secrets go into .env; `callsheet check` says which are missing."""
