"""What the tests of pages rest on: a real browser, that is kept on this machine and believes a page nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, Response

from .chromium import SETTING, NoBrowserError, make_ready
from .visits import COLOURS, PICTURES, Visit, look, violations

GOOD = "<!doctype html><html lang=en><title>Tea</title><main><h1>Tea</h1><p>Is it ready?</p></main>"
BAD = GOOD.replace("<p>Is it ready?", "<input><p style='width:500px;color:#ccc'>faint")
STRAY = GOOD + "<script src='https://elsewhere.example/a.js'></script><script src='/b.js'></script>"
STUBBED = GOOD + "<script src='https://js.pay.example/v3'></script>"
STRICT = {"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'"}


@pytest.fixture
def address(serve: Callable[[Flask], str]) -> str:
    app = Flask("tea")
    app.add_url_rule("/good", "good", lambda: Response(GOOD, headers=STRICT))
    app.add_url_rule("/bad", "bad", lambda: BAD)
    app.add_url_rule("/stray", "stray", lambda: STRAY)
    app.add_url_rule("/stubbed", "stubbed", lambda: STUBBED)
    app.add_url_rule("/inline", "inline", lambda: Response(GOOD + "<script>1</script>", headers=STRICT))
    app.add_url_rule("/b.js", "script", lambda: Response("throw new Error('broken')", mimetype="text/javascript"))
    app.add_url_rule("/favicon.ico", "icon", lambda: Response("", 204))
    return serve(app)


def test_a_good_page_has_its_pictures_taken(
    visit: Callable[..., Visit], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PICTURES, str(tmp_path / "pictures"))
    look(visit().open(f"{address}/good"), "good")
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "good-dark-1280.png",
        "good-dark-360.png",
        "good-light-1280.png",
        "good-light-360.png",
    ]


def test_a_bad_page_is_found_out(
    visit: Callable[..., Visit], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PICTURES, str(tmp_path))
    page = visit().open(f"{address}/bad")
    assert any("<input>" in line for line in violations(page))
    assert any("faint" in line for line in violations(page, rules=COLOURS))
    with pytest.raises(AssertionError, match="pixels wide on a screen of 360"):
        look(page, "bad")


def test_nothing_leaves_this_machine(visit: Callable[..., Visit], address: str) -> None:
    began = visit()
    began.open(f"{address}/stray")
    assert began.strays == ["https://elsewhere.example/a.js"]
    assert any("broken" in wrong for wrong in began.wrongs)
    began.strays.clear()
    began.wrongs.clear()


def test_a_stub_stands_in_for_a_script_elsewhere(visit: Callable[..., Visit], address: str) -> None:
    page = visit(stubs={"https://js.pay.example/": "window.Pay = 5"}).open(f"{address}/stubbed")
    assert page.evaluate("window.Pay") == 5


def test_what_a_policy_refuses_is_noticed(visit: Callable[..., Visit], address: str) -> None:
    began = visit()
    began.open(f"{address}/inline")
    assert any("Content Security Policy" in wrong for wrong in began.wrongs)
    began.wrongs.clear()


def test_a_missing_browser_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "/nowhere/chromium")
    with pytest.raises(NoBrowserError, match=f"{SETTING} names /nowhere/chromium, which cannot be run"):
        make_ready()


def test_what_an_installer_said_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without the package, and a Playwright that may not fetch its own."""
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package chromium' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(NoBrowserError) as refused:
        make_ready()
    assert "apt-get install -y -q --no-install-recommends chromium ended with 100" in str(refused.value)
    assert "playwright install chromium ended with" in str(refused.value)
