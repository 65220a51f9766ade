"""`callsheet sandbox`, and what makes a host use one: `serve --sandbox` and the demo.

Hides: that a host is told by its environment alone, and where a sandbox keeps what it remembers.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.opening import Opening, opening

if TYPE_CHECKING:
    from engine.sandbox import Sandbox
    from engine.sandbox.delivering import Poster
    from engine.sandbox.material import Following

FILE = ".callsheet/sandbox.sqlite3"
WEBHOOKS = "/callsheet/webhooks"


@click.command(short_help="A stand-in for gateways, on this machine.")
@click.argument("gateway", required=False)
@click.option("--port", type=click.IntRange(0, 65535), default=12111, show_default=True, help="0 is any free one.")
@click.option("--webhook", "host", metavar="URL", help="Where events go: http://127.0.0.1:8000/callsheet/webhooks")
@opening
def sandbox(here: Opening, gateway: str | None, port: int, host: str | None) -> None:
    """Stand in for GATEWAY, or for all there are files of, until Ctrl-C; what it remembers is gone then.

    It answers as the cases show, with fresh ids and what was sent, and follows a host's files. Prints the settings with
    which a host uses it.
    """
    import threading

    from engine.sandbox import Material, Sandbox
    from engine.sandbox.material import Following
    from engine.sandbox.serving import Served

    if host and not host.startswith(("http://", "https://")):
        raise click.UsageError(f"--webhook {host} is no address; http://127.0.0.1:8000{WEBHOOKS} is one")
    material = Material.read(here.root if here.is_host else None)
    box = Sandbox(material, gateways=[material.catalog.gateway(gateway).name] if gateway else None)
    if host:
        box.hosts.update({name: _webhook(host, name) for name in box.standins})
    try:
        served = Served(_following(box, Following(here.root)) if here.is_host else box, port)
    except OSError as error:
        raise click.UsageError(f"cannot listen on port {port}: {error.strerror}") from None
    with served, suppress(KeyboardInterrupt):
        box.origin = served.url
        click.echo(f"a sandbox stands in (Ctrl-C stops): {addresses(box)}")
        click.echo("for a host's environment:")
        for name, value in settings(box).items():
            click.echo(f"  {name}={value}")
        threading.Event().wait()
    click.echo("\nstopped")


def _webhook(url: str, gateway: str) -> str:
    return url if url.rstrip("/").rpartition("/")[2] == gateway else f"{url.rstrip('/')}/{gateway}"


def settings(box: Sandbox) -> dict[str, str]:
    """What a host's environment must hold to use a sandbox that is served."""
    return {"CALLSHEET_SANDBOX": box.origin, **box.secrets}


def addresses(box: Sandbox) -> str:
    """Where each gateway is."""
    return ", ".join(f"{name} is {url}" for name, url in box.base_urls(box.origin).items())


@dataclass(frozen=True, slots=True)
class Standing:
    """A sandbox that is served, what posts its events, and the settings of a host that uses it."""

    box: Sandbox
    poster: Poster
    environment: Mapping[str, str]

    def tell(self, origin: str) -> None:
        """Have events posted to the host at `origin`."""
        self.box.hosts.update({name: f"{origin}{WEBHOOKS}/{name}" for name in self.box.standins})


@contextmanager
def sandboxed(root: Path, near: int, *, reload: bool = False) -> Iterator[Standing]:
    """A sandbox for the host in `root`, on a port after `near`; its settings are this process's from now on.

    `reload` takes up edited files. Raises UsageError in live mode.
    """
    from engine.sandbox import Material, Sandbox
    from engine.sandbox.delivering import Poster
    from engine.sandbox.material import Following
    from engine.sandbox.serving import Served
    from engine.settings import Settings
    from engine.store.sql import SqlStore

    kept = Settings(root)
    if kept.live:
        raise click.UsageError("CALLSHEET_MODE is live: a sandbox is for test mode only")
    file = root / FILE
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"{file.parent} cannot be made a folder: {error.strerror}") from None
    url = f"sqlite:///{file.resolve()}"
    poster = Poster()
    box = Sandbox(Material.read(root), store=SqlStore(url), deliverer=poster)
    app = _following(box, Following(root)) if reload else box
    key = base64.urlsafe_b64encode(hashlib.sha256(f"sandbox {root.resolve()}".encode()).digest()).decode()
    own = {name: key for name in ("CALLSHEET_SECRET_KEY", "CALLSHEET_ENCRYPTION_KEY") if not kept.get(name)}
    try:
        served = Served(app, (near + 1) % 65536 if near else 0)
    except OSError:
        served = Served(app)
    before = dict(os.environ)
    with served:
        box.origin = served.url
        told = {"CALLSHEET_STORE": url, **own, **settings(box)}
        os.environ.update(told)
        try:
            yield Standing(box, poster, told)
        finally:
            poster.close()
            for name in told:
                os.environ.pop(name, None)
            os.environ.update({name: value for name, value in before.items() if name in told})


def _following(box: Sandbox, files: Following) -> Callable[..., Iterable[bytes]]:
    """The application that looks at its files before every request."""

    def app(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if material := files.changed():
            box.renew(material)
        return box(environ, start_response)

    return app
