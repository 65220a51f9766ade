"""The pages that a gateway hosts, below /hosted: a heading, what it is about, and a button for each thing to do there.

Hides: their HTML. They need no script, and are told by the sandbox file alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from engine.sandbox.asked import Answered
from engine.sandbox.effects import Effects
from engine.sandbox.files import Part

HTML = "text/html; charset=utf-8"

_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
:root { --ink: #1f2937; --back: #eef1f4; --sheet: #fff; --main: #0b5e4a; --on: #fff }
body { background: var(--back); color: var(--ink); margin: 0; padding: 10vh 1rem }
main { background: var(--sheet); border-radius: 12px; margin: auto; max-width: 26rem; padding: 1.75rem }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 0 0 .75rem }
button { background: transparent; border: 1px solid var(--main); border-radius: 6px; color: var(--main) }
button { cursor: pointer; display: block; font: inherit; margin: .75rem 0 0; padding: .65rem; width: 100% }
button:first-child { background: var(--main); color: var(--on) }
button:focus-visible { outline: 3px solid var(--main); outline-offset: 2px }
p:last-child { margin: 1.25rem 0 0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dbe1e8; --back: #13171f; --sheet: #1d232d; --main: #7fd6bd; --on: #08231c }
}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<main>
<h1>{title}</h1>
{text}
{form}
<p><small>A sandbox: no money moves.</small></p>
</main>
</html>
"""
_FORM = '<form method="post">\n{buttons}\n</form>'
_BUTTON = '<button name="action" value="{number}">{label}</button>'


def offered(page: Part, names: Mapping[str, object]) -> dict[str, Part]:
    """The actions of a page that can be taken now, by number."""
    return {number: one for number, one in page.get("actions").parts().items() if one.get("when").holds(names)}


def shown(page: Part, names: Mapping[str, object]) -> Answered:
    """The page as it is now."""
    actions = {number: str(one.get("label").render(names)) for number, one in offered(page, names).items()}
    text = str(page.get("text").render(names)) if page.get("text").value else ""
    return page_of(str(page.get("title").render(names)), text, actions)


def page_of(title: str, text: str, actions: Mapping[str, str], status: int = 200) -> Answered:
    """A page with a button for each action; none: nothing is left to do."""
    buttons = "\n".join(_BUTTON.format(number=escape(one), label=escape(label)) for one, label in actions.items())
    form = _FORM.format(buttons=buttons) if buttons else "<p>There is nothing to do here any more.</p>"
    told = f"<p>{escape(text)}</p>" if text else ""
    body = _PAGE.format(title=escape(title), style=_STYLE, text=told, form=form)
    return Answered(status, body, _HEADERS, media=HTML)


def acted(action: Part, effects: Effects) -> str:
    """Do what a button does; the address that it leads to."""
    effects.let(action)
    effects.make(action)
    effects.do(action)
    effects.change(action)
    effects.tell(action)
    return str(action.get("leads_to").render(effects.names))


GONE = page_of("There is no such page.", "", {}, 404)
