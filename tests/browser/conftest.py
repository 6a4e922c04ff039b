"""A headless Chromium, driven over a pipe: no driver program, no library, nothing that listens on a port."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import pytest
from needs import BROWSERS

# A test's pages are ours, and a CI container has neither user namespaces nor a large /dev/shm.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and answers on 4. A shell cannot put the pipes there: dash knows
# descriptors of one digit only, and under pytest ours have more.
_ON_DESCRIPTORS_3_AND_4 = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One tab. Speaks the DevTools protocol: JSON messages, each ended by a zero byte."""

    def __init__(self, to_browser: IO[bytes], from_browser: IO[bytes]) -> None:
        self._to, self._from = to_browser, from_browser
        self._last_id = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._read()).get("id") != self._last_id:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def open(self, path: Path, *, width: int, dark: bool = False) -> None:
        """Load a file at a window of `width` CSS pixels, and wait until it is drawn."""
        self.events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """A PNG of the whole page, also what lies below the window."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def print_pdf(self) -> bytes:
        answer = self.call("Page.printToPDF", preferCSSPageSize=True)
        return base64.b64decode(answer["data"])

    def complaints(self) -> list[str]:
        """Console messages, uncaught errors, and whatever the browser logged, such as a refused style."""
        methods = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in methods]

    def requested_urls(self) -> list[str]:
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [str(event["params"]["request"]["url"]) for event in sent]

    def _read(self) -> dict[str, Any]:
        message = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has ended")
            message += byte
        return dict(json.loads(message))


@pytest.fixture(scope="session")
def page() -> Iterator[Page]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        reason = "no Chromium on PATH: scripts/install-test-browser installs one"
        # Where nobody watches, a skipped half would go unseen.
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with ExitStack() as cleanup:
        # Kept until the browser is gone; it may still write there while it ends.
        profile = cleanup.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        browser_reads, we_write = os.pipe()
        we_read, browser_writes = os.pipe()
        to_browser = cleanup.enter_context(os.fdopen(we_write, "wb"))
        from_browser = cleanup.enter_context(os.fdopen(we_read, "rb"))
        browser = subprocess.Popen(
            [
                *(sys.executable, "-c", _ON_DESCRIPTORS_3_AND_4, str(browser_reads), str(browser_writes)),
                *(program, *_OPTIONS, f"--user-data-dir={profile}"),
            ],
            pass_fds=(browser_reads, browser_writes),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(browser_reads)
        os.close(browser_writes)
        try:
            tab = Page(to_browser, from_browser)
            yield tab
            tab.call("Target.getTargets")  # it still answers: no test crashed it
        finally:
            browser.terminate()
            browser.wait(30)
            with suppress(ProcessLookupError):  # its helpers end by themselves, a little later
                os.killpg(browser.pid, signal.SIGKILL)
