"""What does a page do in a browser? Headless Chromium, driven through two pipes; nothing is listened on."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic", "--remote-debugging-pipe"),
)


class Tab:
    """One page, by Chromium's DevTools protocol: messages of JSON, each ended by a NUL."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.complaints: list[str] = []
        """What the page's console said, and exceptions of its scripts."""
        self._to, self._from = to_browser, os.fdopen(from_browser, "rb")
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path, width: int, height: int) -> None:
        """Shows a file, and waits until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=page.as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def value(self, script: str) -> Any:
        """What an expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            self._rest += os.read(self._from.fileno(), 1 << 16) or b'{"id": 0, "gone": true}\0'
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        assert "gone" not in message, "Chromium has ended"
        if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(message["params"]))
        return message


@contextmanager
def tab() -> Iterator[Tab]:
    """A page in a Chromium of its own, which ends with it."""
    assert CHROMIUM is not None
    (their_in, to_browser), (from_browser, their_out) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="bfc-", ignore_cleanup_errors=True) as profile:
        # It reads commands from descriptor 3 and answers on 4.
        words = ["bash", "-c", f'exec "$@" 3<&{their_in} 4>&{their_out}', "bash", CHROMIUM, *_OPTIONS]
        browser = subprocess.Popen(
            [*words, f"--user-data-dir={profile}"],
            pass_fds=(their_in, their_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        try:
            yield Tab(to_browser, from_browser)
        finally:
            browser.kill()
            browser.wait()
            os.close(to_browser)
