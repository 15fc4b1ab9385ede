"""The report's copy buttons in Debian's Chromium, reached and pressed by keys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))

from report_diagnoses import FIX, parted
from report_matrices import everything

from chipdrift.report.page import render

pytestmark = pytest.mark.system


class Browser:
    """A page in Chromium, spoken to by the DevTools protocol over a pair of pipes."""

    def __init__(self, profile: Path, page: Path) -> None:
        found = shutil.which("chromium")
        if found is None:
            pytest.fail("chromium is missing: run scripts/install-debian chromium")
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()

        def take() -> None:  # the browser reads from 3 and writes to 4
            high = os.dup(answers)
            os.dup2(theirs, 3)
            os.dup2(high, 4)

        self._process = subprocess.Popen(
            [
                *(found, "--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=[3, 4],
            preexec_fn=take,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._numbers, self._rest, self._session = count(1), b"", ""
        self.logged: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")
        self("Page.navigate", url=page.as_uri())
        while self.evaluate("document.readyState") != "complete":
            pass

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                more = os.read(self._in, 1 << 16)
                assert more, "the browser is gone"
                self._rest += more
            text, _, self._rest = self._rest.partition(b"\0")
            said = json.loads(text)
            if said.get("id") == number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result
            if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.logged.append(said)

    def evaluate(self, script: str) -> Any:
        told = self("Runtime.evaluate", expression=script, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                 windowsVirtualKeyCode=code, text=text if kind == "keyDown" else "")  # fmt: skip


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    file = tmp_path / "report.html"
    file.write_text(render(everything(), {}, [parted()]), encoding="utf-8")
    made = Browser(tmp_path / "profile", file)
    yield made
    made.close()


FOCUSED = "document.activeElement.className"


@pytest.mark.parametrize("clipboard", [True, False])
def test_a_command_is_copied_by_the_keys_alone(browser: Browser, clipboard: bool) -> None:
    """By the clipboard's interface, and where a page has none of it, by what is selected."""
    browser("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    if not clipboard:
        # As on a page over plain http.
        browser.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    for _ in range(200):
        browser.press("Tab", 9)
        if browser.evaluate(FOCUSED) == "copier":
            break
    assert browser.evaluate(FOCUSED) == "copier"
    assert browser.evaluate("document.activeElement.textContent") == "Copy"
    browser.press("Enter", 13, "\r")
    end = "new Promise((done) => setTimeout(done, 200))"
    browser.evaluate(end)
    assert browser.evaluate("document.activeElement.textContent") == "Copied"
    copied = "Navigator.prototype.__lookupGetter__('clipboard').call(navigator).readText()"
    assert browser.evaluate(copied).strip() == FIX
    assert browser.logged == []


def test_every_command_has_its_button_on_the_screen(browser: Browser) -> None:
    places = browser.evaluate(
        "JSON.stringify([...document.querySelectorAll('.command')].map((e) => ["
        "e.querySelector('pre').getBoundingClientRect().right,"
        "e.querySelector('button').getBoundingClientRect().left,"
        "e.querySelector('button').getBoundingClientRect().right,"
        "document.documentElement.clientWidth]))"
    )
    found = json.loads(places)
    assert found
    for text_end, button, button_end, window in found:
        assert text_end <= button < button_end <= window
    assert browser.logged == []
